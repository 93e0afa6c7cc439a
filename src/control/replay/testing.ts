/**
 * For tests: recordings as an observer would write them.
 * @module
 */
import { decide, type PolicySet, unenforcedPolicy } from "#control/policy";
import type { WorkloadGroup, World } from "#control/workbench";
import { type Direction, formatLabels, protocolNumbers, reservedLabels } from "#core/model";

/** One end as flows write it. */
export interface FlowEnd {
  readonly labels: readonly string[];
  readonly namespace?: string;
  readonly pod_name?: string;
  readonly workloads?: readonly { readonly kind: string; readonly name: string }[];
  /** Put into `IP`. */
  readonly address: string;
  /** Put into `source_names` or `destination_names`. */
  readonly names?: readonly string[];
}

/** A pod of a workload group. */
export function podEnd({ labels, namespace, workloads: [first] }: WorkloadGroup, n = 1): FlowEnd {
  const { kind, name } = first!;
  return {
    labels: formatLabels(labels),
    namespace,
    pod_name: `${name}-${n}`,
    workloads: [{ kind, name }],
    address: `10.0.0.${n}`,
  };
}

/** An address outside the cluster. */
export function worldEnd(address: string, ...names: readonly string[]): FlowEnd {
  const family = address.includes(":") ? "world-ipv6" : "world-ipv4";
  return { labels: formatLabels(reservedLabels(family)), address, ...(names.length === 0 ? {} : { names }) };
}

/** What else a flow says; all of it is put in as it stands. */
export type FlowFields = Readonly<Record<string, unknown>>;

/** A line of a recording: the verdict on one direction of a connection. */
export function flowLine(
  source: FlowEnd,
  destination: FlowEnd,
  port: string,
  direction: Direction,
  verdict: "FORWARDED" | "DROPPED" | "REDIRECTED" | "AUDIT",
  fields: FlowFields = {},
): string {
  const [number = "", transport = "TCP"] = port.split("/");
  const end = ({ address: _address, names: _names, ...shown }: FlowEnd) => shown;
  const flow = {
    time: "2026-01-02T03:04:05Z",
    verdict,
    ...(verdict === "DROPPED" ? { drop_reason_desc: "POLICY_DENIED" } : {}),
    IP: { source: source.address, destination: destination.address },
    l4: { [transport]: transport.startsWith("ICMP") ? { type: Number(number) } : { destination_port: Number(number) } },
    source: end(source),
    destination: end(destination),
    ...(source.names === undefined ? {} : { source_names: source.names }),
    ...(destination.names === undefined ? {} : { destination_names: destination.names }),
    traffic_direction: direction.toUpperCase(),
    event_type: { type: 5 },
    is_reply: false,
    ...fields,
  };
  return JSON.stringify({ flow, node_name: "node" });
}

/** The fields of a request. */
export function request(method: string, url: string): FlowFields {
  return { l7: { type: "REQUEST", http: { method, url } }, event_type: { type: 129 }, Type: "L7" };
}

/** What a node that enforces the policies of a world would have recorded of a connection: egress, then ingress if it came so far. */
export function recordConnection(world: World, from: WorkloadGroup, to: WorkloadGroup, port: number): string[] {
  const sides = [
    ["egress", from, to],
    ["ingress", to, from],
  ] as const;
  const out: string[] = [];
  for (const [direction, subject, peer] of sides) {
    const set: PolicySet = world.engine.policyOf(subject.identity) ?? unenforcedPolicy;
    const { verdict } = decide(set, direction, peer.identity, protocolNumbers.TCP, port);
    if (verdict === "ERROR") continue;
    out.push(flowLine(podEnd(from), podEnd(to), String(port), direction, verdict));
    if (verdict === "DROPPED") break;
  }
  return out;
}
