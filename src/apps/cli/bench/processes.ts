/** Processes in workloads whose output is read, not shown. */
import type { Workload } from "#contracts/agent";
import { TsiliumError } from "#core/runtime";
import { start } from "../run/command.ts";

/** A process in a workload. */
export interface Inside {
  /** Resolves when it has printed its first line, or runs this long; rejects with its last words if it ends before. */
  ready(afterMs: number): Promise<void>;
  /** Resolves with all that it printed when it ends well. */
  output(): Promise<string>;
  end(): void;
}

/** Starts a command in a workload. */
export function startInside(workload: Workload, command: readonly string[]): Inside {
  const child = start(workload, command, {}, { stdio: ["ignore", "pipe", "pipe"], detached: false });
  let printed = "";
  let said = "";
  child.stdout?.on("data", (part) => (printed += part));
  child.stderr?.on("data", (part) => (said += part));
  const failed = (code: number | null) =>
    new TsiliumError("BENCH_FAILED", `${command[0]} ended with ${code}: ${said.trim() || printed.trim()}`);
  const ended = new Promise<string>((resolve, reject) => {
    child.once("error", (cause) => reject(new TsiliumError("BENCH_FAILED", `can't start ${command[0]}`, { cause })));
    child.once("close", (code) => (code === 0 ? resolve(printed) : reject(failed(code))));
  });
  // Whoever waits hears of it; a server that is ended at last interests nobody.
  ended.catch(() => undefined);
  return {
    ready: (afterMs) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(resolve, afterMs);
        child.stdout?.once("data", () => {
          clearTimeout(timer);
          resolve();
        });
        child.once("close", (code) => reject(failed(code)));
      }),
    output: () => ended,
    end: () => void child.kill("SIGTERM"),
  };
}
