/** Look-ups and records for tests. */
import type { AccessLogRecord } from "#contracts/proxy";
import type { EndpointId, NumericIdentity } from "#core/model";
import type { EndpointInfo, FlowLookups, RuleRef } from "./lookups.ts";

/** A node that knows nothing, and whose clocks are equal. */
export const emptyLookups: FlowLookups = {
  endpointById: () => undefined,
  endpointByAddress: () => undefined,
  identityLabels: () => undefined,
  provenance: () => [],
  wallOffsetNs: () => 0n,
};

const endpoint = (id: number, identity: number, podName: string): EndpointInfo => ({
  id: id as EndpointId,
  identity: identity as NumericIdentity,
  podName,
  namespace: "default",
  labels: [`k8s:app=${podName}`, "k8s:io.kubernetes.pod.namespace=default"],
  workloads: [{ name: podName, kind: "Deployment" }],
});

/** Endpoint 1 (identity 1001) `default/client`. */
export const client: EndpointInfo = endpoint(1, 1001, "client");
/** Endpoint 2 (identity 1002) `default/server`. */
const server: EndpointInfo = endpoint(2, 1002, "server");

/** The rule behind every entry of policy set 7. */
export const webRule: RuleRef = {
  kind: "CiliumNetworkPolicy",
  namespace: "default",
  name: "web",
  path: "spec.ingress[0]",
};

/** The node of the two endpoints above; reserved identities have their labels; 2023-11-14T22:13:20Z is its monotonic zero. */
export const twoPods: FlowLookups = {
  endpointById: (id) => [client, server].find((info) => info.id === id),
  endpointByAddress: () => undefined,
  identityLabels: (identity) =>
    identity === 9
      ? ["reserved:world-ipv4"]
      : identity === 1
        ? ["reserved:host"]
        : [client, server].find((info) => info.identity === identity)?.labels,
  provenance: (set) => (set === 7 ? [webRule] : []),
  interfaceName: (ifindex) => (ifindex === 12 ? "tsl1" : undefined),
  namesOf: (address) => (address === "1.1.1.1" ? ["one.example"] : []),
  wallOffsetNs: () => 1_700_000_000_000_000_000n,
};

/** A request of client to server, forwarded. */
export function accessLogRecord(fields: Partial<AccessLogRecord> = {}): AccessLogRecord {
  return {
    kind: "request",
    timeMs: 1_700_000_001_000.25,
    connection: 1,
    source: { address: "10.217.0.2", port: 41234, identity: client.identity, endpoint: client.id },
    destination: { address: "10.217.0.3", port: 80, identity: server.identity, endpoint: server.id },
    direction: "ingress",
    verdict: "FORWARDED",
    protocol: "HTTP/1.1",
    method: "GET",
    path: "/public?x=1",
    host: "server",
    status: 0,
    latencyNs: 0,
    rules: [],
    reason: "",
    ...fields,
  };
}
