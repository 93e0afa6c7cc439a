/** One agent per network namespace: whoever holds the abstract socket is it. The name vanishes with its process, however that ends. */
import { createConnection, createServer } from "node:net";
import { errorCode, TsiliumError } from "#core/runtime";

const lockName = "\0tsilium-agent";

/** Takes the lock or throws AGENT_ALREADY_RUNNING, naming the holder if it answers. Returns how to let go. */
export async function takeAgentLock(instance: string): Promise<() => void> {
  const server = createServer((socket) => {
    socket.on("error", () => socket.destroy());
    socket.end(`${JSON.stringify({ pid: process.pid, instance })}\n`);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(lockName, resolve);
  }).catch(async (error: unknown) => {
    if (errorCode(error) !== "EADDRINUSE") throw error;
    const holder = await askHolder();
    const who = holder
      ? `process ${holder.pid}${holder.instance ? ` (TSILIUM_INSTANCE=${holder.instance})` : ""}`
      : "another process";
    throw new TsiliumError(
      "AGENT_ALREADY_RUNNING",
      `an agent runs in this network namespace already: ${who}. Two would undo each other's work; stop that one first (\`tsilium status\` shows it)`,
      { details: { ...holder } },
    );
  });
  server.unref();
  return () => server.close();
}

/** Who holds the lock of this network namespace; undefined if nobody does, or it does not answer. */
export function askHolder(): Promise<{ readonly pid: number; readonly instance: string } | undefined> {
  return new Promise((resolve) => {
    const socket = createConnection(lockName);
    let text = "";
    socket.setTimeout(500, () => socket.destroy());
    socket.on("data", (bytes) => {
      text += bytes.toString();
    });
    socket.on("error", () => resolve(undefined));
    socket.on("close", () => {
      const match = /"pid":([0-9]+),"instance":"([a-z0-9-]*)"/.exec(text);
      resolve(match ? { pid: Number(match[1]), instance: match[2]! } : undefined);
    });
  });
}
