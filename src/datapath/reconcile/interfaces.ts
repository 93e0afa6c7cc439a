/** Interface rows -> veth pairs: made straight into the workload's namespace, programs attached before the first packet can pass. */
import type { EndpointId, IpAddress } from "#core/model";
import { formatPrefix, hostPrefix, maskAddress, parseAddress } from "#core/model";
import { type Operations, Table, TsiliumError } from "#core/runtime";
import type { Kernel, Link, NetworkChange, NetworkNamespace } from "#datapath/linux";
import { macBytes } from "./bytes.ts";
import type { HookDoor, MapDoor } from "./doors.ts";
import { openNamespace } from "./namespace.ts";

/** An endpoint's pair of interfaces. */
export interface InterfaceRow {
  /** Name of the host side. */
  readonly hostName: string;
  readonly netnsPath: string;
  /** Name inside the workload. */
  readonly name: string;
  readonly mac: string;
  readonly hostMac: string;
  readonly ipv4?: IpAddress;
  readonly ipv6?: IpAddress;
  readonly mtu?: number;
}

/** The target of interface rows. */
export interface InterfaceTarget {
  readonly operations: Operations<EndpointId, InterfaceRow>;
  /** Host-side index of each interface that stands. */
  readonly up: Table<EndpointId, number>;
  /** Those of `up` that somebody else has removed, taken down, or taken the route or the programs' pins from. One look, however many there are. */
  damaged(): readonly EndpointId[];
}

/** The workload's next hops: answered by the program on the host side, so that no subnet is needed. */
const gateways = { 4: parseAddress("169.254.1.1")!, 6: parseAddress("fe80::1")! } as const;
/** Both families' "everywhere". */
const everywhere = { 4: maskAddress(parseAddress("0.0.0.0")!, 0), 6: maskAddress(parseAddress("::")!, 0) } as const;

