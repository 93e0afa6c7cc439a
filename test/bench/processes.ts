/** Processes of a node and the memory that they take. */
import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";

/** Memory of one process in MB (1e6 bytes). */
export interface Memory {
  readonly rss: number;
  /** Its share: pages that several processes map count in parts. */
  readonly pss: number;
}

/** Programs of the node that runs in a network namespace: what `tsilium NAME` was started as -> process. */
export function programsIn(netns: string): ReadonlyMap<string, number> {
  const inode = statSync(`/run/netns/${netns}`).ino;
  const found = new Map<string, number>();
  for (const pid of readdirSync("/proc").filter((name) => /^[0-9]+$/.test(name))) {
    try {
      if (readlinkSync(`/proc/${pid}/ns/net`) !== `net:[${inode}]`) continue;
      const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      const main = words.findIndex((word) => word.endsWith("/apps/main.ts"));
      if (main >= 0) found.set(words[main + 1] ?? "", Number(pid));
    } catch {
      // It ended while we looked.
    }
  }
  return found;
}

/** Memory of a process now. */
export function memoryOf(pid: number): Memory {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const megabytes = (name: string) => (Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1]) * 1024) / 1e6;
  return { rss: megabytes("Rss"), pss: megabytes("Pss") };
}
