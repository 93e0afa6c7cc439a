/**
 * Starts a command inside a workload and stands in for it: its signals go through, its exit code comes back.
 * On the fast path: loads nothing but what it needs.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, closeSync, constants, openSync, type Stats, statSync } from "node:fs";
import { constants as osConstants } from "node:os";
import { join } from "node:path";
import type { Workload } from "#contracts/agent";
import { errorCode, TsiliumError } from "#core/runtime";
import { ExitCode } from "../exit-codes.ts";

/** How the command is started. */
export interface CommandOptions {
  readonly command: readonly string[];
  /** Added to our own environment. */
  readonly env: Readonly<Record<string, string>>;
}

/**
 * The shell joins the workload's cgroup, then becomes the command: `exec` twice, so the pid stays the same all the way.
 * `ip netns exec` also gives the command the workload's resolv.conf.
 */
const enter = 'echo $$ >"$1" || exit 125; shift; exec ip netns exec "$0" "$@"';

/**
 * Fails with COMMAND_NOT_FOUND or COMMAND_NOT_EXECUTABLE before anything is made for the command. Looks it up as execvp would:
 * through PATH unless the name holds a slash.
 */
export function checkCommand(name: string, path = process.env.PATH ?? "/usr/sbin:/usr/bin:/sbin:/bin"): void {
  const candidates = name.includes("/") ? [name] : path.split(":").map((directory) => join(directory || ".", name));
  let found = false;
  for (const candidate of candidates) {
    const stat = statIfReachable(candidate);
    if (stat === undefined) continue;
    found = true;
    if (stat.isFile() && isExecutable(candidate)) return;
  }
  if (found) throw new TsiliumError("COMMAND_NOT_EXECUTABLE", `${name} is not an executable file`);
  throw new TsiliumError(
    "COMMAND_NOT_FOUND",
    name.includes("/") ? `${name} does not exist` : `no command ${name} is found in ${path}`,
  );
}

/** Undefined for what is not there, and for what lies in a folder that this user may not enter: execvp goes on then, too. */
function statIfReachable(file: string): Stats | undefined {
  try {
    return statSync(file, { throwIfNoEntry: false });
  } catch (error) {
    if (["EACCES", "ENOTDIR", "ELOOP"].includes(errorCode(error) ?? "")) return undefined;
    throw error;
  }
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false; // the answer, not a failure
  }
}

/** Runs the command in the foreground; resolves with its exit code, 128+n if signal n ended it. */
export function runInForeground(workload: Workload, { command, env }: CommandOptions): Promise<number> {
  // On a terminal the command shares our process group, so that job control works and Ctrl-C reaches it by itself.
  // Without one it leads its own, so that a signal to our group does not reach it twice: we pass each on once.
  const onTerminal = process.stdin.isTTY === true;
  const child = start(workload, command, env, { stdio: "inherit", detached: !onTerminal });
  const passed = ["SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGCONT", "SIGINT", "SIGQUIT", "SIGWINCH"] as const;
  const sentByTerminal = new Set<NodeJS.Signals>(["SIGINT", "SIGQUIT", "SIGWINCH", "SIGCONT"]);
  const handlers = passed.map((signal) => {
    const pass = () => {
      if (!(onTerminal && sentByTerminal.has(signal))) child.kill(signal);
    };
    process.on(signal, pass);
    return () => process.off(signal, pass);
  });
  return new Promise<number>((resolve, reject) => {
    child.once("error", (cause) =>
      reject(new TsiliumError("RUN_FAILED", `can't start ${command[0]}: ${cause.message}`, { cause })),
    );
    child.once("exit", (code, signal) => resolve(signal === null ? (code ?? 0) : 128 + osConstants.signals[signal]));
  }).finally(() => {
    for (const remove of handlers) remove();
  });
}

/** Starts the command in the background with its output in a file; yields its pid. */
export async function runInBackground(
  workload: Workload,
  { command, env }: CommandOptions,
  logFile: string,
): Promise<number> {
  const log = openSync(logFile, "w", 0o600);
  try {
    const child = start(workload, command, env, { stdio: ["ignore", log, log], detached: true });
    await new Promise<void>((resolve, reject) => {
      child.once("spawn", resolve);
      child.once("error", (cause) =>
        reject(new TsiliumError("RUN_FAILED", `can't start ${command[0]}: ${cause.message}`, { cause })),
      );
    });
    child.unref();
    return child.pid!;
  } finally {
    closeSync(log);
  }
}

/** Starts a command in the workload; what becomes of its output and its end is the caller's. */
export function start(
  workload: Workload,
  command: readonly string[],
  extra: Readonly<Record<string, string>>,
  options: { readonly stdio: "inherit" | ["ignore", number | "pipe", number | "pipe"]; readonly detached: boolean },
): ChildProcess {
  const env: NodeJS.ProcessEnv = { ...process.env, ...extra };
  return spawn("sh", ["-c", enter, workload.netnsName, workload.cgroupProcsPath, ...command], { ...options, env });
}

/** The exit code for a failure before the command ran: 126 and 127 as shells have it, else 125. */
export function exitCodeBeforeCommand(errorCode: string | undefined): number {
  if (errorCode === "COMMAND_NOT_FOUND") return ExitCode.commandNotFound;
  if (errorCode === "COMMAND_NOT_EXECUTABLE") return ExitCode.cannotExecute;
  return ExitCode.runFailed;
}
