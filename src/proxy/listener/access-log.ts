/** Access-log records on their way to the agent: text form, and a bounded queue that knows what it lost. */
import type { AccessLogRecord, AccessLogRecordKind, NearestRule, PolicyRef } from "#contracts/proxy";
import type { Direction, Verdict } from "#core/model";
import type { ConnectionPolicy } from "#proxy/policy";
import type { ConnectionEnds } from "./options.ts";

/** Records waiting for the agent, as JSON text. When it is full new ones are counted and dropped: the old tell how it began. */
export class AccessLog {
  readonly #limit: number;
  #records: string[] = [];
  #lost = 0;
  #lostTotal = 0;

  /** `limit`: how many records may wait; at some 500 bytes each the default holds below 10 MB. */
  constructor(limit = 16_384) {
    this.#limit = limit;
  }

  get lostTotal(): number {
    return this.#lostTotal;
  }

  get waiting(): number {
    return this.#records.length;
  }

  /** Whether the next record has a place; if not it is counted as lost, and need not be built. */
  admit(): boolean {
    if (this.#records.length < this.#limit) return true;
    this.#lost++;
    this.#lostTotal++;
    return false;
  }

  /** Adds a record that `admit` has let in. */
  push(json: string): void {
    this.#records.push(json);
  }

  /** Takes up to `count` of the oldest records, and how many were lost since the last call. */
  take(count: number): { readonly records: readonly string[]; readonly lost: number } {
    const records = this.#records.length <= count ? this.#records : this.#records.slice(0, count);
    this.#records = records === this.#records ? [] : this.#records.slice(count);
    const lost = this.#lost;
    this.#lost = 0;
    return { records, lost };
  }

  /** Puts back what `take` gave and the agent did not get. */
  putBack(records: readonly string[], lost: number): void {
    const all = [...records, ...this.#records];
    const excess = Math.max(0, all.length - this.#limit);
    this.#records = excess === 0 ? all : all.slice(0, this.#limit);
    this.#lost += lost + excess;
    this.#lostTotal += excess;
  }
}

/** What of a request all its records say. */
export interface LoggedRequest {
  readonly method: string;
  readonly target: string;
  readonly host: string;
  readonly minorVersion: 0 | 1;
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

const refTexts = new WeakMap<PolicyRef, string>();

function refText(ref: PolicyRef): string {
  let text = refTexts.get(ref);
  if (text === undefined) {
    text = JSON.stringify(ref);
    refTexts.set(ref, text);
  }
  return text;
}

/** Writes the records of one connection; what doesn't change from record to record is text already. */
export class ConnectionLog {
  readonly #log: AccessLog;
  readonly #policy: ConnectionPolicy;
  readonly #ends: ConnectionEnds;
  readonly #connection: number;
  #peers = "";
  #sourceSeen: unknown;
  #destinationSeen: unknown;

  constructor(log: AccessLog, policy: ConnectionPolicy, ends: ConnectionEnds, connection: number) {
    this.#log = log;
    this.#policy = policy;
    this.#ends = ends;
    this.#connection = connection;
  }

  write(request: LoggedRequest, fields: RecordFields): void {
    if (!this.#log.admit()) return;
    const timeMs = performance.timeOrigin + performance.now();
    let rules = "";
    for (const ref of fields.rules) rules += rules === "" ? refText(ref) : `,${refText(ref)}`;
    this.#log.push(
      `{"kind":"${fields.kind}","timeMs":${timeMs},${this.#peerText()},"direction":"${fields.direction}","verdict":"${fields.verdict}",` +
        `"protocol":"HTTP/1.${request.minorVersion}","method":${JSON.stringify(request.method)},"path":${JSON.stringify(request.target)},` +
        `"host":${JSON.stringify(request.host)},"status":${fields.status},"latencyNs":${fields.latencyNs},"rules":[${rules}],` +
        `"reason":${fields.reason === "" ? '""' : JSON.stringify(fields.reason)}${fields.nearest ? `,"nearest":${JSON.stringify(fields.nearest)}` : ""}}`,
    );
  }

  #peerText(): string {
    const { source, destination } = this.#policy;
    if (this.#sourceSeen !== source || this.#destinationSeen !== destination) {
      this.#sourceSeen = source;
      this.#destinationSeen = destination;
      const peers: Pick<AccessLogRecord, "connection" | "source" | "destination"> = {
        connection: this.#connection,
        source: { ...this.#ends.source, ...source },
        destination: { ...this.#ends.destination, ...destination },
      };
      this.#peers = JSON.stringify(peers).slice(1, -1);
    }
    return this.#peers;
  }
}
