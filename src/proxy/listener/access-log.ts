/** Access-log records on their way to the agent: a bounded queue that knows what it lost. */
import type { AccessLogRecordKind, ConnectionPeers, LogEntry, NearestRule, PolicyRef } from "#contracts/proxy";
import type { Direction, Verdict } from "#core/model";
import type { ConnectionPolicy, Permit } from "#proxy/policy";
import type { ConnectionEnds } from "./ends.ts";

/** An entry that waits: while it does, a request's answer can still be added to it. */
export type PendingEntry = { -readonly [K in keyof LogEntry]: LogEntry[K] } & { queued: boolean };

/** Entries waiting for the agent. When it is full new records are counted and dropped: the old ones tell how it began. */
export class AccessLog {
  readonly #limit: number;
  #entries: PendingEntry[] = [];
  #lost = 0;
  #lostTotal = 0;

  /** `limit`: how many entries may wait; at some 300 bytes each the default holds below 5 MB. */
  constructor(limit = 16_384) {
    this.#limit = limit;
  }

  /** Records lost since the start. */
  get lostTotal(): number {
    return this.#lostTotal;
  }

  /** Whether another entry has a place; if not it is counted as a lost record, and need not be built. */
  admit(): boolean {
    if (this.#entries.length < this.#limit) return true;
    this.#lost++;
    this.#lostTotal++;
    return false;
  }

  /** Adds an entry that `admit` has let in. */
  push(entry: PendingEntry): void {
    this.#entries.push(entry);
  }

  /** Takes up to `count` of the oldest entries, and how many records were lost since the last call. What is taken is the taker's to deliver. */
  take(count: number): { readonly entries: readonly LogEntry[]; readonly lost: number } {
    const all = this.#entries;
    const entries = all.length <= count ? all : all.slice(0, count);
    this.#entries = entries === all ? [] : all.slice(count);
    for (const entry of entries) entry.queued = false;
    const lost = this.#lost;
    this.#lost = 0;
    return { entries, lost };
  }
}

/** What of a request all its records say. */
export interface LoggedRequest {
  readonly method: string;
  readonly target: string;
  readonly host: string;
  readonly minorVersion: 0 | 1;
}

/** A request that was sent on. */
export interface LoggedExchange extends LoggedRequest {
  readonly permit: Permit;
  /** Its record, to be completed by the answer; undefined if it was lost. */
  readonly logged: PendingEntry | undefined;
}

/** What a record says beside its connection and request. */
export interface RecordFields {
  readonly kind: AccessLogRecordKind;
  readonly verdict: Verdict;
  readonly direction: Direction;
  readonly rules: readonly PolicyRef[];
  readonly status: number;
  readonly latencyNs: number;
  readonly reason: string;
  readonly nearest?: NearestRule | undefined;
}

/** What `performance.now` counts from; reading it anew each time is slow. */
const startedAtMs = performance.timeOrigin;

/** Writes the records of one connection. */
export class ConnectionLog {
  readonly #log: AccessLog;
  readonly #policy: ConnectionPolicy;
  readonly #ends: ConnectionEnds;
  readonly #connection: number;
  #peers: ConnectionPeers | undefined;
  #sourceSeen: unknown;
  #destinationSeen: unknown;

  constructor(log: AccessLog, policy: ConnectionPolicy, ends: ConnectionEnds, connection: number) {
    this.#log = log;
    this.#policy = policy;
    this.#ends = ends;
    this.#connection = connection;
  }

  /** Queues a record; undefined if it was lost. */
  write(request: LoggedRequest, fields: RecordFields): PendingEntry | undefined {
    if (!this.#log.admit()) return undefined;
    const entry: PendingEntry = {
      kind: fields.kind,
      timeMs: startedAtMs + performance.now(),
      peers: this.#currentPeers(),
      direction: fields.direction,
      verdict: fields.verdict,
      minorVersion: request.minorVersion,
      method: request.method,
      target: request.target,
      host: request.host,
      status: fields.status,
      latencyNs: fields.latencyNs,
      rules: fields.rules,
      reason: fields.reason,
      nearest: fields.nearest,
      queued: true,
    };
    this.#log.push(entry);
    return entry;
  }

  /** Records the answer to a request: in the request's own entry if that still waits, else in one of its own. */
  answer(exchange: LoggedExchange, status: number, latencyNs: number, verdict: Verdict, reason: string): void {
    const { logged } = exchange;
    if (logged?.queued && logged.kind === "request") {
      logged.kind = "exchange";
      logged.status = status;
      logged.latencyNs = latencyNs;
      logged.verdict = verdict;
      logged.reason = reason;
      return;
    }
    const { rules, direction } = exchange.permit;
    this.write(exchange, { kind: "response", verdict, direction, rules, status, latencyNs, reason });
  }

  #currentPeers(): ConnectionPeers {
    const { source, destination } = this.#policy;
    if (this.#peers === undefined || this.#sourceSeen !== source || this.#destinationSeen !== destination) {
      this.#sourceSeen = source;
      this.#destinationSeen = destination;
      this.#peers = {
        connection: this.#connection,
        source: { ...this.#ends.source, ...source },
        destination: { ...this.#ends.destination, ...destination },
      };
    }
    return this.#peers;
  }
}
