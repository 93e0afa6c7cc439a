/** The agent's end of the control connection: holds the desired state, brings it to the proxy, and again after either restarts. */
import { createConnection, type Socket } from "node:net";
import { type Clock, errorCode, errorMessage, systemClock, TsiliumError } from "#core/runtime";
import type { AccessLogRecord } from "./access-log.ts";
import { createLineReader } from "./lines.ts";
import {
  formatMessage,
  type MessageProblem,
  type ProxyMessage,
  type ProxyStatus,
  parseProxyMessage,
  proxyProtocolVersion,
  type StateChange,
} from "./messages.ts";
import { expandRecordBatch } from "./record-batch.ts";
import type { IpcacheEntry, PolicySet, ProxyEndpoint } from "./state.ts";

/** What `connectProxy` needs. */
export interface ProxyClientOptions {
  /** Path of `proxy.sock`. */
  readonly path: string;
  /** Records as they come; `lost` counts those that the proxy could not keep before them. */
  readonly onRecords: (records: readonly AccessLogRecord[], lost: number) => void;
  /** A session began (`welcome`) or ended (undefined, with the reason). */
  readonly onSession?: (
    welcome: Extract<ProxyMessage, { kind: "welcome" }> | undefined,
    reason: string | undefined,
  ) => void;
  /** The proxy is of a version that this agent can't talk to: only another proxy helps. Called once for each attempt. */
  readonly onIncompatible?: (pid: number, reason: string) => void;
  /** Pause before another attempt; default 100 ms, doubling up to 2 s. */
  readonly retryMs?: number;
  readonly clock?: Clock;
}

/** How a commit ended: in force at the proxy, or refused whole with all problems. */
export type ProxyCommit =
  | { readonly kind: "applied"; readonly revision: number }
  | { readonly kind: "refused"; readonly revision: number; readonly problems: readonly MessageProblem[] };

/** The connection as the agent sees it. */
export interface ProxyClient {
  /**
   * Adds the changes to the desired state and resolves when the proxy has them in force, or has refused them. A refused
   * change is taken out of the desired state again. While the proxy is away the promise stays open: the first commit of
   * the next session carries everything. Rejects with PROXY_CLIENT_CLOSED after `close()`.
   */
  commit(changes: readonly StateChange[]): Promise<ProxyCommit>;
  /** Asks a connected proxy for its numbers; undefined if it is away. */
  status(): Promise<ProxyStatus | undefined>;
  /** Whether a session stands. */
  connected(): boolean;
  close(): void;
}

interface Pending {
  readonly revision: number;
  readonly changes: readonly StateChange[];
  readonly resolve: (commit: ProxyCommit) => void;
  readonly reject: (error: Error) => void;
}

/** Opens the connection and keeps it open; returns at once. */
export function connectProxy(options: ProxyClientOptions): ProxyClient {
  return new Client(options);
}

class Client implements ProxyClient {
  readonly #options: ProxyClientOptions;
  readonly #clock: Clock;
  /** What the proxy acknowledged, by key: replayed at the start of a session. */
  readonly #sets = new Map<number, PolicySet>();
  readonly #endpoints = new Map<number, ProxyEndpoint>();
  readonly #ipcache = new Map<string, IpcacheEntry>();
  #pending: Pending[] = [];
  #statusWaiters: ((status: ProxyStatus | undefined) => void)[] = [];
  #socket: Socket | undefined;
  #welcomed = false;
  #closed = false;
  #retryMs: number;
  #revision = 0;
  #acknowledged = 0;

  constructor(options: ProxyClientOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#retryMs = options.retryMs ?? 100;
    this.#connect();
  }

