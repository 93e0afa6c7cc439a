/** Policies of a given size. Every rule yields an entry of its own, so that "1000 rules" is 1000 rules in the kernel, too. */
import type { CiliumNetworkPolicy } from "#contracts/kube";

/** What a policy is to have. */
export interface RulesPolicy {
  readonly name: string;
  /** `app` label of the workloads that it selects. */
  readonly selects: string;
  readonly direction: "ingress" | "egress";
  /** `app` label that the last rule allows on `port`/TCP. */
  readonly peer: string;
  readonly port: number;
  /** How many rules, the last one included. */
  readonly rules: number;
}

/** A policy of which half of the rules name CIDRs, half ports of the peer. */
export function rulesPolicy({ name, selects, direction, peer, port, rules }: RulesPolicy): CiliumNetworkPolicy {
  const fromPeer = (number: number) => {
    const toPorts = [{ ports: [{ port: String(number), protocol: "TCP" as const }] }];
    const endpoints = [{ matchLabels: { app: peer } }];
    return direction === "ingress" ? { fromEndpoints: endpoints, toPorts } : { toEndpoints: endpoints, toPorts };
  };
  const fromCidr = (cidr: string) => (direction === "ingress" ? { fromCIDR: [cidr] } : { toCIDR: [cidr] });
  const list = Array.from({ length: rules - 1 }, (_, i) =>
    i % 2 === 0 ? fromCidr(`172.16.${i >> 8}.${i & 255}/32`) : fromPeer(10_000 + i),
  );
  return {
    apiVersion: "cilium.io/v2",
    kind: "CiliumNetworkPolicy",
    metadata: { name, namespace: "default" },
    spec: {
      endpointSelector: { matchLabels: { app: selects } },
      [direction]: [...list, fromPeer(port)],
    },
  };
}
