/** Ports of which the kernel has learnt that they speak something else than HTTP/1: shown as such, and forgotten with the policy. */
import { Direction, HttpForeign, type HttpPortKey, type HttpPortValue } from "#contracts/bpf";
import { decide } from "#control/policy";
import { type EndpointId, protocolNumbers } from "#core/model";
import type { ReadableTable } from "#core/runtime";
import type { RealisedEndpoint } from "#datapath/reconcile";
import { originOf } from "./kernel-policy.ts";

/** `http_learnt`, as far as it is needed here. */
interface LearntMap {
  entries(): Iterable<readonly [HttpPortKey, HttpPortValue]>;
  deleteAll(keys: readonly HttpPortKey[]): number;
}

/** What was spoken on a port, in words. */
export const foreignProtocols: Readonly<Record<number, string>> = {
  [HttpForeign.H2]: "HTTP/2",
  [HttpForeign.TLS]: "TLS",
  [HttpForeign.CONNECT]: "a tunnel (CONNECT)",
  [HttpForeign.UPGRADE]: "an upgrade that the kernel can't follow",
};

/** The policy's word for a direction. */
export const directionOf = ({ direction }: HttpPortKey): "ingress" | "egress" =>
  direction === Direction.EGRESS ? "egress" : "ingress";

/** Deletes what no policy asks for any more: the endpoint is gone, or has no HTTP rules on that port for that peer. */
export function sweepLearntPorts(map: LearntMap, realised: ReadableTable<EndpointId, RealisedEndpoint>): void {
  const stale: HttpPortKey[] = [];
  for (const [key] of map.entries()) {
    const endpoint = realised.get(key.subject);
    const set = endpoint && originOf(endpoint.policy);
    const entry = set && decide(set, directionOf(key), key.peer, protocolNumbers.TCP, key.dport).entry;
    if (entry?.requests === undefined) stale.push(key);
  }
  if (stale.length > 0) map.deleteAll(stale);
}
