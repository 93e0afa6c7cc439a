/** The proxy's view of policy, as plain data: what the agent compiled, in the proxy's terms. */
import type { Direction, EndpointId, NumericIdentity, PolicySetId } from "#core/model";

/** Names the place in a policy object that something came from; for explanation only. */
export interface PolicyRef {
  readonly kind: string;
  /** Empty for cluster-wide kinds. */
  readonly namespace: string;
  readonly name: string;
  /** Field path in the object, e.g. `spec.ingress[0].toPorts[0].rules.http[1]`. */
  readonly path: string;
}

/** A header that a request must carry. */
export interface HttpHeaderMatch {
  readonly name: string;
  /** Exact value; absent = the header must be there, whatever its value. */
  readonly value?: string;
  /** What to do when it doesn't match, instead of failing the rule. Absent = it must match. */
  readonly mismatch?: "LOG" | "ADD" | "DELETE" | "REPLACE";
}

/** An HTTP rule: all given fields must match. Regular expressions are RE2 and must match the whole value. `{}` matches every request but CONNECT. */
export interface HttpRule {
  readonly method?: string;
  /** Against the request target, query included. */
  readonly path?: string;
  /** Against the Host header, with the port if the client sends one. */
  readonly host?: string;
  /** Cilium's `Name: value` (exact), or `Name` (must be there). */
  readonly headers?: readonly string[];
  readonly headerMatches?: readonly HttpHeaderMatch[];
  readonly ref: PolicyRef;
}

/** What a policy says on some peers and ports in one direction. */
export interface PolicyFilter {
  readonly direction: Direction;
  readonly peers: "any" | readonly NumericIdentity[];
  readonly protocol: "TCP";
  /** Destination port; 0 = every port. */
  readonly port: number;
  /** Last port of a range that starts at `port`; absent = only `port`. */
  readonly endPort?: number;
  /** `allow`: every request passes; `deny`: none; `http`: those that one of `rules` matches. */
  readonly kind: "allow" | "deny" | "http";
  /** As in the policy map: the upper 24 bits are the tier and priority, and only filters of the highest tier that match count. */
  readonly precedence: number;
  readonly rules?: readonly HttpRule[];
  readonly refs: readonly PolicyRef[];
}

/** A complete, immutable policy, shared by the endpoints that name it. A changed policy is put again, under the same or another id. */
export interface PolicySet {
  readonly id: PolicySetId;
  readonly filters: readonly PolicyFilter[];
}

/** An endpoint of this node. */
export interface ProxyEndpoint {
  readonly id: EndpointId;
  readonly ips: readonly string[];
  readonly identity: NumericIdentity;
  readonly policySet: PolicySetId;
  readonly labels: readonly string[];
  readonly podName: string;
  readonly namespace: string;
}

/** Which identity the addresses of a prefix have; the longest prefix counts. */
export interface IpcacheEntry {
  /** `address/length`. */
  readonly prefix: string;
  readonly identity: NumericIdentity;
}

/** Everything that the proxy judges by. */
export interface ProxyState {
  readonly sets: readonly PolicySet[];
  readonly endpoints: readonly ProxyEndpoint[];
  readonly ipcache: readonly IpcacheEntry[];
}

/** Nothing known: denies everything. */
export const emptyProxyState: ProxyState = { sets: [], endpoints: [], ipcache: [] };
