/** Starting the L7 proxy as a process of its own, which outlives the agent. */
import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";

/** Starts it, detached, logging to `logPath`; returns its pid. It says that it is ready by serving its control socket. */
export function startProxyProcess(logPath: string): number | undefined {
  const main = join(import.meta.dirname, import.meta.filename.endsWith(".ts") ? "../main.ts" : "../main.js");
  const log = openSync(logPath, "a", 0o600);
  try {
    const child = spawn(process.execPath, [...process.execArgv, main, "proxy"], {
      detached: true,
      stdio: ["ignore", "ignore", log],
      cwd: "/",
    });
    child.on("error", () => undefined); // no pid says it already; who waits for the socket hears of it
    child.unref();
    return child.pid;
  } finally {
    closeSync(log);
  }
}
