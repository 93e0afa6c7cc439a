import { existsSync, mkdirSync, readFileSync, rmdirSync } from "node:fs";
import { bpf, Command, cString, struct } from "./bpf-syscall.ts";
import { ensureBpffs, isBpffs } from "./bpffs.ts";
import { kernelError } from "./errors.ts";
import { type AttachTarget, type BpfProgram, MapType, type NetworkNamespace, NO_PREALLOC } from "./kernel.ts";
import { attach } from "./link.ts";
import { RealMap } from "./map.ts";
import { checked, libbpf, libc, syscallNumber } from "./native.ts";
import { openNetlink, supportsLinkType } from "./netlink.ts";
import { networkNamespaces } from "./netns.ts";
import { hasHelper, loadRawProgram, ProgramType, type RawProgram } from "./raw-program.ts";
import { BtfKind, findKernelType } from "./vmlinux-btf.ts";

/** A kernel feature and what came of trying it. */
export interface Feature {
  readonly name: string;
  readonly works: boolean;
  /** How it was tried. */
  readonly how: string;
  /** Linux version that brought it. */
  readonly since: string;
  /** What the user loses without it. */
  readonly cost: string;
  /** The kernel's own words when it doesn't work; empty else. */
  readonly detail: string;
}

/** A network namespace with a veth interface, made for the trial. */
interface Bench {
  readonly netns: NetworkNamespace;
  readonly ifindex: number;
}

interface Trial extends Omit<Feature, "works" | "detail"> {
  /** Throws, with the reason, when the feature doesn't work. */
  readonly attempt: (bench: Bench) => void;
}

/** enum bpf_attach_type. */
const ATTACH = { CGROUP_INET4_CONNECT: 10, TRACE_RAW_TP: 23, TRACE_FENTRY: 24, LSM_MAC: 27, SK_LOOKUP: 36 } as const;
/** enum bpf_func_id. */
const HELPER = { SK_ASSIGN: 124, REDIRECT_PEER: 155, LOOP: 181 } as const;

/**
 * Tries every kernel feature that some part of tsilium can use: by loading, attaching and making, in a namespace and a cgroup
 * of its own, of which nothing stays. Needs root; without it everything but what can be seen from outside fails with the
 * kernel's refusal. Takes some 100 ms.
 */
export function probeFeatures(): readonly Feature[] {
  const name = `tsilium-probe-${process.pid}`;
  let bench: Bench | undefined;
  const onBench = (): Bench => {
    bench ??= makeBench(name);
    return bench;
  };
  try {
    return trials.map(({ attempt, ...facts }) => {
      try {
        // The bench is made by the first trial that asks for it, and a failure to make it is that trial's.
        attempt({ get netns() { return onBench().netns; }, get ifindex() { return onBench().ifindex; } }); // biome-ignore format: one line
        return { ...facts, works: true, detail: "" };
      } catch (error) {
        return { ...facts, works: false, detail: error instanceof Error ? error.message : String(error) };
      }
    });
  } finally {
    if (bench !== undefined) {
      bench.netns.close();
      networkNamespaces.delete(name);
    }
  }
}

