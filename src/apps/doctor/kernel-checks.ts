/** What the kernel can do, tried through the kernel door. Everything made here vanishes with its last holder; nothing of the host is touched. */
import { join, resolve } from "node:path";
import { type Kernel, type NetworkNamespace, probeFeatures } from "#datapath/linux";
import { testKernelHttp } from "#datapath/selftest";
import type { Check, Finding } from "./finding.ts";

/** The compiled objects, three folders up both in a checkout and in the npm package. */
const objects = resolve(import.meta.dirname, "../../../build/bpf");

/** Features of the probe without which the base does not run, whatever else works. */
const requiredFeatures = new Set([
  "BPF system call",
  "BPF file system",
  "cgroup2",
  "sk_assign",
  "redirect_peer",
  "LRU hash",
  "ring buffer",
]);
/** Of these, one is enough. */
export const hookFeatures: ReadonlySet<string> = new Set(["TCX", "tc (clsact)"]);

/** The door's own list of features, as findings. */
export function kernelFindings(isRoot: boolean): readonly Finding[] {
  const untried = { state: "untried", detail: "only root can try it" } as const;
  return probeFeatures().map(({ works, detail, ...facts }) => ({
    ...facts,
    group: "kernel",
    required: requiredFeatures.has(facts.name),
    ...(works ? { state: "works" } : isRoot ? { state: "missing", detail } : untried),
  }));
}

/** What the door does not try by itself: our own programs, and networking inside namespaces made for it. */
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
  const network = { group: "network", asRoot: true, required: true } as const;
  return [
    {
      ...network,
      name: "the datapath",
      how: "load endpoint.bpf.o and network.bpf.o as they are",
      cost: "no enforcement: tsilium does not start",
      attempt: () => {
        const started = performance.now();
        for (const name of ["endpoint.bpf.o", "network.bpf.o"]) kernel.bpf.loadObject(join(objects, name)).close();
        return `accepted by the verifier in ${Math.round(performance.now() - started)} ms`;
      },
    },
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
      attempt: inNamespace((namespace) => {
        const netlink = kernel.netlink(namespace);
        try {
          netlink.apply([{ kind: "createVeth", link: { name: "doctor0" }, peer: { name: "doctor1" } }]);
          return undefined;
        } finally {
          netlink.close();
        }
      }),
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
      name: "HTTP rules in the kernel",
      how: "judge requests between two namespaces, and try to slip one past the judge",
      cost: "the proxy judges all HTTP requests, at half the throughput or less",
      attempt: async () => {
        const { problem, tookMs } = await testKernelHttp(kernel, objects);
        if (problem !== undefined) throw new Error(problem);
        return `in ${tookMs} ms`;
      },
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
