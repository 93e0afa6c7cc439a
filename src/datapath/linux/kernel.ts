import type { IpAddress, Prefix } from "#core/model";

/**
 * The kernel as the datapath sees it. Two implementations pass the same behaviour suite: the real one (`openKernel`) and an
 * in-memory one for tests (`#datapath/linux/testing`). Everything is synchronous: a call is a few microseconds of system call.
 * All methods throw {@link KernelError} when the kernel refuses; what is merely absent is `undefined` or `false`.
 */
export interface Kernel {
  readonly bpf: Bpf;
  readonly netns: NetworkNamespaces;
  /** A netlink socket in the current namespace, or in the given one. */
  netlink(netns?: NetworkNamespace): Netlink;
}

// ---------------------------------------------------------------------------------------------------------------- bpf

/** Shape of a map; two maps of equal shape can stand for one another. */
export interface MapSpec {
  readonly name: string;
  readonly type: MapType;
  readonly keySize: number;
  /** Of one value; per-CPU maps hold one for each possible CPU. */
  readonly valueSize: number;
  readonly maxEntries: number;
  /** BPF_F_* bits; BPF_F_NO_PREALLOC = 1 is obligatory for LPM tries. */
  readonly flags: number;
}

/** The types that we know by name; the kernel's numbers. */
export const MapType = {
  HASH: 1,
  ARRAY: 2,
  PROG_ARRAY: 3,
  PERCPU_HASH: 5,
  PERCPU_ARRAY: 6,
  LRU_HASH: 9,
  LPM_TRIE: 11,
  HASH_OF_MAPS: 13,
  SOCKMAP: 15,
  SOCKHASH: 18,
  SK_STORAGE: 24,
  RINGBUF: 27,
} as const;
/** A map type's number; may be one without a name here. */
export type MapType = number;

/** A map type for people, as bpftool writes it: `lru_hash`, `lpm_trie`; the number for a type that we don't use. */
export function mapTypeName(type: MapType): string {
  return (
    Object.entries(MapType)
      .find(([, number]) => number === type)?.[0]
      .toLowerCase() ?? String(type)
  );
}

/** BPF_F_NO_PREALLOC: entries are allocated when they are made. */
export const NO_PREALLOC = 1;

export interface Bpf {
  /** `sample`: for a map of maps, one of the shape that its values have. */
  createMap(spec: MapSpec, sample?: BpfMap): BpfMap;
  /** The maps that a map of maps holds. */
  mapsIn(map: BpfMap): MapOfMaps;
  /** The map pinned there; undefined when nothing is. */
  openMap(pin: string): BpfMap | undefined;
  openProgram(pin: string): BpfProgram | undefined;
  openLink(pin: string): BpfLink | undefined;
  /**
   * Removes a pin, or a directory with all pins in it; false when there was nothing. What was pinned lives on while something
   * else holds it; what a link's last pin held up is taken down shortly after, not at once: detach before where that matters.
   */
  unpin(path: string): boolean;
  /** Names of the pins and directories directly below a directory; none when it doesn't exist. */
  pinned(directory: string): readonly string[];
  /** Reads a compiled object without touching the kernel. */
  inspectObject(path: string): ObjectSpec;
  /** Loads a compiled object's maps and programs. A refused program throws VERIFIER_REJECTED with the telling line. */
  loadObject(path: string, options?: LoadOptions): LoadedObject;
  /** Attaches; the result vanishes with its last holder (this process, or a pin). One program can't be on a TCX hook twice. */
  attach(program: BpfProgram, target: AttachTarget): BpfLink;
  /** Makes the program judge what sockets in a socket map send (sk_msg). It stays as long as the map, in the place of an earlier one. */
  attachToSockets(program: BpfProgram, map: BpfMap): void;
  /** Programs on a hook in the order in which they run, whoever attached them. Only TCX, clsact and XDP hooks can be asked. */
  attached(target: AttachTarget): readonly AttachedProgram[];
  openRingBuffer(map: BpfMap): RingBuffer;
  /**
   * Puts a program into a PROG_ARRAY, in place of the one there: a tail call meets the one or the other. The map holds it as long
   * as the map itself is pinned or held. Looking the place up gives the program's id.
   */
  setTailCall(map: BpfMap, index: number, program: BpfProgram): void;
}

export interface ObjectSpec {
  readonly maps: readonly MapSpec[];
  readonly programs: readonly string[];
}

export interface LoadOptions {
  /** Maps to use in place of the object's own, by name. */
  readonly reuse?: Readonly<Record<string, BpfMap>>;
  /** Capacities in place of those in the object, by map name. */
  readonly maxEntries?: Readonly<Record<string, number>>;
  /** Programs to load; all by default. */
  readonly programs?: readonly string[];
}

/** What `loadObject` made; holds its own references, `close` lets go of all of them. */
export interface LoadedObject {
  readonly maps: Readonly<Record<string, BpfMap>>;
  readonly programs: Readonly<Record<string, BpfProgram>>;
  close(): void;
}

