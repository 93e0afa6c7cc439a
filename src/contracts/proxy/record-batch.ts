/**
 * Access-log records as they travel: by the batch, with what repeats said once. A busy proxy makes 100 000 records a second; in
 * full each is half a kilobyte of JSON, so the log would cost more than the proxying.
 */
import type { Direction, Verdict } from "#core/model";
import type { AccessLogRecord, AccessLogRecordKind, NearestRule, PeerRecord } from "./access-log.ts";
import type { PolicyRef } from "./state.ts";

/** A connection's part of its records; one object as long as nothing of it changes. */
export interface ConnectionPeers {
  readonly connection: number;
  readonly source: PeerRecord;
  readonly destination: PeerRecord;
}

/** What is to be logged; `exchange` stands for the two records of a request and its answer. */
export interface LogEntry {
  readonly kind: AccessLogRecordKind | "exchange";
  /** Of the request, in an exchange; the answer came `latencyNs` later. */
  readonly timeMs: number;
  readonly peers: ConnectionPeers;
  readonly direction: Direction;
  readonly verdict: Verdict;
  readonly minorVersion: 0 | 1;
  readonly method: string;
  readonly target: string;
  readonly host: string;
  readonly status: number;
  readonly latencyNs: number;
  readonly rules: readonly PolicyRef[];
  readonly reason: string;
  readonly nearest: NearestRule | undefined;
}

/** Indices into `peers`, `refs` and `hosts`; the rest as in `LogEntry`. */
type WireRecord = readonly [
  kind: LogEntry["kind"],
  timeMs: number,
  peers: number,
  ingress: 0 | 1,
  verdict: Verdict,
  minorVersion: 0 | 1,
  method: string,
  target: string,
  host: number,
  status: number,
  latencyNs: number,
  rules: readonly number[],
  reason?: string,
  nearest?: NearestRule,
];

/** A batch on the wire. */
export interface RecordBatch {
  readonly kind: "records";
  /** Records that could not be kept since the last batch, exactly. */
  readonly lost: number;
  readonly peers: readonly ConnectionPeers[];
  readonly refs: readonly PolicyRef[];
  readonly hosts: readonly string[];
  readonly records: readonly WireRecord[];
}

/** Numbers things in the order of their first use. */
class Index<T> {
  readonly #numbers = new Map<T, number>();
  #last: T | undefined;
  #lastNumber = -1;

  of(thing: T): number {
    // Neighbours mostly agree.
    if (thing === this.#last && this.#lastNumber >= 0) return this.#lastNumber;
    let number = this.#numbers.get(thing);
    if (number === undefined) {
      number = this.#numbers.size;
      this.#numbers.set(thing, number);
    }
    this.#last = thing;
    this.#lastNumber = number;
    return number;
  }

  all(): T[] {
    return [...this.#numbers.keys()];
  }
}

/** One line, newline included. */
export function formatRecordBatch(entries: readonly LogEntry[], lost: number): string {
  const peers = new Index<ConnectionPeers>();
  const refs = new Index<PolicyRef>();
  const hosts = new Index<string>();
  let records = "";
  for (const entry of entries) {
    let rules = "";
    for (const ref of entry.rules) rules += rules === "" ? refs.of(ref) : `,${refs.of(ref)}`;
    const tail = entry.nearest
      ? `,${JSON.stringify(entry.reason)},${JSON.stringify(entry.nearest)}`
      : entry.reason === ""
        ? ""
        : `,${JSON.stringify(entry.reason)}`;
    records +=
      `${records === "" ? "" : ","}["${entry.kind}",${entry.timeMs},${peers.of(entry.peers)},${entry.direction === "ingress" ? 1 : 0},` +
      `"${entry.verdict}",${entry.minorVersion},${quote(entry.method)},${quote(entry.target)},${hosts.of(entry.host)},` +
      `${entry.status},${entry.latencyNs},[${rules}]${tail}]`;
  }
  const dictionaries = `"peers":${JSON.stringify(peers.all())},"refs":${JSON.stringify(refs.all())},"hosts":${JSON.stringify(hosts.all())}`;
  return `{"kind":"records","lost":${lost},${dictionaries},"records":[${records}]}\n`;
}

/** Methods and targets are visible ASCII once they were accepted; what was refused may be anything. */
function quote(text: string): string {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c < 0x20 || c === 0x22 || c === 0x5c || c > 0x7e) return JSON.stringify(text);
  }
  return `"${text}"`;
}

/** The records of a batch, in full. */
export function expandRecordBatch(batch: RecordBatch): AccessLogRecord[] {
  const records: AccessLogRecord[] = [];
  for (const [
    kind,
    timeMs,
    peers,
    ingress,
    verdict,
    minorVersion,
    method,
    path,
    host,
    status,
    latencyNs,
    rules,
    reason,
    nearest,
  ] of batch.records) {
    const { connection, source, destination } = batch.peers[peers]!;
    const base: AccessLogRecord = {
      kind: kind === "exchange" ? "request" : kind,
      timeMs,
      connection,
      source,
      destination,
      direction: ingress === 1 ? "ingress" : "egress",
      verdict,
      protocol: minorVersion === 1 ? "HTTP/1.1" : "HTTP/1.0",
      method,
      path,
      host: batch.hosts[host]!,
      status,
      latencyNs,
      rules: rules.map((ref) => batch.refs[ref]!),
      reason: reason ?? "",
      ...(nearest && { nearest }),
    };
    if (kind !== "exchange") records.push(base);
    else
      records.push(
        { ...base, verdict: "FORWARDED", status: 0, latencyNs: 0, reason: "" },
        { ...base, kind: "response", timeMs: timeMs + latencyNs / 1e6 },
      );
  }
  return records;
}
