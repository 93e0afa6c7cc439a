/** The proxy's view of policy, as plain data: what the agent compiled, in the proxy's terms. */
import type { Direction, EndpointId, NumericIdentity, PolicySetId } from "#core/model";
import type { HttpMatch, L7RulesOf, TlsRules } from "./l7.ts";

/** Names the place in a policy object that something came from; for explanation only. */
export interface PolicyRef {
  readonly kind: string;
  /** Empty for cluster-wide kinds. */
  readonly namespace: string;
  readonly name: string;
  /** Field path in the object, e.g. `spec.ingress[0].toPorts[0].rules.http[1]`. */
  readonly path: string;
}

/** Where a rule was written. */
export interface Referenced {
  readonly ref: PolicyRef;
}

/** An HTTP rule. */
export type HttpRule = HttpMatch & Referenced;

/** The rules of one protocol. */
export type L7Filter = L7RulesOf<Referenced>;

/** What a policy says on some peers and ports in one direction. */
export interface PolicyFilter {
  readonly direction: Direction;
  readonly peers: "any" | readonly NumericIdentity[];
  readonly protocol: "any" | "TCP" | "UDP";
  /** Destination port; 0 = every port. */
  readonly port: number;
  /** Last port of a range that starts at `port`; absent = only `port`. */
  readonly endPort?: number;
  /** `allow`: every request passes; `deny`: none; `l7`: those that one of the rules in `l7` matches, over connections that `tls` accepts. */
  readonly kind: "allow" | "deny" | "l7";
  /** As in the policy map: the upper 24 bits are the tier and priority, and only filters of the highest tier that match count. */
  readonly precedence: number;
  readonly l7?: L7Filter;
  readonly tls?: TlsRules;
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
