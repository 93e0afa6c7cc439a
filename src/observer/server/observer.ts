/** The observer: takes in events and records, keeps the last ones, counts all, answers Hubble's API. */
import { randomBytes } from "node:crypto";
import type { Http2Server, ServerHttp2Session } from "node:http2";
import type { AccessLogRecord } from "#contracts/proxy";
import { createLogger, type Logger } from "#core/runtime";
import { createHttpDecoder, eventField, isEvent, isHttpEvent } from "#observer/decode";
import { createFlowBuilder, type EndpointInfo, type FlowBuilderOptions, timestampOf } from "#observer/flow";
import { createFlowMetrics, type LostSource } from "#observer/metrics";
import { FlowStore } from "./flow-store.ts";
import { listen, type ObserverAddress } from "./listen.ts";
import { EventRing } from "./ring.ts";
import type { ObserverStatus } from "./status.ts";

/** What an observer needs. */
export interface ObserverOptions extends FlowBuilderOptions {
  /** Of this program, as clients see it. */
  readonly version: string;
  /** Events kept: 2^n - 1, at most 65535. Default 4095, as Hubble. */
  readonly capacity?: number;
  readonly log?: Logger;
}

/** A listening socket. */
export interface ServedObserver {
  /** The TCP port; 0 for a unix socket. */
  readonly port: number;
  /** Ends all streams and stops listening. */
  close(): Promise<void>;
}

/** The band's door. All `ingest…` functions return at once and throw nothing. */
export interface Observer {
  /** A record of the ring buffer `events`; fits `RingBuffer.drain`. Bytes that are no event are counted and left. */
  ingestEvent(view: DataView, offset: number, length: number): void;
  ingestAccessLog(record: AccessLogRecord): void;
  /** Events that the kernel (`events_lost`) or the proxy (`records.lost`) had to throw away. */
  ingestLost(source: LostSource, count: number): void;
  /** Starts to answer clients there; may be called for several addresses. Throws OBSERVER_ADDRESS_IN_USE. */
  serve(address: ObserverAddress): Promise<ServedObserver>;
  status(): ObserverStatus;
  /** Counters in Prometheus' text format. */
  metricsText(): Promise<string>;
  close(): Promise<void>;
}

const namespaceMemoryMs = 3_600_000;

/** Creates an observer; it listens nowhere yet. */
export function createObserver(options: ObserverOptions): Observer {
  const { nodeName, lookups, version, capacity = 4095, log = createLogger("observer") } = options;
  const builder = createFlowBuilder(options);
  const ring = new EventRing(capacity);
  const store = new FlowStore(ring, builder, () => lookups.wallOffsetNs(), randomBytes(8).toString("hex"));
  const metrics = createFlowMetrics();
  const http = createHttpDecoder({
    wallOffsetNs: () => lookups.wallOffsetNs(),
    reasonsOf: (judgement) => lookups.httpReasons?.(judgement) ?? { rules: [] },
  });
  const startedNs = process.hrtime.bigint();
  const namespaces = new Map<string, number>();
  const served = new Set<ServedObserver>();
  let seen = 0;

  const noteNamespace = (info: EndpointInfo | undefined, nowMs: number): void => {
    if (info !== undefined && info.namespace !== "") namespaces.set(info.namespace, nowMs);
  };

  const flowsPerSecond = (): number => {
    const nowNs = BigInt(Date.now()) * 1_000_000n;
    let since = nowNs - 60_000_000_000n;
    let count = 0;
    let oldest: bigint | undefined;
    for (let place = ring.next - 1; place >= ring.oldest; place--) {
      const time = store.timeNs(place);
      if (time === undefined) continue;
      if (time < since) {
        oldest = undefined;
        break;
      }
      oldest = time;
      count++;
    }
    if (oldest !== undefined && oldest > since) since = oldest;
    const seconds = Number(nowNs - since) / 1e9;
    return seconds > 0 ? count / seconds : 0;
  };

  const status = (): ObserverStatus => ({
    flows: ring.next - ring.oldest,
    capacity: ring.capacity,
    flowsSeen: seen,
    flowsPerSecond: flowsPerSecond(),
    uptimeNs: process.hrtime.bigint() - startedNs,
  });

  const namespacesSeen = (): string[] => {
    const since = Date.now() - namespaceMemoryMs;
    for (const [name, lastMs] of namespaces) if (lastMs < since) namespaces.delete(name);
    return [...namespaces.keys()].sort();
  };

  return {
    ingestEvent(view, offset, length) {
      if (isHttpEvent(view, offset, length)) {
        const record = http.decode(view, offset, length);
        if (record !== undefined) this.ingestAccessLog(record);
        return;
      }
      if (!isEvent(view, offset, length)) {
        metrics.countMalformed();
        return;
      }
      seen++;
      metrics.countEvent(view, offset);
      const from = eventField.sourceEndpoint(view, offset);
      const to = eventField.destinationEndpoint(view, offset);
      const set = eventField.policySet(view, offset);
      const source = from === 0 ? undefined : lookups.endpointById(from);
      const destination = to === 0 ? undefined : lookups.endpointById(to);
      const rules = set === 0 ? [] : lookups.provenance(set, eventField.policyCookie(view, offset));
      const nowMs = Date.now();
      noteNamespace(source, nowMs);
      noteNamespace(destination, nowMs);
      ring.pushEvent(view, offset, source, destination, rules);
    },

    ingestAccessLog(record) {
      seen++;
      metrics.countRecord(record);
      const { endpoint: from } = record.source;
      const { endpoint: to } = record.destination;
      const facts = {
        source: from === 0 ? undefined : lookups.endpointById(from),
        destination: to === 0 ? undefined : lookups.endpointById(to),
        rules: record.rules,
      };
      const nowMs = Date.now();
      noteNamespace(facts.source, nowMs);
      noteNamespace(facts.destination, nowMs);
      ring.pushRecord(record, facts);
    },

    ingestLost(source, count) {
      if (count <= 0) return;
      metrics.countLost(source, count);
      ring.pushLost({ kind: "lost", source, count, time: timestampOf(BigInt(Date.now()) * 1_000_000n) });
    },

    async serve(address) {
      // HTTP/2 takes 13 MB: a node whose flows nobody may ask for does without.
      const [{ createGrpcServer }, { observerMethods }] = await Promise.all([
        import("./grpc.ts"),
        import("./service.ts"),
      ]);
      const methods = observerMethods({ store, nodeName, version, status, namespacesSeen });
      const server = createGrpcServer(methods, log);
      const sessions = trackSessions(server);
      const port = await listen(server, address);
      const listening: ServedObserver = {
        port,
        async close() {
          served.delete(listening);
          const closed = new Promise<void>((resolve) => server.close(() => resolve()));
          for (const session of sessions) session.destroy();
          await closed;
        },
      };
      served.add(listening);
      return listening;
    },

    status,
    metricsText: () => metrics.text(),
    async close() {
      await Promise.all([...served].map((listening) => listening.close()));
    },
  };
}

function trackSessions(server: Http2Server): ReadonlySet<ServerHttp2Session> {
  const sessions = new Set<ServerHttp2Session>();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
  });
  return sessions;
}
