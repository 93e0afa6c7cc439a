import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { bpf, Command, cString, type Field, objectInfo, pin, struct, tryBpf } from "./bpf-syscall.ts";
import { kernelError } from "./errors.ts";
import type { AttachedProgram, AttachTarget, BpfLink, BpfMap, BpfProgram } from "./kernel.ts";
import type { RealMap } from "./map.ts";
import { checked, libbpf, libc, syscallNumber, withLibbpfMessages } from "./native.ts";
import { filterPrograms } from "./netlink.ts";
import { programName, type RealProgram } from "./program.ts";

/** enum bpf_attach_type. */
const TCX = { ingress: 46, egress: 47 } as const;
const XDP = 37;
const PERF_EVENT = 41;
const F_BEFORE = 8;
/** enum bpf_link_type. */
const LINK_TYPE = { XDP: 6, TCX: 11 } as const;
const XDP_MODE = { generic: 2, native: 4 } as const;
const ENOENT = 2;

type Clsact = Extract<AttachTarget, { kind: "clsact" }>;

/** Attaches to any hook; see `Bpf.attach`. */
export function attach(program: BpfProgram, target: AttachTarget): BpfLink {
  const what = `attach program ${program.name || "(unnamed)"} to ${describeTarget(target)}`;
  const { fd } = program as RealProgram;
  const inside = <T>(action: () => T): T => ("netns" in target && target.netns ? target.netns.run(action) : action());
  const create = (targetId: number, attachType: number, flags = 0) =>
    new RealLink(
      inside(() => bpf(Command.LINK_CREATE, struct(64, [[0, "u32", fd], [4, "u32", targetId], [8, "u32", attachType], [12, "u32", flags]]), what)), // biome-ignore format: one struct
    );
  switch (target.kind) {
    case "tcx":
      return create(target.ifindex, TCX[target.direction], target.first ? F_BEFORE : 0);
    case "xdp":
      return create(target.ifindex, XDP, XDP_MODE[target.mode]);
    case "cgroup": {
      const group = openSync(target.path, "r");
      try {
        return create(group, target.attachType);
      } finally {
        closeSync(group);
      }
    }
    case "tracepoint": {
      const event = openTracepoint(target.category, target.name, what);
      try {
        const link = create(event, PERF_EVENT);
        const PERF_EVENT_IOC_ENABLE = 0x2400;
        checked(libc.ioctl(event, PERF_EVENT_IOC_ENABLE, 0), what);
        return link;
      } finally {
        libc.close(event); // the link holds it
      }
    }
    case "rawTracepoint": {
      // A program that was loaded for one tracepoint (tp_btf, fentry, LSM) must not name another.
      const name = target.name === "" ? undefined : cString(target.name);
      const fields: Field[] = [[8, "u32", fd], ...(name === undefined ? [] : [[0, "pointer", name] as const])];
      return new RealLink(bpf(Command.RAW_TRACEPOINT_OPEN, struct(16, fields), what));
    }
    case "clsact":
      return ClsactFilter.attach(program as RealProgram, target);
  }
}

/** See `Bpf.attachToSockets`. Not by a link: those of socket maps came with 6.10. */
export function attachToSockets(program: BpfProgram, map: BpfMap): void {
  const SK_MSG_VERDICT = 7;
  const attr = struct(16, [[0, "u32", (map as RealMap).fd], [4, "u32", (program as RealProgram).fd], [8, "u32", SK_MSG_VERDICT]]); // biome-ignore format: one struct
  bpf(Command.PROG_ATTACH, attr, `attach program ${program.name} to the sockets of map ${map.spec.name}`);
}

/** The link pinned there. */
export function openLink(fd: number): BpfLink {
  return new RealLink(fd);
}

/** What runs on a hook, in order; see `Bpf.attached`. */
export function attached(target: AttachTarget): readonly AttachedProgram[] {
  const inside = <T>(action: () => T): T => ("netns" in target && target.netns ? target.netns.run(action) : action());
  const named = (programId: number): AttachedProgram => ({ programId, programName: programName(programId) });
  if (target.kind === "xdp") {
    const id = new Uint32Array(1);
    const result = inside(() => libbpf.xdpQueryId(target.ifindex, 0, id));
    if (result < 0) throw kernelError(`query ${describeTarget(target)}`, -result);
    return id[0] === 0 ? [] : [named(id[0]!)];
  }
  if (target.kind === "clsact") return filterPrograms(target.ifindex, target.direction, target.netns).map(named);
  if (target.kind !== "tcx") throw kernelError(`query ${describeTarget(target)}`, 95);
  const ids = new Uint8Array(64 * 4);
  const attr = struct(64, [[0, "u32", target.ifindex], [4, "u32", TCX[target.direction]], [16, "pointer", ids], [24, "u32", 64]]); // biome-ignore format: one struct
  const result = inside(() => tryBpf(Command.PROG_QUERY, attr));
  if (result === -ENOENT) return [];
  if (result < 0) throw kernelError(`query ${describeTarget(target)}`, -result);
  const view = new DataView(ids.buffer);
  return Array.from({ length: attr.readUInt32LE(24) }, (_, i) => named(view.getUint32(i * 4, true)));
}

function describeTarget(target: AttachTarget): string {
  switch (target.kind) {
    case "tcx":
    case "clsact":
      return `${target.kind} ${target.direction} of interface ${target.ifindex}`;
    case "xdp":
      return `${target.mode} XDP of interface ${target.ifindex}`;
    case "cgroup":
      return `cgroup ${target.path}`;
    case "tracepoint":
      return `tracepoint ${target.category}:${target.name}`;
    case "rawTracepoint":
      return `raw tracepoint ${target.name || "named by its program"}`;
  }
}

