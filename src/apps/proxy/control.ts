/** The proxy's end of `proxy.sock`: one agent at a time changes the state, and gets the records. */

import { chmodSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import {
  createLineReader,
  formatMessage,
  formatRecordBatch,
  type ListenerAddress,
  type ProxyMessage,
  type ProxyStatus,
  parseAgentMessage,
  proxyProtocolVersion,
} from "#contracts/proxy";
import { errorMessage, type Logger, TsiliumError } from "#core/runtime";
import type { AccessLog, Listener } from "#proxy/listener";
import type { PolicyStore } from "#proxy/policy";

/** What the control server serves. */
export interface ControlOptions {
  /** Path of the socket; a leftover of a dead proxy is replaced. */
  readonly path: string;
  readonly policy: PolicyStore;
  readonly listener: Listener;
  readonly log: AccessLog;
  readonly listeners: readonly ListenerAddress[];
  readonly logger: Logger;
}

/** A serving control socket. */
export interface Control {
  /** Sends the records that wait, ends the session, removes the socket. */
  close(): Promise<void>;
}

/** Records go out in batches: this often, */
const flushMs = 25;
/** this many at a time, */
const batchEntries = 1024;
/** and not while the agent has this much to read already. */
const backlogBytes = 4 * 1024 * 1024;

/** Serves the control socket; throws CONTROL_SOCKET_FAILED if it can't be opened. */
export async function serveControl(options: ControlOptions): Promise<Control> {
  const { path, logger } = options;
  const startedAtMs = Date.now();
  let session: Socket | undefined;
  rmSync(path, { force: true });

  const server: Server = createServer((socket) => {
    socket.on("error", (error) => logger.debug({ error: errorMessage(error) }, "control connection failed"));
    if (session !== undefined) {
      socket.end(formatMessage({ kind: "refused", message: "another agent is connected to this proxy" }));
      return;
    }
    session = socket;
    socket.on("close", () => {
      session = undefined;
      logger.info({ revision: options.policy.revision }, "agent gone; the state stays in force");
    });
    logger.info({}, "agent connected");
    const { revision } = options.policy;
    const welcome: ProxyMessage = {
      kind: "welcome",
      protocol: proxyProtocolVersion,
      pid: process.pid,
      startedAtMs,
      listeners: options.listeners,
      ...(revision !== undefined && { revision }),
    };
    socket.write(formatMessage(welcome));
    serveSession(socket, options);
  });

  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause) =>
      reject(
        new TsiliumError("CONTROL_SOCKET_FAILED", `the proxy's control socket ${path} could not be opened`, { cause }),
      ),
    );
    server.listen(path, resolve);
  });
  // Whoever can write here decides what passes.
  chmodSync(path, 0o600);

  const flush = () => {
    while (session !== undefined && session.writableLength < backlogBytes) {
      const { entries, lost } = options.log.take(batchEntries);
      if (entries.length === 0 && lost === 0) return;
      session.write(formatRecordBatch(entries, lost));
    }
  };
  const flusher = setInterval(flush, flushMs);

  return {
    async close() {
      clearInterval(flusher);
      flush();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      session?.end();
      // An agent that doesn't read holds nothing up.
      setTimeout(() => session?.destroy(), 500).unref();
      await closed;
    },
  };
}

function serveSession(socket: Socket, { policy, listener, log, logger }: ControlOptions): void {
  const session = policy.session();
  const lines = createLineReader();
  const send = (message: ProxyMessage) => socket.write(formatMessage(message));
  const give = (line: string): boolean => {
    const message = parseAgentMessage(line);
    if (typeof message === "string") {
      logger.error({ problem: message }, "the agent sent what is no message");
      return false;
    }
    switch (message.kind) {
      case "commit": {
        const { revision } = message;
        const problems = session.commit(revision);
        if (problems.length > 0) logger.warn({ revision, problems }, "a commit was refused");
        send(problems.length === 0 ? { kind: "ack", revision } : { kind: "nack", revision, problems });
        return true;
      }
      case "get-status":
        send({ kind: "status", status: statusOf(policy, listener, log) });
        return true;
      default:
        session.stage(message);
        return true;
    }
  };
  socket.on("data", (bytes: Buffer) => {
    const complete = lines.feed(bytes);
    // What can't be understood may have been a deny: the agent has to start over, the old state stays.
    if (complete === undefined || !complete.every(give)) socket.destroy();
  });
}

function statusOf(policy: PolicyStore, listener: Listener, log: AccessLog): ProxyStatus {
  const { revision } = policy;
  return {
    ...(revision !== undefined && { revision }),
    ...listener.status(),
    ...policy.sizes,
    recordsLostTotal: log.lostTotal,
    rssBytes: process.memoryUsage.rss(),
  };
}
