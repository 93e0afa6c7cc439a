// rtnetlink(7): our changes -> requests, the kernel's messages -> our rows. Pure; numbers are those of linux/rtnetlink.h.
import { formatAddress, formatPrefix, type IpAddress, type Prefix } from "#core/model";
import type { InterfaceAddress, Link, Neighbour, NetworkChange, Route, RoutingRule, VethEnd } from "./kernel.ts";
import {
  type AttributeValue,
  attribute,
  decodeAttributes,
  Flag,
  type Request,
  zeroTerminated,
} from "./netlink-message.ts";

const Message = {
  NEWLINK: 16, DELLINK: 17, GETLINK: 18, SETLINK: 19, NEWADDR: 20, DELADDR: 21, GETADDR: 22, NEWROUTE: 24, DELROUTE: 25,
  GETROUTE: 26, NEWNEIGH: 28, DELNEIGH: 29, GETNEIGH: 30, NEWRULE: 32, DELRULE: 33, GETRULE: 34,
  GETTFILTER: 46,
} as const; // biome-ignore format: a table of the kernel's numbers

const IFF_UP = 1;
const IFF_RUNNING = 0x40;
const MAIN_TABLE = 254;
const SCOPE = { universe: 0, link: 253, host: 254 } as const;
const ROUTE_TYPE = { unicast: 1, local: 2 } as const;
const RTNH_F_ONLINK = 4;
/** Who made a route: RTPROT_STATIC, as an administrator would. */
const PROTOCOL = 4;
const NUD_PERMANENT = 0x80;
const IFA_F_NODAD = 2;
const FR_ACT_TO_TBL = 1;

const familyNumber = (family: 4 | 6) => (family === 4 ? 2 : 10);
const familyOf = (number: number): 4 | 6 | undefined => (number === 2 ? 4 : number === 10 ? 6 : undefined);
const wire = (address: IpAddress) => address.bytes.subarray(0, address.family === 4 ? 4 : 16);

/** A fixed-size struct followed by attributes; absent attributes are left out. */
function body(
  head: Uint8Array,
  ...attributes: readonly (readonly [type: number, value: AttributeValue | undefined])[]
) {
  return Buffer.concat([head, ...attributes.flatMap(([type, value]) => (value === undefined ? [] : attribute(type, value)))]); // biome-ignore format: one expression
}

function ifinfomsg(ifindex: number, flags = 0, change = 0): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeInt32LE(ifindex, 4);
  bytes.writeUInt32LE(flags, 8);
  bytes.writeUInt32LE(change, 12);
  return bytes;
}

/** Parents of filters on a clsact qdisc: TC_H_CLSACT with the minor number of its side. */
const CLSACT = { ingress: 0xffff_fff2, egress: 0xffff_fff3 } as const;

function tcmsg(ifindex: number, parent: number): Buffer {
  const bytes = Buffer.alloc(20);
  bytes.writeInt32LE(ifindex, 4);
  bytes.writeUInt32LE(parent, 12);
  return bytes;
}

const IFLA = { ADDRESS: 1, IFNAME: 3, MTU: 4, LINK: 5, LINKINFO: 18, NET_NS_FD: 28 } as const;

function vethEnd(end: VethEnd) {
  return [[IFLA.IFNAME, end.name], [IFLA.ADDRESS, end.mac], [IFLA.MTU, end.mtu]] as const; // biome-ignore format: one row
}

