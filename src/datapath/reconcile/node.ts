/** The node's row -> `node_config`, routers' addresses, settings of the stack, the proxy's routes, programs on the world device. */
import { type NodeConfig, NodeFlags, SkbMark } from "#contracts/bpf";
import { type IpAddress, maskAddress, parseAddress } from "#core/model";
import { type Operations, TsiliumError } from "#core/runtime";
import type { Kernel, NetworkChange } from "#datapath/linux";
import { ipv4Number } from "#datapath/maps";
import { ipv4Mask, zeroAddress } from "./bytes.ts";
import type { HookDoor } from "./doors.ts";
import type { NodeConfigWriter } from "./epoch.ts";

/** What the node wants; there is one such row, its key is "node". Prefixes of the pods, routers, and the way to the world. */
export interface NodeRow {
  readonly podCidr4: IpAddress & { readonly length: number };
  readonly podCidr6: IpAddress & { readonly length: number };
  readonly router4: IpAddress;
  readonly router6: IpAddress;
  readonly world?: { readonly ifindex: number; readonly name: string };
  readonly masquerade4?: IpAddress;
  readonly masquerade6?: IpAddress;
  /** Report the end of connections too. */
  readonly traceClose?: boolean;
}

/** Packets that the proxy shall get find its sockets through this table: everything in it is local. Cilium's number. */
export const proxyRouteTable = 2004;
const rulePriority = 9;

/** The whole stack's settings: forwarding on, reverse-path filtering off (the strictest of "all" and the device counts). */
const sysctls = [
  ["net.ipv4.ip_forward", "1"],
  ["net.ipv4.conf.all.rp_filter", "0"],
  ["net.ipv6.conf.all.forwarding", "1"],
] as const;

/** The target of the node's row. */
export function createNodeOperations(options: {
  readonly kernel: Kernel;
  readonly hooks: HookDoor;
  readonly nodeConfig: NodeConfigWriter;
}): Operations<"node", NodeRow> {
  const { kernel, hooks, nodeConfig } = options;
  const netlink = kernel.netlink();
  let attached: string | undefined;

  return {
    update(_, row) {
      const self = kernel.netns.current();
      try {
        for (const [name, value] of sysctls) if (self.readSysctl(name) !== value) self.writeSysctl(name, value);
      } finally {
        self.close();
      }
      netlink.apply(stackChanges(loopback(), row));
      if (row.world) {
        hooks.attach("from_network", row.world);
        hooks.attach("to_network", row.world);
      }
      if (attached !== undefined && attached !== row.world?.name) hooks.detach(attached);
      attached = row.world?.name;
      nodeConfig.configure(configOf(row));
    },
    delete: () => undefined,
    prune(rows) {
      const world = rows.get("node")?.world?.name;
      // Host sides of endpoints are pruned with their interfaces; what remains is an earlier world device.
      for (const name of hooks.devices()) if (!/^tsl[0-9a-f]+$/.test(name) && name !== world) hooks.detach(name);
    },
  };

  function loopback(): number {
    const lo = netlink.link("lo");
    if (!lo) throw new TsiliumError("NO_LOOPBACK", "this network namespace has no loopback device");
    if (!lo.up) netlink.apply([{ kind: "setLink", ifindex: lo.index, up: true }]);
    return lo.index;
  }
}

function stackChanges(lo: number, row: NodeRow): NetworkChange[] {
  const zero = { 4: parseAddress("0.0.0.0")!, 6: parseAddress("::")! } as const;
  return [
    { kind: "replaceAddress", ifindex: lo, address: row.router4, length: 32 },
    { kind: "replaceAddress", ifindex: lo, address: row.router6, length: 128 },
    ...([4, 6] as const).flatMap((family): NetworkChange[] => [
      {
        kind: "replaceRoute",
        route: { destination: maskAddress(zero[family], 0), ifindex: lo, table: proxyRouteTable, type: "local" },
      },
      {
        kind: "ensureRule",
        rule: {
          family,
          mark: SkbMark.TO_PROXY,
          mask: SkbMark.MASK,
          table: proxyRouteTable,
          priority: rulePriority,
        },
      },
    ]),
  ];
}

/** What `cleanup` takes back of {@link createNodeOperations}; settings of the stack stay, others may rely on them. */
export function removeNodeTraces(kernel: Kernel, routers: readonly IpAddress[]): void {
  const netlink = kernel.netlink();
  try {
    const lo = netlink.link("lo")?.index;
    if (lo === undefined) return;
    const changes: NetworkChange[] = [];
    for (const family of [4, 6] as const) {
      for (const rule of netlink.rules(family))
        if (rule.table === proxyRouteTable) changes.push({ kind: "deleteRule", rule });
      for (const route of netlink.routes(family, proxyRouteTable)) changes.push({ kind: "deleteRoute", route });
    }
    for (const address of routers)
      changes.push({ kind: "deleteAddress", ifindex: lo, address, length: address.family === 4 ? 32 : 128 });
    netlink.apply(changes);
  } finally {
    netlink.close();
  }
}

function configOf(row: NodeRow): Omit<NodeConfig, "policyEpoch"> {
  return {
    flags:
      (row.masquerade4 ? NodeFlags.MASQ_IPV4 : 0) |
      (row.masquerade6 ? NodeFlags.MASQ_IPV6 : 0) |
      (row.traceClose ? NodeFlags.TRACE_CLOSE : 0),
    routerIpv4: ipv4Number(row.router4),
    routerIpv6: row.router6.bytes,
    masqIpv4: row.masquerade4 ? ipv4Number(row.masquerade4) : 0,
    masqIpv6: row.masquerade6?.bytes ?? zeroAddress,
    podCidrIpv4: ipv4Number(row.podCidr4),
    podMaskIpv4: ipv4Mask(row.podCidr4.length),
    podCidrIpv6: row.podCidr6.bytes,
    podPrefixIpv6: row.podCidr6.length,
    worldIfindex: row.world?.ifindex ?? 0,
  };
}
