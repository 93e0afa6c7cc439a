// Namespaces, interfaces, addresses, routes, rules and neighbours in memory. What the kernel adds by itself (connected and
// local routes, link-local addresses) is not imagined.
import { formatAddress, formatPrefix } from "#core/model";
import { kernelError } from "./errors.ts";
import type { InterfaceAddress, Link, Neighbour, Netlink, NetworkChange, NetworkNamespace, NetworkNamespaces, Route, RoutingRule } from "./kernel.ts"; // biome-ignore format: one door
import { describeChange } from "./netlink-route.ts";

const ENODEV = 19;
const EEXIST = 17;
const ENOENT = 2;

interface Device {
  readonly link: Link;
  readonly peer?: { readonly namespace: FakeNamespace; readonly index: number };
}

export class FakeNetwork {
  readonly #named = new Map<string, FakeNamespace>();
  readonly #root = new FakeNamespace(this, 1n);
  #inside = this.#root;
  #inodes = 1n;

  /** Namespace that calls without one mean. */
  get here(): FakeNamespace {
    return this.#inside;
  }

  readonly namespaces: NetworkNamespaces = {
    create: (name) => {
      if (this.#named.has(name)) throw kernelError(`create network namespace ${name}`, EEXIST);
      const namespace = new FakeNamespace(this, ++this.#inodes);
      this.#named.set(name, namespace);
      return namespace;
    },
    open: (name) => this.#named.get(name),
    ofProcess: (pid) => (pid === process.pid ? this.#inside : undefined),
    current: () => this.#inside,
    delete: (name) => {
      const namespace = this.#named.get(name);
      if (namespace !== undefined) for (const index of [...namespace.devices.keys()]) namespace.deleteLink(index);
      return this.#named.delete(name);
    },
    list: () => [...this.#named.keys()],
  };

  enter<T>(namespace: FakeNamespace, action: () => T): T {
    const home = this.#inside;
    this.#inside = namespace;
    try {
      return action();
    } finally {
      this.#inside = home;
    }
  }
}

export class FakeNamespace implements NetworkNamespace {
  readonly fd = -1;
  readonly inode: bigint;
  readonly devices = new Map<number, Device>();
  readonly #network: FakeNetwork;
  readonly #sysctls = new Map<string, string>();
  readonly #addresses = new Map<string, InterfaceAddress>();
  readonly #routes = new Map<string, Route & { readonly table: number }>();
  readonly #rules = new Map<string, RoutingRule>();
  readonly #neighbours = new Map<string, Neighbour>();
  /** Called with the index of an interface that vanishes. */
  readonly onDelete = new Set<(ifindex: number) => void>();
  #lastIndex = 0;

  constructor(network: FakeNetwork, inode: bigint) {
    this.#network = network;
    this.inode = inode;
    this.#addDevice({ name: "lo", mtu: 65536 }, "");
  }

  cookie(): bigint {
    return this.inode;
  }

  run<T>(action: () => T): T {
    const result = this.#network.enter(this, action);
    if (result instanceof Promise)
      throw new TypeError(
        "only synchronous code can run inside a network namespace: after an await it would be outside",
      );
    return result;
  }

  readSysctl(name: string): string {
    this.#checkSysctl("read", name);
    return this.#sysctls.get(name) ?? "0";
  }

  writeSysctl(name: string, value: string): void {
    this.#checkSysctl("write", name);
    this.#sysctls.set(name, value);
  }

  close(): void {
    // Nothing is held.
  }

  netlink(): Netlink {
    return {
      links: () => [...this.devices.values()].map(({ link }) => link),
      link: (nameOrIndex) =>
        [...this.devices.values()].find(({ link }) => link.index === nameOrIndex || link.name === nameOrIndex)?.link,
      addresses: (ifindex) =>
        [...this.#addresses.values()].filter((row) => ifindex === undefined || row.ifindex === ifindex),
      routes: (family, table = 254) =>
        [...this.#routes.values()].filter((r) => r.destination.family === family && r.table === table),
      rules: (family) => [...this.#rules.values()].filter((rule) => rule.family === family),
      neighbours: (family, ifindex) =>
        [...this.#neighbours.values()].filter((row) => row.ifindex === ifindex && row.address.family === family),
      apply: (changes) => {
        let refused: unknown;
        for (const change of changes) {
          try {
            this.#apply(change);
          } catch (error) {
            refused ??= error;
          }
        }
        if (refused !== undefined) throw refused;
      },
      close: () => undefined,
    };
  }

  deleteLink(index: number): void {
    const device = this.devices.get(index);
    if (device === undefined) return;
    this.devices.delete(index);
    for (const rows of [this.#addresses, this.#routes, this.#neighbours] as Map<string, { ifindex: number }>[])
      for (const [key, row] of rows) if (row.ifindex === index) rows.delete(key);
    for (const listener of this.onDelete) listener(index);
    device.peer?.namespace.deleteLink(device.peer.index);
  }

  #apply(change: NetworkChange): void {
    const refuse = (errno: number, why: string) => kernelError(describeChange(change), errno, why);
    const needDevice = (index: number): Device => {
      const device = this.devices.get(index);
      if (device === undefined) throw refuse(ENODEV, "");
      return device;
    };
    switch (change.kind) {
      case "createVeth": {
        const other = (change.peer.netns as FakeNamespace | undefined) ?? this;
        if (this.#has(change.link.name) || other.#has(change.peer.name)) throw refuse(EEXIST, "");
        const index = this.#nextIndex();
        const peerIndex = other.#nextIndex();
        this.#addDevice(change.link, "veth", index, { namespace: other, index: peerIndex });
        other.#addDevice(change.peer, "veth", peerIndex, { namespace: this, index });
        return;
      }
      case "setLink": {
        const device = needDevice(change.ifindex);
        const { up = device.link.up, mtu = device.link.mtu, mac = device.link.mac } = change;
        this.devices.set(change.ifindex, { ...device, link: { ...device.link, up, mtu, mac } });
        this.#updateCarrier(change.ifindex);
        return;
      }
      case "deleteLink":
        this.deleteLink(change.ifindex);
        return;
      case "replaceAddress":
        needDevice(change.ifindex);
        this.#addresses.set(addressKey(change), {
          ifindex: change.ifindex,
          address: change.address,
          length: change.length,
        });
        return;
      case "deleteAddress":
        this.#addresses.delete(addressKey(change));
        return;
      case "replaceRoute": {
        needDevice(change.route.ifindex);
        const route = { table: 254, type: "unicast" as const, onlink: false, ...change.route };
        this.#routes.set(routeKey(route), route);
        return;
      }
      case "deleteRoute":
        this.#routes.delete(routeKey({ table: 254, ...change.route }));
        return;
      case "ensureRule":
        this.#rules.set(JSON.stringify(Object.values(change.rule)), change.rule);
        return;
      case "deleteRule":
        this.#rules.delete(JSON.stringify(Object.values(change.rule)));
        return;
      case "replaceNeighbour":
        needDevice(change.neighbour.ifindex);
        this.#neighbours.set(neighbourKey(change.neighbour), change.neighbour);
        return;
      case "deleteNeighbour":
        this.#neighbours.delete(neighbourKey(change.neighbour));
        return;
    }
  }

  #has(name: string): boolean {
    return [...this.devices.values()].some(({ link }) => link.name === name);
  }

  #nextIndex(): number {
    return ++this.#lastIndex;
  }

  #addDevice(
    end: { readonly name: string; readonly mac?: Uint8Array; readonly mtu?: number },
    type: string,
    index = this.#nextIndex(),
    peer?: { readonly namespace: FakeNamespace; readonly index: number },
  ): void {
    const mac = end.mac ?? Uint8Array.of(2, 0, 0, 0, Number(this.inode), index);
    const link = {
      index,
      name: end.name,
      mac,
      mtu: end.mtu ?? 1500,
      up: false,
      running: false,
      type,
      peerIndex: peer?.index ?? 0,
    };
    this.devices.set(index, { link, ...(peer && { peer }) });
  }

  /** A pair has a carrier when both ends are up. */
  #updateCarrier(index: number): void {
    const device = this.devices.get(index)!;
    const other = device.peer?.namespace.devices.get(device.peer.index);
    const running = device.link.up && (other === undefined || other.link.up);
    this.devices.set(index, { ...device, link: { ...device.link, running } });
    if (other !== undefined && device.peer !== undefined)
      device.peer.namespace.devices.set(other.link.index, { ...other, link: { ...other.link, running } });
  }

  #checkSysctl(verb: string, name: string): void {
    const device = /^net\.ipv[46]\.conf\.([^.]+)\./.exec(name)?.[1]?.replaceAll("/", ".");
    const known = device === undefined ? /^net\.(ipv4|ipv6|core)\.[a-z]/.test(name) : device === "all" || device === "default" || this.#has(device); // biome-ignore format: one decision
    if (!known) throw kernelError(`${verb} sysctl ${name}`, ENOENT);
  }
}

function addressKey(row: InterfaceAddress): string {
  return `${row.ifindex} ${formatAddress(row.address)}/${row.length}`;
}

function routeKey(route: Route & { readonly table: number }): string {
  return `${route.table} ${formatPrefix(route.destination)}`;
}

function neighbourKey(row: Neighbour): string {
  return `${row.ifindex} ${formatAddress(row.address)}`;
}