/**
 * Keys and values are bytes in the kernel's layout: `keySize` and, for values, `valueSize` bytes; in per-CPU maps one value
 * for each possible CPU, each padded to 8 bytes.
 */
export interface BpfMap {
  readonly id: number;
  readonly spec: MapSpec;
  /** Length of what `lookup` returns. */
  readonly storedValueSize: number;
  lookup(key: Uint8Array): Uint8Array | undefined;
  /** `create`: only if absent; `exist`: only if present; throws EEXIST or ENOENT. A full map: MAP_FULL. */
  update(key: Uint8Array, value: Uint8Array, mode?: "any" | "create" | "exist"): void;
  /** False when there was no such key. */
  delete(key: Uint8Array): boolean;
  /**
   * All entries; what changes meanwhile may be seen or not, and deleting what was seen is allowed. Keys and values are the
   * caller's. A hash is read some thousand entries at a time, as they are asked for.
   */
  entries(): Iterable<readonly [key: Uint8Array, value: Uint8Array]>;
  /** Many updates with one system call where the kernel can. Not atomic: on failure a part may be written. */
  updateAll(entries: readonly (readonly [key: Uint8Array, value: Uint8Array])[]): void;
  /** Many deletions; returns how many keys were there. */
  deleteAll(keys: readonly Uint8Array[]): number;
  pin(path: string): void;
  close(): void;
}

/** A map whose values are maps; it holds them like a pin does. Changes wait until no program uses what they replace: tens of milliseconds. */
export interface MapOfMaps {
  /** A handle of one's own, to be closed. */
  get(key: Uint8Array): BpfMap | undefined;
  /** Throws MAP_FULL when there is no room. */
  set(key: Uint8Array, map: BpfMap): void;
  /** False when there was no such key. */
  delete(key: Uint8Array): boolean;
  keys(): Iterable<Uint8Array>;
}

export interface BpfProgram {
  readonly id: number;
  readonly name: string;
  pin(path: string): void;
  /** Runs the program once on a packet that is nowhere on the wire; tc and XDP programs. */
  testRun(input: TestRunInput): TestRunResult;
  close(): void;
}

export interface TestRunInput {
  /** From the Ethernet header on; at least 14 bytes. */
  readonly packet: Uint8Array;
  /** Fields of struct __sk_buff; an `ifindex` must exist in the current namespace. tc programs only. */
  readonly mark?: number;
  readonly ifindex?: number;
  readonly ingressIfindex?: number;
  readonly repeat?: number;
}

export interface TestRunResult {
  /** TC_ACT_* or XDP_*. */
  readonly result: number;
  /** The packet afterwards. */
  readonly packet: Uint8Array;
  /** The mark afterwards; 0 for XDP. */
  readonly mark: number;
  /** Mean of the repetitions. */
  readonly durationNs: number;
}

/** A hook. `ifindex` is meant in `netns`, or in the current namespace. */
export type AttachTarget =
  | { readonly kind: "tcx"; readonly ifindex: number; readonly direction: "ingress" | "egress"; readonly first?: boolean; readonly netns?: NetworkNamespace }
  /** tc filter for kernels without TCX (before 6.6): survives without a pin, so `pin` does nothing and `openLink` never finds it. */
  | { readonly kind: "clsact"; readonly ifindex: number; readonly direction: "ingress" | "egress"; readonly netns?: NetworkNamespace }
  | { readonly kind: "xdp"; readonly ifindex: number; readonly mode: "native" | "generic"; readonly netns?: NetworkNamespace }
  | { readonly kind: "cgroup"; readonly path: string; readonly attachType: number }
  | { readonly kind: "tracepoint"; readonly category: string; readonly name: string }
  /** An empty name: the one that the program was loaded for (tp_btf, fentry, LSM). */
  | { readonly kind: "rawTracepoint"; readonly name: string }; // biome-ignore format: a table

export interface AttachedProgram {
  readonly programId: number;
  readonly programName: string;
}

export interface BpfLink {
  /** 0 for a tc filter, which is no link. */
  readonly id: number;
  /** The program that runs now. */
  programId(): number;
  /** The interface that it is attached to; 0 when that is gone, or for other hooks. */
  ifindex(): number;
  /** Puts another program in its place: no packet passes without one of the two. */
  replace(program: BpfProgram): void;
  pin(path: string): void;
  /** Takes the program off its hook, whoever else holds the link. */
  detach(): void;
  /** Lets go of it; an unpinned link is detached by that. */
  close(): void;
}

export interface RingBuffer {
  /**
   * Hands over what is there, oldest first, at most `limit` records; returns their number. `view` covers the whole buffer and
   * is valid only inside of the callback. If the callback throws, the record counts as consumed.
   */
  drain(record: (view: DataView, offset: number, length: number) => void, limit?: number): number;
  /** Bytes that wait, headers included. */
  readonly backlogBytes: number;
  readonly capacityBytes: number;
  /** Calls back when the kernel signals new records (it may be asked not to). Returns how to stop. Keeps the process alive. */
  onReadable(callback: () => void): () => void;
  close(): void;
}

// ----------------------------------------------------------------------------------------------------------- namespaces

