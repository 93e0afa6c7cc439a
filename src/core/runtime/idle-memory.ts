/** Memory that a burst of work took is given back when the work is over: Node by itself collects only while it allocates. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { type Clock, systemClock } from "./clock.ts";

/** What the watch looks at, and what it does. */
export interface IdleMemorySources {
  readonly clock: Clock;
  /** CPU time of the process so far, in milliseconds. */
  readonly cpuMs: () => number;
  /** Memory that the heap holds, in use or not, in bytes. */
  readonly heapBytes: () => number;
  /** Collects all garbage and returns free memory to the system. */
  readonly collect: () => void;
}

const intervalMs = 2000;
/** Below this share of one CPU the process rests: polling and timers take less. */
const restingShare = 0.05;
/** A collection stops the process for 10 to 100 ms: not for less memory than this. */
const worthwhileBytes = 4 << 20;

/**
 * Collects once each time the process comes to rest, if its heap has grown since the last time. Never while it works, and
 * never twice for nothing. Returns what ends the watch; it doesn't keep the process alive.
 */
export function returnIdleMemory(sources: IdleMemorySources = processMemory()): () => void {
  const { clock, cpuMs, heapBytes, collect } = sources;
  let [cpu, since] = [cpuMs(), clock.monotonicMs()];
  let kept = 0;
  const look = () => {
    timer = clock.after(intervalMs, look);
    const [cpuNow, now] = [cpuMs(), clock.monotonicMs()];
    const share = (cpuNow - cpu) / (now - since);
    [cpu, since] = [cpuNow, now];
    if (share > restingShare || heapBytes() - kept < worthwhileBytes) return;
    collect();
    kept = heapBytes();
    // The collection is no work.
    cpu = cpuMs();
  };
  let timer = clock.after(intervalMs, look);
  return () => timer.cancel();
}

function processMemory(): IdleMemorySources {
  let collector: ((options: object) => void) | undefined;
  return {
    clock: systemClock,
    cpuMs: () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1000;
    },
    heapBytes: () => process.memoryUsage().heapTotal,
    collect() {
      if (!collector) {
        // The flag makes the function appear in contexts that are made from then on.
        setFlagsFromString("--expose-gc");
        collector = runInNewContext("gc") as (options: object) => void;
      }
      collector({ type: "major", execution: "sync", flavor: "last-resort" });
    },
  };
}