/** The request for one change. */
export function encodeChange(change: NetworkChange): Request {
  switch (change.kind) {
    case "createVeth": {
      const peer = body(ifinfomsg(0), ...vethEnd(change.peer), [IFLA.NET_NS_FD, change.peer.netns?.fd]);
      const VETH_INFO_PEER = 1;
      const info = [attribute(1, "veth"), attribute(2, [attribute(VETH_INFO_PEER, peer)])];
      return {
        type: Message.NEWLINK,
        flags: Flag.CREATE | Flag.EXCL,
        body: body(ifinfomsg(0), ...vethEnd(change.link), [IFLA.LINKINFO, info]),
      };
    }
    case "setLink": {
      const head = change.up === undefined ? ifinfomsg(change.ifindex) : ifinfomsg(change.ifindex, change.up ? IFF_UP : 0, IFF_UP); // biome-ignore format: one expression
      return { type: Message.SETLINK, flags: 0, body: body(head, [IFLA.MTU, change.mtu], [IFLA.ADDRESS, change.mac]) };
    }
    case "deleteLink":
      return { type: Message.DELLINK, flags: 0, body: ifinfomsg(change.ifindex) };
    case "replaceAddress":
      return { type: Message.NEWADDR, flags: Flag.CREATE | Flag.REPLACE, body: encodeAddress(change) };
    case "deleteAddress":
      return { type: Message.DELADDR, flags: 0, body: encodeAddress(change) };
    case "replaceRoute":
      return { type: Message.NEWROUTE, flags: Flag.CREATE | Flag.REPLACE, body: encodeRoute(change.route) };
    case "deleteRoute":
      return { type: Message.DELROUTE, flags: 0, body: encodeRoute(change.route) };
    case "ensureRule":
      return { type: Message.NEWRULE, flags: Flag.CREATE | Flag.EXCL, body: encodeRule(change.rule) };
    case "deleteRule":
      return { type: Message.DELRULE, flags: 0, body: encodeRule(change.rule) };
    case "replaceNeighbour":
      return { type: Message.NEWNEIGH, flags: Flag.CREATE | Flag.REPLACE, body: encodeNeighbour(change.neighbour) };
    case "deleteNeighbour":
      return { type: Message.DELNEIGH, flags: 0, body: encodeNeighbour(change.neighbour) };
  }
}

/** Whether the refusal only says that the change was made before. */
export function alreadyMade(change: NetworkChange, errno: string): boolean {
  switch (change.kind) {
    case "ensureRule":
      return errno === "EEXIST";
    case "deleteLink":
      return errno === "ENODEV";
    case "deleteAddress":
      return errno === "EADDRNOTAVAIL" || errno === "ENODEV";
    case "deleteRoute":
      return errno === "ESRCH" || errno === "ENODEV";
    case "deleteRule":
      return errno === "ENOENT";
    case "deleteNeighbour":
      return errno === "ENOENT" || errno === "ENODEV";
    default:
      return false;
  }
}

/** For error messages. */
export function describeChange(change: NetworkChange): string {
  switch (change.kind) {
    case "createVeth":
      return `create veth pair ${change.link.name} - ${change.peer.name}`;
    case "setLink":
      return `set up interface ${change.ifindex}`;
    case "deleteLink":
      return `delete interface ${change.ifindex}`;
    case "replaceAddress":
      return `add address ${formatAddress(change.address)}/${change.length} to interface ${change.ifindex}`;
    case "deleteAddress":
      return `delete address ${formatAddress(change.address)}/${change.length} from interface ${change.ifindex}`;
    case "replaceRoute":
      return `add ${describeRoute(change.route)}`;
    case "deleteRoute":
      return `delete ${describeRoute(change.route)}`;
    case "ensureRule":
      return `add ${describeRule(change.rule)}`;
    case "deleteRule":
      return `delete ${describeRule(change.rule)}`;
    case "replaceNeighbour":
      return `add neighbour ${formatAddress(change.neighbour.address)} to interface ${change.neighbour.ifindex}`;
    case "deleteNeighbour":
      return `delete neighbour ${formatAddress(change.neighbour.address)} from interface ${change.neighbour.ifindex}`;
  }
}

function describeRoute(route: Route): string {
  const via = route.gateway === undefined ? "" : ` via ${formatAddress(route.gateway)}`;
  return `route ${formatPrefix(route.destination)}${via} dev ${route.ifindex} table ${route.table ?? MAIN_TABLE}`;
}

function describeRule(rule: RoutingRule): string {
  return `IPv${rule.family} rule fwmark 0x${rule.mark.toString(16)}/0x${rule.mask.toString(16)} table ${rule.table}`;
}

function encodeAddress(row: InterfaceAddress): Buffer {
  const head = Buffer.alloc(8);
  head[0] = familyNumber(row.address.family);
  head[1] = row.length;
  head[2] = row.address.family === 6 ? IFA_F_NODAD : 0;
  head.writeInt32LE(row.ifindex, 4);
  const address = wire(row.address);
  return body(head, [2, row.address.family === 4 ? address : undefined], [1, address]);
}

const RTA = { DST: 1, OIF: 4, GATEWAY: 5, PREFSRC: 7, METRICS: 8, TABLE: 15 } as const;
const RTAX_MTU = 2;

