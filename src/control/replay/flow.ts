/** Flows as Hubble's command line and exporter write them, one JSON object a line -> what replaying asks of them. */
import { type Direction, protocolNumbers } from "#core/model";

/** One end of a recorded flow. Empty texts and lists: not recorded. */
export interface RecordedEnd {
  /** `source:key=value`. */
  readonly labels: readonly string[];
  readonly namespace: string;
  readonly pod: string;
  /** Of the workload that owns the pod: its kind and name. */
  readonly workload?: { readonly kind: string; readonly name: string };
  readonly address: string;
  /** DNS names by which the other end knew the address. */
  readonly names: readonly string[];
}

/** An HTTP request as recorded. */
export interface RecordedRequest {
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  readonly host: string;
  /** Names in lower case; undefined: headers were not recorded. */
  readonly headers: ReadonlyMap<string, string> | undefined;
}

/** A verdict of policy on one direction of a connection, or on one request. */
export interface RecordedFlow {
  /** ms since 1970; undefined: not recorded. */
  readonly timeMs: number | undefined;
  readonly direction: Direction;
  /** `redirected`: allowed, and its requests are judged one by one. */
  readonly verdict: "allowed" | "redirected" | "denied";
  readonly source: RecordedEnd;
  readonly destination: RecordedEnd;
  /** Number of IP. */
  readonly protocol: number;
  /** Destination port; ICMP: type. */
  readonly port: number;
  readonly http?: RecordedRequest;
  /** The name that a DNS query asks for. */
  readonly dns?: { readonly query: string };
  /** Service to which the client spoke, `namespace/name`; policies see its backends. */
  readonly service?: string;
  /** The rules that decided, as `KIND NAMESPACE/NAME PATH`. */
  readonly rules: readonly string[];
}

/** Why a line or a flow can't be, or need not be, judged. */
export type Unjudged =
  | "unreadable"
  | "other-event"
  | "lost"
  | "reply"
  | "no-verdict"
  | "other-reason"
  | "no-direction"
  | "no-transport"
  | "no-labels"
  | "no-address"
  | "no-subject"
  | "no-headers"
  | "no-requests"
  | "no-judge";

/** Each reason in words. */
export const unjudgedTexts: Readonly<Record<Unjudged, string>> = {
  unreadable: "the line is not JSON",
  "other-event": "the line is no flow",
  lost: "lost before it was recorded",
  reply: "reply traffic: it passes with the connection that it belongs to",
  "no-verdict": "a sighting without a verdict of policy",
  "other-reason": "dropped for a reason that is no policy's",
  "no-direction": "whether it was ingress or egress is not recorded",
  "no-transport": "protocol and port are not recorded",
  "no-labels": "an end has no labels, and no workload of the manifests has its name",
  "no-address": "an end outside the cluster has no address",
  "no-subject": "the judged side is no workload",
  "no-headers": "rules ask for headers, and none are recorded",
  "no-requests": "HTTP rules would judge its requests, and none are recorded",
  "no-judge": "rules of its application protocol can't be replayed",
};

/** What a line holds. `count`: of how many flows a note of lost ones speaks. */
export type FlowLine =
  | { readonly kind: "flow"; readonly flow: RecordedFlow }
  | { readonly kind: "unjudged"; readonly reason: Unjudged; readonly count: number };

type Json = Readonly<Record<string, unknown>>;
const noFields: Json = {};
const mapOf = (value: unknown): Json =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : noFields;
const textOf = (value: unknown): string => (typeof value === "string" ? value : "");
const textsOf = (value: unknown): readonly string[] => (Array.isArray(value) ? value.filter(isText) : []);
const isText = (value: unknown): value is string => typeof value === "string";
const numberOf = (value: unknown): number => Number(value ?? 0) || 0;
const unjudged = (reason: Unjudged, count = 1): FlowLine => ({ kind: "unjudged", reason, count });

/** Reads one line: a flow as such, or inside an answer of the observer. Undefined for an empty one. Never throws. */
export function readFlowLine(line: string): FlowLine | undefined {
  if (line.trim() === "") return undefined;
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return unjudged("unreadable");
  }
  const answer = mapOf(value);
  if (answer.lost_events !== undefined)
    return unjudged("lost", numberOf(mapOf(answer.lost_events).num_events_lost) || 1);
  const flow = mapOf(answer.flow ?? (answer.verdict === undefined ? undefined : answer));
  return flow === noFields ? unjudged("other-event") : readFlow(flow);
}

/** The cluster whose flow the line is, from the name of its node or the labels of its ends; undefined if it says none. */
export function clusterOfLine(line: string): string | undefined {
  return /"node_name":"([^"/]+)\//.exec(line)?.[1] ?? /"k8s:io\.cilium\.k8s\.policy\.cluster=([^"]+)"/.exec(line)?.[1];
}

