/** What the machine around the kernel has: programs, limits, settings. Read only. */
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { release } from "node:os";
import { delimiter, join } from "node:path";
import type { Check } from "./finding.ts";

const read = (path: string): string | undefined => (existsSync(path) ? readFileSync(path, "utf8").trim() : undefined);

function tool(name: string, required: boolean, how: string, cost: string): Check {
  return {
    name,
    group: "machine",
    required,
    asRoot: false,
    how,
    cost,
    attempt: () => {
      const path = `${process.env.PATH ?? ""}${delimiter}/usr/sbin${delimiter}/sbin`;
      for (const directory of path.split(delimiter)) {
        const file = join(directory, name);
        if (!existsSync(file)) continue;
        accessSync(file, constants.X_OK);
        return file;
      }
      throw new Error("not found in PATH");
    },
  };
}

/** Programs and mounts. */
export const machineChecks: readonly Check[] = [
  {
    name: "Linux",
    group: "machine",
    required: true,
    asRoot: false,
    since: "5.11",
    how: "ask for its release",
    cost: "the datapath does not load",
    attempt: () => {
      const [major = 0, minor = 0] = release().split(".").map(Number);
      if (major < 5 || (major === 5 && minor < 11)) throw new Error(`this is ${release()}`);
      return release();
    },
  },
  {
    name: "Node.js",
    group: "machine",
    required: true,
    asRoot: false,
    how: "ask for its version",
    cost: "tsilium does not start",
    attempt: () => {
      if (Number(process.versions.node.split(".")[0]) < 24)
        throw new Error(`this is ${process.versions.node}, 24 is needed`);
      return process.versions.node;
    },
  },
  tool("ip", true, "look for it", "`tsilium run` can't enter a workload; install iproute2"),
  tool("setpriv", true, "look for it", "`tsilium up` can't bind its programs to itself; install util-linux"),
  tool("clang", false, "look for it", "only a checkout needs it, to compile the datapath; at run time nobody does"),
];

/** Settings and limits that cost something when they stand wrong. */
export const limitChecks: readonly Check[] = [
  {
    name: "BPF just-in-time compiler",
    group: "limits",
    required: false,
    asRoot: false,
    how: "read net.core.bpf_jit_enable",
    cost: "programs are interpreted: several times the time per packet",
    attempt: () => {
      const value = read("/proc/sys/net/core/bpf_jit_enable");
      if (value === "0") throw new Error("switched off");
      return value === undefined ? "always on in this kernel" : `net.core.bpf_jit_enable = ${value}`;
    },
  },
  {
    name: "BPF for root only",
    group: "limits",
    required: false,
    asRoot: false,
    how: "read kernel.unprivileged_bpf_disabled",
    cost: "any user may load programs: no loss for tsilium, a risk for the machine",
    attempt: () => {
      const value = read("/proc/sys/kernel/unprivileged_bpf_disabled");
      if (value === "0") throw new Error("any user may load programs");
      return value === undefined ? "not settable in this kernel" : `kernel.unprivileged_bpf_disabled = ${value}`;
    },
  },
  {
    name: "open files",
    group: "limits",
    required: false,
    asRoot: false,
    how: "read the limit of this process",
    cost: "the proxy serves at most half as many connections as files may be open",
    attempt: () => {
      const line = /^Max open files\s+(\d+|unlimited)\s+(\d+|unlimited)/m.exec(
        readFileSync("/proc/self/limits", "utf8"),
      );
      const hard = line?.[2] ?? "unknown";
      if (hard !== "unlimited" && Number(hard) < 65_536) throw new Error(`at most ${hard}`);
      return `at most ${hard}`;
    },
  },
  {
    name: "memory",
    group: "limits",
    required: false,
    asRoot: false,
    how: "read /proc/meminfo",
    cost: "below 512 MB agent, proxy and API server may be killed",
    attempt: () => {
      const kilobytes = Number(/^MemAvailable:\s+(\d+)/m.exec(readFileSync("/proc/meminfo", "utf8"))?.[1] ?? 0);
      const text = `${Math.round(kilobytes / 1024)} MB available`;
      if (kilobytes < 512 * 1024) throw new Error(text);
      return text;
    },
  },
];
