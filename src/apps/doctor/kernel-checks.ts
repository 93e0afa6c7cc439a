/** Kernel features, tried through the kernel door: load and see, attach and see. Everything made here vanishes with its last holder. */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { ensureBpffs, type Kernel, MapType, type NetworkNamespace, NO_PREALLOC } from "#datapath/linux";
import type { Check } from "./finding.ts";

/** The compiled objects, three folders up both in a checkout and in the npm package. */
const objects = resolve(import.meta.dirname, "../../../build/bpf");
const base = { asRoot: true, required: true } as const;

/** Checks of BPF: what the verifier takes, which maps there are, where programs can be attached. */
export function kernelChecks(kernel: Kernel): readonly Check[] {
  const loads = (name: string) => () => {
    kernel.bpf.loadObject(join(objects, "probe.bpf.o"), { programs: [name] }).close();
    return undefined;
  };
  const makesMap = (type: MapType, flags = 0) => () => {
    const keyed = type !== MapType.RINGBUF;
    const keySize = keyed ? (type === MapType.LPM_TRIE ? 8 : 4) : 0;
    const maxEntries = keyed ? 4 : 4096;
    kernel.bpf.createMap({ name: "doctor", type, keySize, valueSize: keyed ? 8 : 0, maxEntries, flags }).close();
    return undefined;
  };
  const program = (name: string, since: string, title: string, cost: string): Check => ({
    ...base,
    name: title,
    group: "kernel",
    since,
    how: `load program ${name}`,
    cost,
    attempt: loads(name),
  });
  const map = (name: keyof typeof MapType, since: string, cost: string, flags?: number): Check => ({
    ...base,
    name: `${name} maps`,
    group: "kernel",
    since,
    how: "make one",
    cost,
    attempt: makesMap(MapType[name], flags),
  });
  const enforce = "no enforcement: tsilium does not start";
  return [
    program("tc_program", "4.1", "tc programs", enforce),
    program("bounded_loop", "5.3", "bounded loops", enforce),
    program("socket_lookup", "5.2", "socket lookup", "HTTP rules can't be enforced, and the datapath does not load"),
    program("socket_assign", "5.7", "redirect to the proxy", "HTTP rules can't be enforced, and the datapath does not load"),
    program("ring_buffer", "5.8", "ring buffer", "no flows: nobody could see what is dropped; the datapath does not load"),
    program("redirect_peer", "5.10", "redirect to a peer", "packets between workloads would pass the host's stack; the datapath does not load"),
    program("coarse_clock", "5.11", "coarse clock", "connections could not age cheaply; the datapath does not load"),
    map("LPM_TRIE", "4.11", enforce, NO_PREALLOC),
    map("LRU_HASH", "4.10", "no connection tracking: tsilium does not start"),
    map("PERCPU_ARRAY", "4.6", "no counters: tsilium does not start"),
    map("RINGBUF", "5.8", "no flows: tsilium does not start"),
    {
      ...base,
      name: "the datapath",
      group: "kernel",
      how: "load endpoint.bpf.o and network.bpf.o as they are",
      cost: enforce,
      attempt: () => {
        const started = performance.now();
        for (const name of ["endpoint.bpf.o", "network.bpf.o"]) kernel.bpf.loadObject(join(objects, name)).close();
        return `accepted by the verifier in ${Math.round(performance.now() - started)} ms`;
      },
    },
    {
      ...base,
      name: "BPF file system",
      group: "kernel",
      since: "4.4",
      how: "mount it at /sys/fs/bpf if nobody has",
      cost: "enforcement could not outlive the agent: tsilium does not start",
      attempt: () => {
        ensureBpffs();
        return "/sys/fs/bpf";
      },
    },
    {
      ...base,
      required: false,
      name: "type information (BTF)",
      group: "kernel",
      since: "5.2",
      how: "look for /sys/kernel/btf/vmlinux",
      cost: "maps and programs are anonymous in bpftool; nothing else",
      asRoot: false,
      attempt: () => {
        if (!existsSync("/sys/kernel/btf/vmlinux")) throw new Error("the kernel was built without it");
        return undefined;
      },
    },
  ];
}

/** Checks of networking, each inside a network namespace made for it: nothing of the host is touched. */
export function networkChecks(kernel: Kernel): readonly Check[] {
  const inNamespace = (use: (namespace: NetworkNamespace) => string | undefined) => () => {
    const name = `tsilium-doctor-${process.pid}`;
    kernel.netns.delete(name);
    const namespace = kernel.netns.create(name);
    try {
      return use(namespace);
    } finally {
      namespace.close();
      kernel.netns.delete(name);
    }
  };
  const withVeth = (use: (namespace: NetworkNamespace, ifindex: number) => string | undefined) =>
    inNamespace((namespace) => {
      const netlink = kernel.netlink(namespace);
      try {
        netlink.apply([{ kind: "createVeth", link: { name: "doctor0" }, peer: { name: "doctor1" } }]);
        return use(namespace, netlink.link("doctor0")!.index);
      } finally {
        netlink.close();
      }
    });
  const attaches = (kind: "tcx" | "clsact") =>
    withVeth((netns, ifindex) => {
      const loaded = kernel.bpf.loadObject(join(objects, "probe.bpf.o"), { programs: ["tc_program"] });
      try {
        kernel.bpf.attach(loaded.programs.tc_program!, { kind, ifindex, direction: "ingress", netns }).close();
        return undefined;
      } finally {
        loaded.close();
      }
    });
  const network = { ...base, group: "network" } as const;
  return [
    {
      ...network,
      name: "network namespaces",
      how: "make one",
      cost: "no workloads: tsilium does not start",
      attempt: inNamespace(() => undefined),
    },
    {
      ...network,
      name: "veth pairs",
      how: "make one in a namespace",
      cost: "no workloads: tsilium does not start",
      attempt: withVeth(() => undefined),
    },
    {
      ...network,
      required: false,
      name: "TCX links",
      since: "6.6",
      how: "attach to a veth",
      cost: "tc filters are used instead: a program of somebody else can get in before ours unnoticed, and can remove ours",
      attempt: attaches("tcx"),
    },
    {
      ...network,
      required: false,
      name: "tc filters (clsact)",
      since: "4.5",
      how: "attach to a veth",
      cost: "nothing where TCX links work; without both, tsilium does not start",
      attempt: attaches("clsact"),
    },
    {
      ...network,
      name: "routing by mark",
      how: "add a rule for IPv4 and one for IPv6 in a namespace",
      cost: "connections can't be led to the proxy: HTTP rules drop everything they should judge",
      attempt: inNamespace((namespace) => {
        const netlink = kernel.netlink(namespace);
        try {
          for (const family of [4, 6] as const) {
            netlink.apply([
              { kind: "ensureRule", rule: { family, mark: 0x200, mask: 0xf00, table: 2004, priority: 9 } },
            ]);
          }
          return undefined;
        } finally {
          netlink.close();
        }
      }),
    },
    {
      ...network,
      required: false,
      name: "IPv6",
      how: "look for its settings in a namespace",
      cost: "workloads get IPv4 addresses only",
      attempt: inNamespace((namespace) => {
        if (namespace.readSysctl("net.ipv6.conf.all.disable_ipv6").trim() === "1") throw new Error("switched off");
        return undefined;
      }),
    },
  ];
}