class RealLink implements BpfLink {
  readonly id: number;
  readonly #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
    this.id = objectInfo(fd, 16, "link").readUInt32LE(4);
  }

  programId(): number {
    return objectInfo(this.#fd, 16, "link").readUInt32LE(8);
  }

  ifindex(): number {
    const info = objectInfo(this.#fd, 64, "link");
    const type = info.readUInt32LE(0);
    return type === LINK_TYPE.XDP || type === LINK_TYPE.TCX ? info.readUInt32LE(16) : 0;
  }

  replace(program: BpfProgram): void {
    const { fd } = program as RealProgram;
    bpf(Command.LINK_UPDATE, struct(16, [[0, "u32", this.#fd], [4, "u32", fd]]), `replace the program of link ${this.id} by ${program.name}`); // biome-ignore format: one struct
  }

  pin(path: string): void {
    pin(this.#fd, path, `link ${this.id}`);
  }

  detach(): void {
    bpf(Command.LINK_DETACH, struct(4, [[0, "u32", this.#fd]]), `detach link ${this.id}`);
  }

  close(): void {
    libc.close(this.#fd);
  }
}

/** Our filter among others on the clsact qdisc: known by this handle and priority; 1 is the first to run. */
const HANDLE = 0x7551;
const PRIORITY = 1;

class ClsactFilter implements BpfLink {
  readonly id = 0;
  readonly #target: Clsact;

  private constructor(target: Clsact) {
    this.#target = target;
  }

  static attach(program: RealProgram, target: Clsact): ClsactFilter {
    const filter = new ClsactFilter(target);
    const EEXIST = 17;
    const result = inNetns(target, () => quietly(() => libbpf.tcHookCreate(hook(target, 3))));
    if (result !== 0 && result !== -EEXIST) throw kernelError(`create clsact on interface ${target.ifindex}`, -result);
    filter.replace(program);
    return filter;
  }

  /** Program of our filter on that hook; undefined if there is none. */
  static query(target: Clsact): number | undefined {
    const opts = tcOptions(-1, 0);
    const result = inNetns(target, () => quietly(() => libbpf.tcQuery(hook(target), opts)));
    // EINVAL: no clsact qdisc yet.
    if (result === -ENOENT || result === -22) return undefined;
    if (result !== 0) throw kernelError(`query ${describeTarget(target)}`, -result);
    return opts.readUInt32LE(16);
  }

  programId(): number {
    const id = ClsactFilter.query(this.#target);
    if (id === undefined) throw kernelError(`query ${describeTarget(this.#target)}`, ENOENT);
    return id;
  }

  ifindex(): number {
    return this.#target.ifindex;
  }

  replace(program: BpfProgram): void {
    const REPLACE = 1;
    const result = inNetns(this.#target, () =>
      quietly(() => libbpf.tcAttach(hook(this.#target), tcOptions((program as RealProgram).fd, REPLACE))),
    );
    if (result !== 0) throw kernelError(`attach program ${program.name} to ${describeTarget(this.#target)}`, -result);
  }

  pin(): void {
    // The filter is held by the interface.
  }

  detach(): void {
    const result = inNetns(this.#target, () => quietly(() => libbpf.tcDetach(hook(this.#target), tcOptions(0, 0))));
    if (result !== 0 && result !== -ENOENT) throw kernelError(`detach from ${describeTarget(this.#target)}`, -result);
  }

  close(): void {
    // Nothing is held.
  }
}

/** struct bpf_tc_hook; 1 = ingress, 2 = egress, 3 = both (the qdisc). */
function hook(target: Clsact, point = target.direction === "ingress" ? 1 : 2): Buffer {
  return struct(24, [[0, "u64", 24n], [8, "i32", target.ifindex], [12, "u32", point]]); // biome-ignore format: one struct
}

/** struct bpf_tc_opts. A query and a detach must not name a program. */
function tcOptions(programFd: number, flags: number): Buffer {
  return struct(32, [[0, "u64", 32n], [8, "i32", Math.max(0, programFd)], [12, "u32", flags], [20, "u32", HANDLE], [24, "u32", PRIORITY]]); // biome-ignore format: one struct
}

function inNetns<T>(target: Clsact, action: () => T): T {
  return target.netns === undefined ? action() : target.netns.run(action);
}

/** libbpf prints netlink's refusals; the caller throws them. */
function quietly(action: () => number): number {
  return withLibbpfMessages(action).result;
}

/** A perf event of that tracepoint, for a program to hang on. */
function openTracepoint(category: string, name: string, what: string): number {
  const path = `${tracefs()}/events/${category}/${name}/id`;
  if (!existsSync(path)) throw kernelError(what, ENOENT, `${path} is missing`);
  const id = Number(readFileSync(path, "utf8"));
  const TYPE_TRACEPOINT = 2;
  const CLOSE_ON_EXEC = 8;
  const attr = struct(112, [[0, "u32", TYPE_TRACEPOINT], [4, "u32", 112], [8, "u64", BigInt(id)], [16, "u64", 1n], [24, "u64", 1n << 10n], [48, "u32", 1]]); // biome-ignore format: one struct
  // A BPF program on a tracepoint sees the events of all CPUs, whichever CPU the perf event names.
  return checked(Number(libc.syscall5(syscallNumber("perfEventOpen"), attr, -1, 0, -1, CLOSE_ON_EXEC)), what);
}

function tracefs(): string {
  const own = "/sys/kernel/tracing";
  if (!existsSync(`${own}/events`)) {
    mkdirSync(own, { recursive: true });
    checked(libc.mount("tracefs", own, "tracefs", 0, null), `mount tracefs at ${own}`);
  }
  return own;
}
