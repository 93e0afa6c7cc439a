/** The policy epoch: connections that were judged under an older one are judged again. One owner writes `node_config`. */
import type { NodeConfig } from "#contracts/bpf";
import type { MapDoor } from "./doors.ts";

/** `node_config[0]` and its epoch. */
export interface NodeConfigWriter {
  readonly epoch: number;
  /** Writes everything but the epoch; nothing if nothing changes. True if the kernel's value changed. */
  configure(config: Omit<NodeConfig, "policyEpoch">): boolean;
  /** Makes every connection be judged again at its next packet. */
  raiseEpoch(): void;
}

/** Takes over what the kernel holds, the epoch of an earlier agent included. */
export function createNodeConfigWriter(map: MapDoor<number, NodeConfig>): NodeConfigWriter {
  const zero = new Uint8Array(16);
  let current: NodeConfig = map.get(0) ?? {
    policyEpoch: 0,
    flags: 0,
    routerIpv4: 0,
    masqIpv4: 0,
    routerIpv6: zero,
    masqIpv6: zero,
    podCidrIpv4: 0,
    podMaskIpv4: 0,
    podCidrIpv6: zero,
    podPrefixIpv6: 0,
    worldIfindex: 0,
  };
  const text = (config: NodeConfig) =>
    JSON.stringify(config, (_, value) => (value instanceof Uint8Array ? Array.from(value) : value));
  const store = (next: NodeConfig) => {
    map.set(0, next);
    current = next;
  };
  return {
    get epoch() {
      return current.policyEpoch;
    },
    configure(config) {
      const next = { ...current, ...config, policyEpoch: current.policyEpoch };
      if (text(next) === text(current)) return false;
      store(next);
      return true;
    },
    raiseEpoch() {
      // Zero stands for "never judged" in fresh memory, so the count skips it when it wraps.
      store({ ...current, policyEpoch: (current.policyEpoch + 1) >>> 0 || 1 });
    },
  };
}