/** Makes the target. `isOurs` tells host sides by name: whatever is ours and in no row is removed. */
export function createInterfaceTarget(options: {
  readonly kernel: Kernel;
  readonly ifaces: MapDoor<number, EndpointId>;
  readonly hooks: HookDoor;
  readonly routers: { readonly router4: IpAddress; readonly router6: IpAddress };
  readonly isOurs: (hostName: string) => boolean;
}): InterfaceTarget {
  const { kernel, ifaces, hooks, routers } = options;
  const up = new Table<EndpointId, number>("interfaces-up");
  const rows = new Map<EndpointId, InterfaceRow>();
  const netlink = kernel.netlink();

  function update(id: EndpointId, row: InterfaceRow): void {
    const inside = openNamespace(kernel, row.netnsPath);
    try {
      const pod = kernel.netlink(inside);
      try {
        const { host, peer } = ensurePair(row, inside, pod);
        const self = kernel.netns.current();
        try {
          for (const [name, value] of hostSysctls(row.hostName)) self.writeSysctl(name, value);
        } finally {
          self.close();
        }
        // The programs and the way back to the endpoint come before "up": from the first packet on it is judged.
        hooks.attach("from_endpoint", { ifindex: host.index, name: row.hostName });
        hooks.attach("to_endpoint", { ifindex: host.index, name: row.hostName });
        if (ifaces.get(host.index) !== id) ifaces.set(host.index, id);
        if (!host.up) netlink.apply([{ kind: "setLink", ifindex: host.index, up: true }]);
        configurePod(row, inside, pod, peer);
        netlink.apply(hostRoutes(row, host.index));
        up.set(id, host.index);
        rows.set(id, row);
      } finally {
        pod.close();
      }
    } finally {
      inside.close();
    }
  }

  /** Both ends, made anew if what is there is not this row's pair. */
  function ensurePair(
    row: InterfaceRow,
    inside: NetworkNamespace,
    pod: ReturnType<Kernel["netlink"]>,
  ): { host: Link; peer: Link } {
    const host = netlink.link(row.hostName);
    if (host) {
      const peer = pod.link(row.name);
      if (peer && peer.index === host.peerIndex && sameMac(peer, row.mac) && sameMac(host, row.hostMac))
        return { host, peer };
      remove(row.hostName, host);
    }
    netlink.apply([
      {
        kind: "createVeth",
        link: { name: row.hostName, mac: macBytes(row.hostMac), ...(row.mtu !== undefined && { mtu: row.mtu }) },
        peer: {
          name: row.name,
          mac: macBytes(row.mac),
          netns: inside,
          ...(row.mtu !== undefined && { mtu: row.mtu }),
        },
      },
    ]);
    return { host: mustFind(netlink.link(row.hostName), row.hostName), peer: mustFind(pod.link(row.name), row.name) };
  }

  function configurePod(
    row: InterfaceRow,
    inside: NetworkNamespace,
    pod: ReturnType<Kernel["netlink"]>,
    peer: Link,
  ): void {
    const lo = mustFind(pod.link("lo"), "lo");
    const changes: NetworkChange[] = [];
    if (!lo.up) changes.push({ kind: "setLink", ifindex: lo.index, up: true });
    if (!peer.up) {
      // Its own addresses are ours to give: no autoconfiguration, and link-local ones are usable at once.
      for (const [name, value] of [
        ["accept_ra", "0"],
        ["accept_dad", "0"],
        ["router_solicitations", "0"],
      ] as const)
        inside.writeSysctl(`net.ipv6.conf.${row.name.replaceAll(".", "/")}.${name}`, value);
      changes.push({ kind: "setLink", ifindex: peer.index, up: true });
    }
    for (const address of addressesOf(row)) {
      const { family } = address;
      changes.push({ kind: "replaceAddress", ifindex: peer.index, address, length: family === 4 ? 32 : 128 });
    }
    for (const { family } of addressesOf(row)) {
      changes.push({
        kind: "replaceRoute",
        route: { destination: everywhere[family], ifindex: peer.index, gateway: gateways[family], onlink: true },
      });
    }
    pod.apply(changes);
  }

  function hostRoutes(row: InterfaceRow, ifindex: number): NetworkChange[] {
    return addressesOf(row).flatMap((address): NetworkChange[] => [
      { kind: "replaceNeighbour", neighbour: { ifindex, address, mac: macBytes(row.mac) } },
      {
        kind: "replaceRoute",
        route: {
          destination: hostPrefix(address),
          ifindex,
          source: address.family === 4 ? routers.router4 : routers.router6,
        },
      },
    ]);
  }

  function remove(hostName: string, host: Link | undefined): void {
    hooks.detach(hostName);
    if (!host) return;
    ifaces.delete(host.index);
    netlink.apply([{ kind: "deleteLink", ifindex: host.index }]);
  }

  /** Ways to workloads as they are: `prefix index`. */
  function routes(): ReadonlySet<string> {
    const all = ([4, 6] as const).flatMap((family) => netlink.routes(family));
    return new Set(all.map(({ destination, ifindex }) => `${formatPrefix(destination)} ${ifindex}`));
  }

  return {
    up,
    damaged() {
      if (up.size === 0) return [];
      const standing = new Set(netlink.links().flatMap((link) => (link.up ? [link.index] : [])));
      const ways = routes();
      const hooked = new Set(hooks.devices());
      return [...up.entries()]
        .filter(([id, ifindex]) => {
          const row = rows.get(id)!;
          const isReached = addressesOf(row).every((one) => ways.has(`${formatPrefix(hostPrefix(one))} ${ifindex}`));
          return !isReached || !standing.has(ifindex) || !hooked.has(row.hostName);
        })
        .map(([id]) => id);
    },
    operations: {
      update(id, row) {
        try {
          update(id, row);
        } catch (error) {
          up.delete(id);
          throw error;
        }
      },
      delete(id, row) {
        const ifindex = up.get(id);
        const name = row?.hostName ?? netlink.links().find((link) => link.index === ifindex)?.name;
        if (name !== undefined) remove(name, netlink.link(name));
        up.delete(id);
        rows.delete(id);
      },
      prune(rows) {
        const wanted = new Set([...rows.values()].map((row) => row.hostName));
        const links = netlink.links();
        for (const link of links) if (options.isOurs(link.name) && !wanted.has(link.name)) remove(link.name, link);
        for (const name of hooks.devices()) if (options.isOurs(name) && !wanted.has(name)) hooks.detach(name);
        const alive = new Set(links.map((link) => link.index));
        for (const [ifindex] of ifaces.entries()) if (!alive.has(ifindex)) ifaces.delete(ifindex);
      },
    },
  };
}

function addressesOf(row: InterfaceRow): IpAddress[] {
  return [row.ipv4, row.ipv6].filter((address) => address !== undefined);
}

/** Replies take another way than the request came (the programs redirect), so reverse-path filtering must be off; so must our own link-local chatter. */
function hostSysctls(name: string): (readonly [string, string])[] {
  return [
    [`net.ipv4.conf.${name}.rp_filter`, "0"],
    [`net.ipv4.conf.${name}.accept_local`, "1"],
    [`net.ipv4.conf.${name}.forwarding`, "1"],
    [`net.ipv4.conf.${name}.send_redirects`, "0"],
    [`net.ipv6.conf.${name}.forwarding`, "1"],
    [`net.ipv6.conf.${name}.accept_ra`, "0"],
    [`net.ipv6.conf.${name}.accept_dad`, "0"],
    [`net.ipv6.conf.${name}.addr_gen_mode`, "1"],
  ];
}

function sameMac(link: Link, mac: string): boolean {
  const wanted = macBytes(mac);
  return link.mac.length === 6 && link.mac.every((byte, i) => byte === wanted[i]);
}

function mustFind(link: Link | undefined, name: string): Link {
  if (!link) throw new TsiliumError("INTERFACE_GONE", `the interface ${name} vanished while it was being set up`);
  return link;
}
