/** What is counted, and under which labels: all label sets are bounded, whatever the traffic. */
import type { Counter, Registry } from "prom-client";
import { Direction as DirectionCode, EventFlags, EventType, Verdict as VerdictCode } from "#contracts/bpf";
import { dropReasonName } from "#contracts/hubble";
import type { AccessLogRecord } from "#contracts/proxy";
import { protocolNumbers } from "#core/model";
import { eventField } from "#observer/decode";

/** Where events got lost: between kernel and agent, or between the L7 proxy and the agent. */
export type LostSource = "ring-buffer" | "proxy";

/** Counts flows. */
export interface FlowMetrics {
  /** A raw event that `isEvent` accepted. */
  countEvent(view: DataView, offset: number): void;
  countRecord(record: AccessLogRecord): void;
  countLost(source: LostSource, count: number): void;
  /** A record of the ring buffer that was no event. */
  countMalformed(): void;
  /** The counters in Prometheus' text format. */
  text(): Promise<string>;
}

const types = ["PolicyVerdict", "Drop", "Trace", "L7"] as const;
const verdicts = ["UNKNOWN", "FORWARDED", "DROPPED", "ERROR", "AUDIT", "REDIRECTED"] as const;
const protocols = ["TCP", "UDP", "ICMPv4", "ICMPv6", "SCTP", "HTTP", "other"] as const;
const methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "other"] as const;
const [L7, HTTP, OTHER] = [types.indexOf("L7"), protocols.indexOf("HTTP"), protocols.indexOf("other")];
const methodIndex: ReadonlyMap<string, number> = new Map(methods.map((name, i) => [name, i]));
const statuses = 600;

/** IP protocol number -> place in `protocols`. */
const protocolIndex = new Uint8Array(256).fill(OTHER);
protocolIndex[protocolNumbers.TCP] = 0;
protocolIndex[protocolNumbers.UDP] = 1;
protocolIndex[protocolNumbers.ICMP] = 2;
protocolIndex[protocolNumbers.ICMPV6] = 3;
protocolIndex[protocolNumbers.SCTP] = 4;

/** Creates counters at zero. */
export function createFlowMetrics(): FlowMetrics {
  const flows = new Float64Array(types.length * verdicts.length * protocols.length);
  const drops = new Float64Array(256 * 2 * protocols.length);
  const requests = new Float64Array(methods.length * statuses);
  const lost: Record<LostSource, number> = { "ring-buffer": 0, proxy: 0 };
  let malformed = 0;
  let registry: Registry | undefined;

  const countFlow = (type: number, verdict: number, protocol: number): void => {
    const index = (type * verdicts.length + (verdict < verdicts.length ? verdict : 0)) * protocols.length + protocol;
    flows[index]!++;
  };
  const countDrop = (reason: number, direction: number, protocol: number): void => {
    drops[(reason * 2 + direction) * protocols.length + protocol]!++;
  };

  const publish = (into: Counter, values: Float64Array, labels: (index: number) => Record<string, string>): void => {
    into.reset();
    for (const [index, value] of values.entries()) if (value > 0) into.inc(labels(index), value);
  };

  const createRegistry = async (): Promise<Registry> => {
    const { Counter, Registry } = await import("prom-client");
    const created = new Registry();
    const counter = (
      name: string,
      help: string,
      labelNames: readonly string[],
      collect: (this: Counter) => void,
    ): void => {
      new Counter({ name, help, labelNames, registers: [created], collect });
    };
    counter(
      "hubble_flows_processed_total",
      "Flows seen, by type, verdict and protocol",
      ["type", "verdict", "protocol"],
      function () {
        publish(this, flows, (index) => ({
          protocol: protocols[index % protocols.length]!,
          verdict: verdicts[Math.floor(index / protocols.length) % verdicts.length]!,
          type: types[Math.floor(index / protocols.length / verdicts.length)]!,
        }));
      },
    );
    counter(
      "hubble_drop_total",
      "Drops, by reason, direction and protocol",
      ["reason", "direction", "protocol"],
      function () {
        publish(this, drops, (index) => ({
          protocol: protocols[index % protocols.length]!,
          direction: Math.floor(index / protocols.length) % 2 === DirectionCode.EGRESS ? "egress" : "ingress",
          reason: dropReasonName(Math.floor(index / protocols.length / 2)),
        }));
      },
    );
    counter(
      "hubble_http_requests_total",
      "HTTP requests that the proxy answered, by method and status; status 0: closed without an answer",
      ["method", "status"],
      function () {
        publish(this, requests, (index) => ({
          method: methods[Math.floor(index / statuses)]!,
          status: String(index % statuses),
        }));
      },
    );
    counter(
      "hubble_lost_events_total",
      "Events that got lost on their way to the observer, by source",
      ["source"],
      function () {
        this.reset();
        for (const [source, value] of Object.entries(lost)) this.inc({ source }, value);
      },
    );
    counter("tsilium_malformed_events_total", "Records of the ring buffer that were no events", [], function () {
      this.reset();
      this.inc(malformed);
    });
    return created;
  };

  return {
    countEvent(view, offset) {
      const eventType = eventField.type(view, offset);
      const verdict = eventField.verdict(view, offset);
      const protocol = protocolIndex[eventField.protocol(view, offset)]!;
      const isTrace =
        eventType === EventType.TRACE ||
        (eventType === EventType.VERDICT &&
          verdict !== VerdictCode.DROPPED &&
          (eventField.flags(view, offset) & EventFlags.UNENFORCED) !== 0);
      countFlow(isTrace ? 2 : eventType === EventType.DROP ? 1 : 0, verdict, protocol);
      if (verdict === VerdictCode.DROPPED)
        countDrop(eventField.reason(view, offset), eventField.direction(view, offset) & 1, protocol);
    },
    countRecord({ kind, verdict, method, status }) {
      countFlow(L7, VerdictCode[verdict], HTTP);
      // A request that was let through is counted with its response.
      if (kind === "request") return;
      const row = methodIndex.get(method) ?? methods.indexOf("other");
      requests[row * statuses + (status > 0 && status < statuses ? status : 0)]!++;
    },
    countLost(source, count) {
      lost[source] += count;
    },
    countMalformed() {
      malformed++;
    },
    async text() {
      registry ??= await createRegistry();
      return registry.metrics();
    },
  };
}