function readFlow(flow: Json): FlowLine {
  const verdict = verdictOf(flow);
  if (verdict === undefined) return unjudged("no-verdict");
  if (verdict === "dropped") return unjudged("other-reason");
  if (isReply(flow)) return unjudged("reply");
  const direction = directions[textOf(flow.traffic_direction)];
  if (direction === undefined) return unjudged("no-direction");
  const transport = transportOf(mapOf(flow.l4));
  if (transport === undefined) return unjudged("no-transport");
  const ip = mapOf(flow.IP);
  const l7 = mapOf(flow.l7);
  const http = l7.http === undefined ? undefined : requestOf(mapOf(l7.http));
  const dns = l7.dns === undefined ? undefined : { query: textOf(mapOf(l7.dns).query).toLowerCase() };
  const time = Date.parse(textOf(flow.time));
  const service = mapOf(flow.destination_service);
  return {
    kind: "flow",
    flow: {
      timeMs: Number.isNaN(time) ? undefined : time,
      direction,
      verdict,
      source: endOf(mapOf(flow.source), textOf(ip.source), textsOf(flow.source_names)),
      destination: endOf(mapOf(flow.destination), textOf(ip.destination), textsOf(flow.destination_names)),
      ...transport,
      ...(http === undefined ? {} : { http }),
      ...(dns === undefined ? {} : { dns }),
      ...(textOf(service.name) === "" ? {} : { service: `${textOf(service.namespace)}/${textOf(service.name)}` }),
      rules: rulesOf(flow[`${direction}_${verdict === "denied" ? "denied" : "allowed"}_by`]),
    },
  };
}

const directions: Readonly<Record<string, Direction>> = { INGRESS: "ingress", EGRESS: "egress" };

function verdictOf(flow: Json): RecordedFlow["verdict"] | "dropped" | undefined {
  switch (flow.verdict) {
    case "FORWARDED":
    case "AUDIT":
      return isBeforeVerdict(flow) ? undefined : "allowed";
    case "REDIRECTED":
      return "redirected";
    case "DROPPED": {
      // The proxy's refusals have no code of the kernel.
      if (flow.l7 !== undefined) return "denied";
      const reason = flow.drop_reason_desc ?? flow.drop_reason;
      const isPolicy = reason === "POLICY_DENIED" || reason === "POLICY_DENY" || reason === 133 || reason === 181;
      const isVerdict = numberOf(mapOf(flow.event_type).type) === 5 && (reason === undefined || reason === 0);
      return isPolicy || isVerdict ? "denied" : "dropped";
    }
    default:
      return undefined;
  }
}

/** Sightings on the way in, which a datapath may report before it looks at connection and policy: then the reason is unknown. */
function isBeforeVerdict(flow: Json): boolean {
  const point = textOf(flow.trace_observation_point);
  const reason = flow.trace_reason;
  return (
    point.startsWith("FROM_") && (reason === undefined || reason === "TRACE_REASON_UNKNOWN" || reason === "UNKNOWN")
  );
}

function isReply(flow: Json): boolean {
  if (flow.is_reply === true || flow.reply === true) return true;
  if (flow.trace_reason === "REPLY" || flow.trace_reason === "RELATED") return true;
  if (mapOf(flow.l7).type === "RESPONSE") return true;
  if (flow.is_reply === false) return false;
  // Drops come without that knowledge, and these are answers by their form.
  const { TCP, ICMPv4, ICMPv6 } = mapOf(flow.l4);
  const flags = mapOf(mapOf(TCP).flags);
  return (
    (flags.SYN === true && flags.ACK === true) ||
    (ICMPv4 !== undefined && numberOf(mapOf(ICMPv4).type) === 0) ||
    (ICMPv6 !== undefined && numberOf(mapOf(ICMPv6).type) === 129)
  );
}

function transportOf(l4: Json): Pick<RecordedFlow, "protocol" | "port"> | undefined {
  for (const name of ["TCP", "UDP", "SCTP"] as const)
    if (l4[name] !== undefined)
      return { protocol: protocolNumbers[name], port: numberOf(mapOf(l4[name]).destination_port) };
  if (l4.ICMPv4 !== undefined) return { protocol: protocolNumbers.ICMP, port: numberOf(mapOf(l4.ICMPv4).type) };
  if (l4.ICMPv6 !== undefined) return { protocol: protocolNumbers.ICMPV6, port: numberOf(mapOf(l4.ICMPv6).type) };
  return undefined;
}

function endOf(end: Json, address: string, names: readonly string[]): RecordedEnd {
  const workload = Array.isArray(end.workloads) ? mapOf(end.workloads[0]) : noFields;
  return {
    labels: textsOf(end.labels),
    namespace: textOf(end.namespace),
    pod: textOf(end.pod_name),
    ...(textOf(workload.name) === "" ? {} : { workload: { kind: textOf(workload.kind), name: textOf(workload.name) } }),
    address,
    names,
  };
}

function requestOf(http: Json): RecordedRequest {
  const url = textOf(http.url);
  const [, host = "", target = ""] = /^(?:https?:\/\/([^/?]*))?(.*)$/s.exec(url) ?? [];
  const headers = Array.isArray(http.headers) && http.headers.length > 0 ? http.headers.map(mapOf) : undefined;
  return {
    method: textOf(http.method),
    target: target.startsWith("/") || target === "*" ? target : `/${target}`,
    host,
    headers: headers && new Map(headers.map(({ key, value }) => [textOf(key).toLowerCase(), textOf(value)])),
  };
}

function rulesOf(policies: unknown): readonly string[] {
  return (Array.isArray(policies) ? policies : []).map((each) => {
    const { kind, namespace, name, labels } = mapOf(each);
    const path = textsOf(labels).find((label) => label.startsWith("tsilium:rule="));
    const called = [textOf(namespace), textOf(name)].filter((part) => part !== "").join("/");
    return [textOf(kind), called, path?.slice("tsilium:rule=".length) ?? ""].filter((part) => part !== "").join(" ");
  });
}
