/** One program under supervision: started, watched, started again with back-off when it dies. */
import { type ChildProcess, spawn } from "node:child_process";
import { constants as osConstants } from "node:os";
import { createInterface } from "node:readline";
import { errorMessage, TsiliumError } from "#core/runtime";

/** How a supervised program is started. */
export interface ChildOptions {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** Within which it must say that it is ready. */
  readonly readyTimeoutMs: number;
  /** First pause before a restart; doubles up to `maxPauseMs`, and begins anew after a minute of life. */
  readonly firstPauseMs: number;
  readonly maxPauseMs: number;
  /** Each line it logs. */
  onLog(name: string, line: string): void;
  /** It ended by itself with exit code 0: somebody told it to. It is not started again. */
  onEnd(name: string): void;
  /** It died: how, and after how many milliseconds it will be started again. */
  onDeath(name: string, how: string, restartInMs: number): void;
  /** It is ready again after a death. */
  onRecovered(name: string, ready: ReadyLine): void;
}

/** What a program says on stdout when it serves: one JSON line with `"ready": true` and facts of its own. */
interface ReadyLine {
  readonly ready: true;
  readonly [fact: string]: unknown;
}

/** A supervised program. */
export interface Child {
  readonly name: string;
  /** Of the process that runs now; undefined between a death and the restart. */
  readonly pid: number | undefined;
  /** Starts it for the first time; rejects with the program's own error if it ends before it is ready. It is not started again then. */
  start(): Promise<ReadyLine>;
  /** Ends it for good: SIGTERM, and SIGKILL after `graceMs`. Resolves when it is gone. */
  stop(graceMs: number): Promise<void>;
  /** No restart from now on; resolves when the process has ended by itself or after `withinMs`: true if it is gone. */
  expectEnd(withinMs: number): Promise<boolean>;
}

/** How a process ended. */
interface End {
  readonly how: string;
  readonly orderly: boolean;
  readonly wasReady: boolean;
}

const longLifeMs = 60_000;
const keptLines = 20;
/** Exit code of all our programs for a wrong command line. */
const wrongArguments = 2;

/** Makes a supervised program; nothing runs until `start`. */
export function createChild(options: ChildOptions): Child {
  let process: ChildProcess | undefined;
  let ended: Promise<void> = Promise.resolve();
  let stopping = false;
  let pauseMs = options.firstPauseMs;
  let restart: NodeJS.Timeout | undefined;

  /** Starts once; the promise settles when it is ready, has died or has used up its time. */
  function launch(onEnd: (end: End) => void): Promise<ReadyLine> {
    const lastLines: string[] = [];
    // What it says before it is ready is shown once it is; if it never is, its error says it all.
    let held: string[] | undefined = [];
    const log = (line: string): void => {
      if (held !== undefined) held.push(line);
      else options.onLog(options.name, line);
    };
    // In a session of its own: Ctrl-C is for the supervisor, which ends its programs in order.
    const child = spawn(options.command, options.args, {
      env: options.env,
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    process = child;
    let wasReady = false;
    const ready = new Promise<ReadyLine>((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(
          new TsiliumError(
            "CHILD_NOT_READY",
            `the ${options.name} has not become ready within ${options.readyTimeoutMs / 1000} s; its last words:\n${lastLines.join("\n")}`,
          ),
        );
        child.kill("SIGKILL");
      }, options.readyTimeoutMs);
      createInterface({ input: child.stdout }).on("line", (line) => {
        const said = parseReady(line);
        if (said === undefined) return log(line);
        clearTimeout(timer);
        wasReady = true;
        for (const one of held ?? []) options.onLog(options.name, one);
        held = undefined;
        resolve(said);
      });
      createInterface({ input: child.stderr }).on("line", (line) => {
        lastLines.push(line);
        if (lastLines.length > keptLines) lastLines.shift();
        log(line);
      });
      ended = new Promise((resolveEnded) => {
        const end = (how: string, orderly: boolean, error: TsiliumError): void => {
          clearTimeout(timer);
          if (process === child) process = undefined;
          reject(error); // without effect once it was ready
          resolveEnded();
          onEnd({ how, orderly, wasReady });
        };
        child.once("error", (cause) =>
          end(
            "could not be started",
            false,
            new TsiliumError("CHILD_FAILED", `can't start ${options.command} (${cause.message})`, { cause }),
          ),
        );
        // "close", not "exit": what it wrote last has been read by then.
        child.once("close", (code, signal) => {
          const how = signal === null ? `ended with exit code ${code}` : `was killed by ${signal}`;
          end(how, code === 0, lastError(options.name, how, lastLines, code, signal));
        });
      });
    });
    return ready;
  }

  function watch(startedAt: number): (end: End) => void {
    return ({ how, orderly }) => {
      if (stopping) return;
      if (orderly) return options.onEnd(options.name);
      if (performance.now() - startedAt > longLifeMs) pauseMs = options.firstPauseMs;
      options.onDeath(options.name, how, pauseMs);
      restart = setTimeout(() => {
        launch(watch(performance.now())).then(
          (ready) => options.onRecovered(options.name, ready),
          (error: unknown) => options.onLog(options.name, errorMessage(error)), // the next attempt is on its way
        );
      }, pauseMs);
      pauseMs = Math.min(options.maxPauseMs, pauseMs * 2);
    };
  }

  return {
    name: options.name,
    get pid() {
      return process?.pid;
    },
    start() {
      const startedAt = performance.now();
      return launch((end) => {
        if (end.wasReady) watch(startedAt)(end);
      });
    },
    async stop(graceMs) {
      stopping = true;
      clearTimeout(restart);
      if (process === undefined) return;
      process.kill("SIGTERM");
      const hard = setTimeout(() => process?.kill("SIGKILL"), graceMs);
      await ended;
      clearTimeout(hard);
    },
    async expectEnd(withinMs) {
      stopping = true;
      clearTimeout(restart);
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, withinMs);
      });
      await Promise.race([ended, late]);
      clearTimeout(timer);
      return process === undefined;
    },
  };
}

function parseReady(line: string): ReadyLine | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    const value = JSON.parse(line) as Readonly<Record<string, unknown>>;
    return value.ready === true ? (value as ReadyLine) : undefined;
  } catch {
    return undefined; // some other line that begins with a brace
  }
}

/** The error with which a program ended: its own, if its last log line of level "error" names a code. */
function lastError(
  name: string,
  how: string,
  lines: readonly string[],
  code: number | null,
  signal: NodeJS.Signals | null,
): TsiliumError {
  const details = { exitCode: code ?? 128 + osConstants.signals[signal ?? "SIGKILL"] };
  // Arguments are read before there is a log; the first line says what is wrong with them, usage may follow.
  if (code === wrongArguments && lines[0] !== undefined) return new TsiliumError("BAD_ARGUMENT", lines[0], { details });
  for (const line of lines.toReversed()) {
    if (!line.startsWith("{")) continue;
    try {
      const entry = JSON.parse(line) as Readonly<Record<string, unknown>>;
      if (typeof entry.code === "string" && typeof entry.msg === "string") {
        const message = typeof entry.error === "string" ? entry.error : entry.msg;
        return new TsiliumError(entry.code, message, { details });
      }
    } catch {
      // not a log line; the next one may be
    }
  }
  const words = lines.length === 0 ? "" : `; its last words:\n${lines.join("\n")}`;
  return new TsiliumError("CHILD_FAILED", `the ${name} ${how}${words}`, { details });
}