function encodeRoute(route: Route): Buffer {
  const head = Buffer.alloc(12);
  const type = route.type ?? "unicast";
  const { destination } = route;
  head[0] = familyNumber(destination.family);
  head[1] = destination.length;
  head[4] = 0; // the table's number may exceed a byte: attribute TABLE says it
  head[5] = PROTOCOL;
  head[6] = type === "local" ? SCOPE.host : route.gateway === undefined && destination.family === 4 ? SCOPE.link : SCOPE.universe; // biome-ignore format: one decision
  head[7] = ROUTE_TYPE[type];
  head.writeUInt32LE(route.onlink ? RTNH_F_ONLINK : 0, 8);
  return body(
    head,
    [RTA.DST, destination.length === 0 ? undefined : wire(destination)],
    [RTA.OIF, route.ifindex],
    [RTA.GATEWAY, route.gateway && wire(route.gateway)],
    [RTA.PREFSRC, route.source && wire(route.source)],
    [RTA.TABLE, route.table ?? MAIN_TABLE],
    [RTA.METRICS, route.mtu === undefined ? undefined : [attribute(RTAX_MTU, route.mtu)]],
  );
}

const FRA = { PRIORITY: 6, FWMARK: 10, TABLE: 15, FWMASK: 16 } as const;

function encodeRule(rule: RoutingRule): Buffer {
  const head = Buffer.alloc(12);
  head[0] = familyNumber(rule.family);
  head[7] = FR_ACT_TO_TBL;
  return body(head, [FRA.PRIORITY, rule.priority], [FRA.FWMARK, rule.mark], [FRA.FWMASK, rule.mask], [FRA.TABLE, rule.table]); // biome-ignore format: one row
}

function encodeNeighbour(row: Neighbour): Buffer {
  const head = Buffer.alloc(12);
  head[0] = familyNumber(row.address.family);
  head.writeInt32LE(row.ifindex, 4);
  head.writeUInt16LE(NUD_PERMANENT, 8);
  return body(head, [1, wire(row.address)], [2, row.mac]);
}

/** Requests that ask for rows, or whether something can be made. */
export const query = {
  newLinkOfType: (name: string, type: string): Request => ({
    type: Message.NEWLINK,
    flags: Flag.CREATE | Flag.EXCL,
    body: body(ifinfomsg(0), [IFLA.IFNAME, name], [IFLA.LINKINFO, [attribute(1, type)]]),
  }),
  links: (): Request => ({ type: Message.GETLINK, flags: Flag.DUMP, body: ifinfomsg(0) }),
  link: (nameOrIndex: string | number): Request => ({
    type: Message.GETLINK,
    flags: 0,
    body: typeof nameOrIndex === "number" ? ifinfomsg(nameOrIndex) : body(ifinfomsg(0), [IFLA.IFNAME, nameOrIndex]),
  }),
  addresses: (): Request => ({ type: Message.GETADDR, flags: Flag.DUMP, body: Buffer.alloc(8) }),
  routes: (family: 4 | 6): Request => dump(Message.GETROUTE, family),
  rules: (family: 4 | 6): Request => dump(Message.GETRULE, family),
  neighbours: (family: 4 | 6): Request => dump(Message.GETNEIGH, family),
  filters: (ifindex: number, side: "ingress" | "egress"): Request => ({
    type: Message.GETTFILTER,
    flags: Flag.DUMP,
    body: tcmsg(ifindex, CLSACT[side]),
  }),
};

function dump(type: number, family: 4 | 6): Request {
  const head = Buffer.alloc(12);
  head[0] = familyNumber(family);
  return { type, flags: Flag.DUMP, body: head };
}

/** Undefined for filters that are no BPF programs, and for the headers of priorities, which have no program. */
export function decodeFilter(payload: Buffer): { readonly priority: number; readonly programId: number } | undefined {
  const TCMSG = 20;
  const TCA = { KIND: 1, OPTIONS: 2, BPF_ID: 11 } as const;
  const a = decodeAttributes(payload.subarray(TCMSG));
  if (zeroTerminated(a.get(TCA.KIND) ?? Buffer.alloc(0)) !== "bpf") return undefined;
  const programId = decodeAttributes(a.get(TCA.OPTIONS) ?? Buffer.alloc(0))
    .get(TCA.BPF_ID)
    ?.readUInt32LE();
  // The upper half of tcm_info is the priority; the lower one the protocol.
  return programId === undefined ? undefined : { priority: payload.readUInt32LE(16) >>> 16, programId };
}

