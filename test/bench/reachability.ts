/** When a workload became reachable or unreachable, seen by an endless row of real connects. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { loadGenerator } from "./routed-pair.ts";

/** A change between open and closed. */
interface Change {
  readonly open: boolean;
  /** When the first connect with this result began: nanoseconds of the monotonic clock. */
  readonly atNs: number;
}

/** Watches from inside one network namespace. */
export interface ReachabilityWatch {
  /** The next change to that state that began after a moment; rejects after 10 s. */
  change(open: boolean, afterNs: number): Promise<Change>;
  close(): void;
}

/** Starts to connect: about three times in a millisecond, to each address in turn. Closed means that none answers. */
export function watchReachability(netns: string, addresses: readonly string[], port: number): ReachabilityWatch {
  const child = spawn(
    "nsenter",
    [`--net=/run/netns/${netns}`, loadGenerator(), "watch", addresses.join(","), String(port)],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const seen: Change[] = [];
  let wake: () => void = () => undefined;
  createInterface({ input: child.stdout }).on("line", (line) => {
    seen.push(JSON.parse(line) as Change);
    wake();
  });
  return {
    async change(open, afterNs) {
      const deadline = Date.now() + 10_000;
      for (;;) {
        const found = seen.find((change) => change.open === open && change.atNs > afterNs);
        if (found) return found;
        const leftMs = deadline - Date.now();
        if (leftMs <= 0) throw new Error(`${addresses.join(", ")} did not become ${open ? "open" : "closed"}`);
        await new Promise<void>((resolve) => {
          wake = resolve;
          setTimeout(resolve, leftMs).unref();
        });
      }
    },
    close: () => void child.kill("SIGKILL"),
  };
}