const trials: readonly Trial[] = [
  {
    name: "BPF system call",
    since: "4.1",
    how: "load a program of two instructions",
    cost: "nothing works",
    attempt: () => loadRawProgram({ type: ProgramType.SCHED_CLS }).close(),
  },
  {
    name: "kernel type information (BTF)",
    since: "5.4",
    how: "find a type in /sys/kernel/btf/vmlinux",
    cost: "no programs on kernel functions and tracepoints with types (tp_btf, fentry, BPF LSM)",
    attempt: () => need(findKernelType(BtfKind.FUNC, "tcp_v4_connect"), "it has no type information"),
  },
  {
    name: "BPF file system",
    since: "4.4",
    how: "mount it at /sys/fs/bpf",
    cost: "enforcement ends with the agent",
    attempt: () => {
      ensureBpffs();
      need(isBpffs("/sys/fs/bpf"), "it is not mounted");
    },
  },
  {
    name: "cgroup2",
    since: "4.5",
    how: "make a group",
    cost: "no workloads in standalone mode, no service translation at connect()",
    attempt: () => withCgroup(() => undefined),
  },
  hook("tc (clsact)", "4.5", "tsilium needs this or TCX", { type: ProgramType.SCHED_CLS }, (bench) => ({ kind: "clsact", direction: "ingress", ...bench })), // biome-ignore format: one row
  hook("TCX", "6.6", "tc filters are used: others can get in front of our programs and remove them", { type: ProgramType.SCHED_CLS }, (bench) => ({ kind: "tcx", direction: "ingress", ...bench })), // biome-ignore format: one row
  hook("XDP, native on veth", "4.20", "early drops and load balancing take place later, at tc", { type: ProgramType.XDP, result: 2 }, (bench) => ({ kind: "xdp", mode: "native", ...bench })), // biome-ignore format: one row
  {
    name: "cgroup connect4",
    since: "5.7",
    how: "attach a program to a group",
    cost: "services are translated packet by packet instead of once at connect()",
    attempt: () =>
      withCgroup((path) => {
        const attachType = ATTACH.CGROUP_INET4_CONNECT;
        const raw = { type: ProgramType.CGROUP_SOCK_ADDR, expectedAttachType: attachType, result: 1 };
        withProgram(raw, (program) => attach(program, { kind: "cgroup", path, attachType }).close());
      }),
  },
  helper("sk_assign", "5.7", "HTTP rules can't be enforced by the proxy", HELPER.SK_ASSIGN),
  {
    name: "sk_lookup",
    since: "5.9",
    how: "attach a program to a network namespace",
    cost: "one listener per address instead of one for all",
    attempt: ({ netns }) =>
      withProgram({ type: ProgramType.SK_LOOKUP, expectedAttachType: ATTACH.SK_LOOKUP, result: 1 }, (program) => {
        const fd = bpf(Command.LINK_CREATE, struct(64, [[0, "u32", program.fd], [4, "u32", netns.fd], [8, "u32", ATTACH.SK_LOOKUP]]), "attach to a network namespace"); // biome-ignore format: one struct
        libc.close(fd);
      }),
  },
  helper("redirect_peer", "5.10", "packets between workloads pass the host's stack", HELPER.REDIRECT_PEER),
  helper("bpf_loop", "5.17", "parsing in the kernel is bounded to short requests", HELPER.LOOP),
  map("LRU hash", "4.10", "no connection tracking: tsilium does not start", { type: MapType.LRU_HASH }),
  {
    name: "LPM trie with batches",
    since: "5.13",
    how: "read a trie with one call",
    cost: "large policies and ipcaches are written entry by entry: ten times slower",
    attempt: () =>
      withMap({ type: MapType.LPM_TRIE, keySize: 8, flags: NO_PREALLOC }, (trie) => {
        const out = [8, 8, 8, 8].map((size) => new Uint8Array(size)) as [
          Uint8Array,
          Uint8Array,
          Uint8Array,
          Uint8Array,
        ];
        const result = libbpf.mapLookupBatch(trie.fd, null, out[0], out[1], out[2], new Uint32Array([1]), null);
        // ENOENT: the trie is empty.
        if (result !== 0 && result !== -2) throw kernelError("read a trie with one call", -result);
      }),
  },
  map("ring buffer", "5.8", "no flows: nobody sees what is dropped", { type: MapType.RINGBUF, keySize: 0, valueSize: 0, maxEntries: 4096 }), // biome-ignore format: one row
  {
    name: "tracepoints",
    since: "4.7",
    how: "attach to sched:sched_process_exec",
    cost: "no process names in flows",
    attempt: () =>
      withProgram({ type: ProgramType.TRACEPOINT }, (program) =>
        attach(program, { kind: "tracepoint", category: "sched", name: "sched_process_exec" }).close(),
      ),
  },
  typed("tp_btf", "5.5", "no process names in flows", { type: ProgramType.TRACING, expectedAttachType: ATTACH.TRACE_RAW_TP }, BtfKind.TYPEDEF, "btf_trace_sched_process_exec"), // biome-ignore format: one row
  typed("fentry", "5.5", "no tracing of kernel functions", { type: ProgramType.TRACING, expectedAttachType: ATTACH.TRACE_FENTRY }, BtfKind.FUNC, "tcp_v4_connect"), // biome-ignore format: one row
  typed("BPF LSM", "5.7", "no runtime enforcement on files and processes", { type: ProgramType.LSM, expectedAttachType: ATTACH.LSM_MAC }, BtfKind.FUNC, "bpf_lsm_file_open"), // biome-ignore format: one row
  {
    name: "kprobes",
    since: "4.1",
    how: "open one on tcp_v4_connect",
    cost: "no tracing of kernel functions on kernels without fentry",
    attempt: openKprobe,
  },
  link("netkit", "6.7", "veth pairs are used: a little slower"),
  link("vxlan", "3.7", "no overlay between nodes"),
  link("wireguard", "5.6", "no encryption between nodes by WireGuard"),
];