export function decodeLink(payload: Buffer): Link {
  const a = decodeAttributes(payload.subarray(16));
  const flags = payload.readUInt32LE(8);
  const info = decodeAttributes(a.get(IFLA.LINKINFO) ?? Buffer.alloc(0));
  return {
    index: payload.readInt32LE(4),
    name: zeroTerminated(a.get(IFLA.IFNAME)!),
    mac: Uint8Array.from(a.get(IFLA.ADDRESS) ?? []),
    mtu: a.get(IFLA.MTU)?.readUInt32LE() ?? 0,
    up: (flags & IFF_UP) !== 0,
    running: (flags & IFF_RUNNING) !== 0,
    type: zeroTerminated(info.get(1) ?? Buffer.alloc(0)),
    peerIndex: a.get(IFLA.LINK)?.readUInt32LE() ?? 0,
  };
}

function address(family: 4 | 6, bytes: Uint8Array | undefined): IpAddress {
  const all = new Uint8Array(16);
  if (bytes !== undefined) all.set(bytes);
  return { family, bytes: all };
}

export function decodeAddress(payload: Buffer): InterfaceAddress | undefined {
  const family = familyOf(payload[0]!);
  if (family === undefined) return undefined;
  const a = decodeAttributes(payload.subarray(8));
  // Attribute 2 is the interface's own address, 1 the other end of a point-to-point link.
  return { ifindex: payload.readInt32LE(4), address: address(family, a.get(2) ?? a.get(1)), length: payload[1]! };
}

/** Undefined for what we have no words for: other families and types, multipath, cached routes. */
export function decodeRoute(payload: Buffer): (Route & { readonly table: number }) | undefined {
  const family = familyOf(payload[0]!);
  const type = payload[7] === ROUTE_TYPE.local ? "local" : payload[7] === ROUTE_TYPE.unicast ? "unicast" : undefined;
  const CLONED = 0x200;
  const flags = payload.readUInt32LE(8);
  const a = decodeAttributes(payload.subarray(12));
  const ifindex = a.get(RTA.OIF)?.readUInt32LE();
  if (family === undefined || type === undefined || ifindex === undefined || (flags & CLONED) !== 0) return undefined;
  const gateway = a.get(RTA.GATEWAY);
  const source = a.get(RTA.PREFSRC);
  const mtu = decodeAttributes(a.get(RTA.METRICS) ?? Buffer.alloc(0)).get(RTAX_MTU);
  const destination: Prefix = { ...address(family, a.get(RTA.DST)), length: payload[1]! };
  return {
    destination,
    ifindex,
    table: a.get(RTA.TABLE)?.readUInt32LE() ?? payload[4]!,
    type,
    onlink: (flags & RTNH_F_ONLINK) !== 0,
    ...(gateway && { gateway: address(family, gateway) }),
    ...(source && { source: address(family, source) }),
    ...(mtu && { mtu: mtu.readUInt32LE() }),
  };
}

/** Undefined for rules that don't go by mark. */
export function decodeRule(payload: Buffer): RoutingRule | undefined {
  const family = familyOf(payload[0]!);
  const a = decodeAttributes(payload.subarray(12));
  const mark = a.get(FRA.FWMARK)?.readUInt32LE();
  if (family === undefined || mark === undefined || payload[7] !== FR_ACT_TO_TBL) return undefined;
  return {
    family,
    mark,
    mask: a.get(FRA.FWMASK)?.readUInt32LE() ?? 0xffffffff,
    table: a.get(FRA.TABLE)?.readUInt32LE() ?? payload[4]!,
    priority: a.get(FRA.PRIORITY)?.readUInt32LE() ?? 0,
  };
}

/** Undefined for what the kernel learned by itself. */
export function decodeNeighbour(payload: Buffer): Neighbour | undefined {
  const family = familyOf(payload[0]!);
  const a = decodeAttributes(payload.subarray(12));
  const mac = a.get(2);
  const permanent = (payload.readUInt16LE(8) & NUD_PERMANENT) !== 0;
  if (family === undefined || mac === undefined || !permanent) return undefined;
  return { ifindex: payload.readInt32LE(4), address: address(family, a.get(1)), mac: Uint8Array.from(mac) };
}