  commit(changes: readonly StateChange[]): Promise<ProxyCommit> {
    if (this.#closed)
      return Promise.reject(new TsiliumError("PROXY_CLIENT_CLOSED", "the connection to the proxy was closed"));
    return new Promise((resolve, reject) => {
      const pending = { revision: ++this.#revision, changes, resolve, reject };
      this.#pending.push(pending);
      if (this.#welcomed) this.#send(pending.changes, pending.revision);
    });
  }

  status(): Promise<ProxyStatus | undefined> {
    if (!this.#welcomed || !this.#socket) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      this.#statusWaiters.push(resolve);
      this.#socket!.write(formatMessage({ kind: "get-status" }));
    });
  }

  connected(): boolean {
    return this.#welcomed;
  }

  close(): void {
    this.#closed = true;
    this.#socket?.destroy();
    for (const pending of this.#pending.splice(0))
      pending.reject(new TsiliumError("PROXY_CLIENT_CLOSED", "the connection to the proxy was closed"));
  }

  #send(changes: Iterable<StateChange>, revision: number): void {
    const socket = this.#socket!;
    socket.cork();
    for (const change of changes) socket.write(formatMessage(change));
    socket.write(formatMessage({ kind: "commit", revision }));
    socket.uncork();
  }

  #connect(): void {
    if (this.#closed) return;
    const socket = createConnection({ path: this.#options.path });
    const lines = createLineReader();
    let reason = "the proxy closed the connection";
    this.#socket = socket;
    socket.on("data", (bytes: Buffer) => {
      for (const line of lines.feed(bytes) ?? []) {
        const message = parseProxyMessage(line);
        if (typeof message === "string") {
          reason = `the proxy sent what is no message: ${message}`;
          socket.destroy();
          return;
        }
        const fault = this.#take(message);
        if (fault !== undefined) {
          reason = fault;
          socket.destroy();
          return;
        }
      }
    });
    socket.on("error", (error) => {
      reason = errorCode(error) === "ENOENT" ? `no proxy at ${this.#options.path}` : errorMessage(error);
    });
    socket.on("close", () => {
      const had = this.#welcomed;
      this.#welcomed = false;
      for (const waiter of this.#statusWaiters.splice(0)) waiter(undefined);
      if (had) this.#options.onSession?.(undefined, reason);
      if (this.#closed) return;
      this.#clock.after(this.#retryMs, () => this.#connect());
      this.#retryMs = Math.min(2000, this.#retryMs * 2);
    });
  }

  /** Handles one message; returns why the session can't go on, if so. */
  #take(message: ProxyMessage): string | undefined {
    switch (message.kind) {
      case "welcome":
        if (message.protocol !== proxyProtocolVersion) {
          const reason = `the proxy speaks protocol ${message.protocol}, this agent ${proxyProtocolVersion}: restart the proxy`;
          this.#options.onIncompatible?.(message.pid, reason);
          return reason;
        }
        this.#retryMs = this.#options.retryMs ?? 100;
        this.#welcomed = true;
        this.#options.onSession?.(message, undefined);
        this.#resync();
        return undefined;
      case "refused":
        return message.message;
      case "ack":
      case "nack":
        this.#settle(message);
        return undefined;
      case "records":
        this.#options.onRecords(expandRecordBatch(message), message.lost);
        return undefined;
      case "status":
        this.#statusWaiters.shift()?.(message.status);
        return undefined;
    }
  }

  /** The first commit of a session replays what was acknowledged; what was still open follows, each under its own revision. */
  #resync(): void {
    const changes: StateChange[] = [];
    for (const set of this.#sets.values()) changes.push({ kind: "put-set", set });
    for (const endpoint of this.#endpoints.values()) changes.push({ kind: "put-endpoint", endpoint });
    const entries = [...this.#ipcache.values()];
    for (let i = 0; i < entries.length; i += 1000)
      changes.push({ kind: "put-ipcache", entries: entries.slice(i, i + 1000) });
    // Before the agent has said anything its emptiness is ignorance: the proxy's old state stays in force.
    if (changes.length > 0) this.#send(changes, this.#acknowledged);
    for (const pending of this.#pending) this.#send(pending.changes, pending.revision);
  }

  #settle(message: Extract<ProxyMessage, { kind: "ack" | "nack" }>): void {
    const at = this.#pending.findIndex((pending) => pending.revision === message.revision);
    if (at < 0) return;
    const pending = this.#pending.splice(at, 1)[0]!;
    if (message.kind === "nack") {
      pending.resolve({ kind: "refused", revision: message.revision, problems: message.problems });
      return;
    }
    for (const change of pending.changes) this.#remember(change);
    this.#acknowledged = message.revision;
    pending.resolve({ kind: "applied", revision: message.revision });
  }

  #remember(change: StateChange): void {
    switch (change.kind) {
      case "put-set":
        this.#sets.set(change.set.id, change.set);
        return;
      case "delete-set":
        this.#sets.delete(change.id);
        return;
      case "put-endpoint":
        this.#endpoints.set(change.endpoint.id, change.endpoint);
        return;
      case "delete-endpoint":
        this.#endpoints.delete(change.id);
        return;
      case "put-ipcache":
        for (const entry of change.entries) this.#ipcache.set(entry.prefix, entry);
        return;
      case "delete-ipcache":
        for (const prefix of change.prefixes) this.#ipcache.delete(prefix);
        return;
    }
  }
}