function hook(
  name: string,
  since: string,
  cost: string,
  raw: RawProgram,
  target: (bench: Bench) => AttachTarget,
): Trial {
  const attempt = ({ netns, ifindex }: Bench) =>
    withProgram(raw, (program) => {
      const attached = attach(program, target({ netns, ifindex }));
      if (target({ netns, ifindex }).kind === "clsact") attached.detach();
      attached.close();
    });
  return { name, since, cost, how: "attach a program to a veth interface", attempt };
}

function helper(name: string, since: string, cost: string, id: number): Trial {
  const attempt = () => need(hasHelper(ProgramType.SCHED_CLS, id), "the verifier doesn't know the call");
  return { name, since, cost, how: "have the verifier judge a call of it", attempt };
}

function map(name: string, since: string, cost: string, spec: Parameters<typeof withMap>[0]): Trial {
  return { name, since, cost, how: "make a map", attempt: () => withMap(spec, () => undefined) };
}

function link(type: string, since: string, cost: string): Trial {
  const attempt = ({ netns }: Bench) =>
    need(supportsLinkType(netns, type), "the kernel doesn't know this type of interface");
  return { name: `${type} interfaces`, since, cost, how: "make one in a namespace", attempt };
}

/** A program on something that the kernel describes by type. */
function typed(name: string, since: string, cost: string, raw: RawProgram, kind: number, target: string): Trial {
  const attempt = () => {
    const attachTypeId = findKernelType(kind, target);
    if (attachTypeId === undefined) throw new Error(`the kernel has no ${target}`);
    withProgram({ ...raw, attachTypeId }, (program) => attach(program, { kind: "rawTracepoint", name: "" }).close());
  };
  return { name, since, cost, how: `attach a program to ${target}`, attempt };
}

function need(condition: unknown, otherwise: string): void {
  if (!condition) throw new Error(otherwise);
}

function withProgram(raw: RawProgram, use: (program: BpfProgram & { readonly fd: number }) => void): void {
  const program = loadRawProgram(raw);
  try {
    use(program);
  } finally {
    program.close();
  }
}

function withMap(
  spec: { type: MapType; keySize?: number; valueSize?: number; maxEntries?: number; flags?: number },
  use: (map: RealMap) => void,
): void {
  const made = RealMap.create({ name: "probe", keySize: 4, valueSize: 8, maxEntries: 4, flags: 0, ...spec });
  try {
    use(made);
  } finally {
    made.close();
  }
}

function makeBench(name: string): Bench {
  networkNamespaces.delete(name);
  const netns = networkNamespaces.create(name);
  try {
    const netlink = openNetlink(netns);
    try {
      netlink.apply([{ kind: "createVeth", link: { name: "probe0" }, peer: { name: "probe1" } }]);
      return { netns, ifindex: netlink.link("probe0")!.index };
    } finally {
      netlink.close();
    }
  } catch (error) {
    netns.close();
    networkNamespaces.delete(name);
    throw error;
  }
}

/** A group of our own, below wherever cgroup2 is mounted; on hybrid systems that is not /sys/fs/cgroup. */
function withCgroup(use: (path: string) => void): void {
  const mount = readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" "))
    .find(([, , type]) => type === "cgroup2")?.[1];
  if (mount === undefined) throw new Error("no cgroup2 file system is mounted");
  const path = `${mount}/tsilium-probe-${process.pid}`;
  mkdirSync(path, { recursive: true });
  try {
    use(path);
  } finally {
    rmdirSync(path);
  }
}

function openKprobe(): void {
  const type = "/sys/bus/event_source/devices/kprobe/type";
  if (!existsSync(type)) throw new Error("the kernel was built without kprobes");
  const name = cString("tcp_v4_connect");
  const attr = struct(112, [[0, "u32", Number(readFileSync(type, "utf8"))], [4, "u32", 112], [56, "pointer", name]]); // biome-ignore format: one struct
  libc.close(checked(Number(libc.syscall5(syscallNumber("perfEventOpen"), attr, -1, 0, -1, 8)), "open a kprobe"));
}