export interface NetworkNamespaces {
  /** Made like `ip netns add` does, so that `ip netns exec NAME` works. EEXIST when the name is taken. */
  create(name: string): NetworkNamespace;
  /** By name; undefined when there is none. */
  open(name: string): NetworkNamespace | undefined;
  /** The namespace of a process; undefined when there is no such process. */
  ofProcess(pid: number): NetworkNamespace | undefined;
  /** The one that this process lives in. */
  current(): NetworkNamespace;
  /** False when there was none. Interfaces in it vanish when its last process has ended. */
  delete(name: string): boolean;
  list(): readonly string[];
}

export interface NetworkNamespace {
  /** Open file descriptor, for netlink and BPF; -1 in the fake. */
  readonly fd: number;
  /** Inode number: equal for two handles of one namespace. */
  readonly inode: bigint;
  /** What programs see of it (bpf_get_netns_cookie): never the same number for another one until the next boot. */
  cookie(): bigint;
  /** Runs synchronous code inside; an async function is refused, because its second half would run outside. */
  run<T>(action: () => T): T;
  /** `net.ipv4.ip_forward`; throws when there is no such setting. */
  readSysctl(name: string): string;
  writeSysctl(name: string, value: string): void;
  close(): void;
}

// ------------------------------------------------------------------------------------------------------------- netlink

export interface Netlink {
  links(): readonly Link[];
  /** By name or index. */
  link(nameOrIndex: string | number): Link | undefined;
  addresses(ifindex?: number): readonly InterfaceAddress[];
  /** Routes of one family and table; `main` (254) by default. */
  routes(family: 4 | 6, table?: number): readonly Route[];
  rules(family: 4 | 6): readonly RoutingRule[];
  neighbours(family: 4 | 6, ifindex: number): readonly Neighbour[];
  /**
   * Makes changes in order, all in one send. Idempotent but for `createVeth` and `setLink`: what is there already, or gone
   * already, is no error. Not atomic: later changes are tried although an earlier one was refused, then the
   * first refusal is thrown with the kernel's own explanation.
   */
  apply(changes: readonly NetworkChange[]): void;
  close(): void;
}

export interface Link {
  readonly index: number;
  readonly name: string;
  /** 6 bytes; empty for devices without one. */
  readonly mac: Uint8Array;
  readonly mtu: number;
  readonly up: boolean;
  /** Has a carrier: both ends of a veth pair are up. */
  readonly running: boolean;
  /** "veth", "vxlan"...; empty for physical devices and loopback. */
  readonly type: string;
  /** Index of a veth's other end, in the other end's namespace; 0 if there is none. */
  readonly peerIndex: number;
}

export interface InterfaceAddress {
  readonly ifindex: number;
  /** Bits behind the length may be set. */
  readonly address: IpAddress;
  readonly length: number;
}

export interface Route {
  readonly destination: Prefix;
  readonly ifindex: number;
  readonly gateway?: IpAddress;
  /** Preferred source address. */
  readonly source?: IpAddress;
  readonly table?: number;
  /** The gateway is reachable on the device, whatever the addresses say. */
  readonly onlink?: boolean;
  /** `local`: packets for it are delivered to this machine. */
  readonly type?: "unicast" | "local";
  readonly mtu?: number;
}

export interface RoutingRule {
  readonly family: 4 | 6;
  readonly mark: number;
  readonly mask: number;
  readonly table: number;
  /** Lower ones come first; 0 to 32767. */
  readonly priority: number;
}

export interface Neighbour {
  readonly ifindex: number;
  readonly address: IpAddress;
  readonly mac: Uint8Array;
}

export interface VethEnd {
  readonly name: string;
  readonly mac?: Uint8Array;
  readonly mtu?: number;
}

export type NetworkChange =
  /** A pair of interfaces; `peer` appears directly in its namespace. Refused (EEXIST) when a name is taken. */
  | { readonly kind: "createVeth"; readonly link: VethEnd; readonly peer: VethEnd & { readonly netns?: NetworkNamespace } }
  | { readonly kind: "setLink"; readonly ifindex: number; readonly up?: boolean; readonly mtu?: number; readonly mac?: Uint8Array }
  | { readonly kind: "deleteLink"; readonly ifindex: number }
  /** IPv6 addresses skip duplicate detection: they are usable at once. */
  | { readonly kind: "replaceAddress"; readonly ifindex: number; readonly address: IpAddress; readonly length: number }
  | { readonly kind: "deleteAddress"; readonly ifindex: number; readonly address: IpAddress; readonly length: number }
  | { readonly kind: "replaceRoute"; readonly route: Route }
  | { readonly kind: "deleteRoute"; readonly route: Route }
  | { readonly kind: "ensureRule"; readonly rule: RoutingRule }
  | { readonly kind: "deleteRule"; readonly rule: RoutingRule }
  /** Permanent entries. */
  | { readonly kind: "replaceNeighbour"; readonly neighbour: Neighbour }
  | { readonly kind: "deleteNeighbour"; readonly neighbour: Neighbour }; // biome-ignore format: a table
