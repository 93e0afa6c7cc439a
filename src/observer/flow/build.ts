/** Events and access-log records -> flows. */
import {
  type Endpoint,
  type Flow,
  FlowType,
  IPVersion,
  L7FlowType,
  type Layer4,
  MessageType,
  type Policy,
  type Timestamp,
  TraceObservationPoint,
  TracePoint,
  TraceReason,
  TrafficDirection,
  Verdict as VerdictCode,
} from "#contracts/hubble";
import type { AccessLogRecord, PeerRecord } from "#contracts/proxy";
import { type Direction, type EndpointId, type NumericIdentity, protocolNumbers } from "#core/model";
import type { DatapathEvent, EventPeer } from "#observer/decode";
import type { DeniedPeer, EndpointInfo, Explain, FlowLookups, RuleRef } from "./lookups.ts";
import { icmpSummary, tcpFlags, tcpSummary } from "./summary.ts";
import { denialKind, explainDenial, explainDrop, explainRequest, withWhy } from "./why.ts";

/** What only the moment of the event knows: endpoints come and go, policy sets are replaced. */
export interface FlowFacts {
  readonly source: EndpointInfo | undefined;
  readonly destination: EndpointInfo | undefined;
  readonly rules: readonly RuleRef[];
}

/** What a builder needs. */
export interface FlowBuilderOptions {
  /** As flows and filters show it. */
  readonly nodeName: string;
  readonly nodeLabels?: readonly string[];
  readonly lookups: FlowLookups;
  readonly explain?: Explain;
}

/** Makes flows. */
export interface FlowBuilder {
  /** Looks up what would be gone later. */
  factsOf(event: Pick<DatapathEvent, "source" | "destination" | "policySet" | "policyCookie">): FlowFacts;
  /** A kernel event as a flow. A verdict where no policy is enforced is a trace, as in Hubble. */
  fromEvent(event: DatapathEvent, facts: FlowFacts, uuid: string): Flow;
  /** A request, response or refusal of the L7 proxy as a flow. A response's source is the server. */
  fromAccessLog(record: AccessLogRecord, facts: FlowFacts, uuid: string): Flow;
}

const directions: Readonly<Record<Direction, TrafficDirection>> = {
  ingress: TrafficDirection.INGRESS,
  egress: TrafficDirection.EGRESS,
};

/** A time since 1970 in nanoseconds as a message. */
export function timestampOf(ns: bigint): Timestamp {
  return { seconds: ns / 1_000_000_000n, nanos: Number(ns % 1_000_000_000n) };
}

/** Creates a builder. It keeps nothing: the same input and look-ups give the same flow. */
export function createFlowBuilder({ nodeName, nodeLabels, lookups, explain }: FlowBuilderOptions): FlowBuilder {
  const node = { node_name: nodeName, ...(nodeLabels !== undefined && { node_labels: nodeLabels }) };

  const labelsOf = (identity: NumericIdentity, info: EndpointInfo | undefined): readonly string[] =>
    info !== undefined && (identity === 0 || info.identity === identity)
      ? info.labels
      : (lookups.identityLabels(identity) ?? info?.labels ?? []);

  const infoOf = (info: EndpointInfo | undefined, address: string | undefined): EndpointInfo | undefined =>
    info ?? (address === undefined ? undefined : lookups.endpointByAddress(address));

  /** The identity is the datapath's: that is what was judged, whatever the labels have become since. */
  const endpointOf = (identity: NumericIdentity, id: EndpointId, info: EndpointInfo | undefined): Endpoint => {
    const shown: Endpoint = { identity: identity || (info?.identity ?? 0), labels: labelsOf(identity, info) };
    const number = id || (info?.id ?? 0);
    return {
      ...shown,
      ...(number !== 0 && { ID: number }),
      ...(info !== undefined && {
        namespace: info.namespace,
        pod_name: info.podName,
        ...(info.workloads.length > 0 && { workloads: info.workloads }),
      }),
    };
  };

  const names = (source: string | undefined, destination: string | undefined): Partial<Flow> => {
    const from = source === undefined ? [] : (lookups.namesOf?.(source) ?? []);
    const to = destination === undefined ? [] : (lookups.namesOf?.(destination) ?? []);
    return { ...(from.length > 0 && { source_names: from }), ...(to.length > 0 && { destination_names: to }) };
  };

  const deniedPeer = (peer: EventPeer, info: EndpointInfo | undefined): DeniedPeer => ({
    identity: peer.identity,
    labels: labelsOf(peer.identity, info),
    ...(info !== undefined && { endpoint: info }),
    address: peer.address ?? "",
    port: peer.port,
  });

  return {
    factsOf: ({ source, destination, policySet, policyCookie }) => ({
      source: source.endpoint === 0 ? undefined : lookups.endpointById(source.endpoint),
      destination: destination.endpoint === 0 ? undefined : lookups.endpointById(destination.endpoint),
      rules: policySet === 0 ? [] : lookups.provenance(policySet, policyCookie),
    }),

    fromEvent(event, facts, uuid) {
      const { source, destination, family } = event;
      const sourceInfo = infoOf(facts.source, source.address);
      const destinationInfo = infoOf(facts.destination, destination.address);
      const layer4 = layer4Of(event);
      const name = event.ifindex === 0 ? undefined : lookups.interfaceName?.(event.ifindex);
      const refused = denialKind(event);
      const why =
        refused !== undefined
          ? explainDenial(
              {
                kind: refused,
                direction: event.direction,
                source: deniedPeer(source, sourceInfo),
                destination: deniedPeer(destination, destinationInfo),
                protocol: event.protocol,
                port: event.icmp?.type ?? destination.port,
                policySet: event.policySet,
                rules: facts.rules,
              },
              explain,
            )
          : event.verdict === "DROPPED"
            ? explainDrop(event)
            : undefined;
      return {
        time: timestampOf(event.timeNs + lookups.wallOffsetNs()),
        uuid,
        Type: FlowType.L3_L4,
        ...node,
        verdict: VerdictCode[event.verdict],
        ...(event.verdict === "DROPPED" && { drop_reason: event.reason, drop_reason_desc: event.reason as never }),
        ...(family !== undefined && {
          IP: {
            source: source.address!,
            destination: destination.address!,
            ipVersion: family === 4 ? IPVersion.IPv4 : IPVersion.IPv6,
          },
        }),
        ...(layer4 !== undefined && { l4: layer4 }),
        source: endpointOf(source.identity, source.endpoint, sourceInfo),
        destination: endpointOf(destination.identity, destination.endpoint, destinationInfo),
        ...names(source.address, destination.address),
        traffic_direction: directions[event.direction],
        ...eventTypeOf(event),
        ...replyOf(event),
        ...(event.ifindex !== 0 && { interface: { index: event.ifindex, ...(name !== undefined && { name }) } }),
        ...(event.proxyPort !== 0 && { proxy_port: event.proxyPort }),
        ...policiesOf(event.direction, event.verdict, facts.rules),
        Summary: summaryOf(event),
        ...(why !== undefined && withWhy(why)),
      };
    },

    fromAccessLog(record, facts, uuid) {
      const isResponse = record.kind === "response";
      const peer = (of: PeerRecord, info: EndpointInfo | undefined): Endpoint =>
        endpointOf(of.identity, of.endpoint, infoOf(info, of.address));
      const client = { ...record.source, shown: peer(record.source, facts.source) };
      const server = { ...record.destination, shown: peer(record.destination, facts.destination) };
      const [source, destination] = isResponse ? [server, client] : [client, server];
      const url = record.host === "" ? record.path : `http://${record.host}${record.path}`;
      const request = `${record.method} ${url}`;
      const why = explainRequest(record);
      return {
        time: timestampOf(BigInt(Math.round(record.timeMs * 1000)) * 1000n),
        uuid,
        Type: FlowType.L7,
        ...node,
        verdict: VerdictCode[record.verdict],
        IP: {
          source: source.address,
          destination: destination.address,
          ipVersion: source.address.includes(":") ? IPVersion.IPv6 : IPVersion.IPv4,
        },
        l4: {
          protocol: { $case: "TCP", value: { source_port: source.port, destination_port: destination.port } },
        },
        source: source.shown,
        destination: destination.shown,
        ...names(source.address, destination.address),
        event_type: { type: MessageType.l7 },
        traffic_direction: directions[record.direction],
        is_reply: isResponse,
        ...(isResponse && { reply: true }),
        ...policiesOf(record.direction, record.verdict, facts.rules),
        l7: {
          type: isResponse ? L7FlowType.RESPONSE : L7FlowType.REQUEST,
          ...(record.latencyNs > 0 && { latency_ns: BigInt(Math.round(record.latencyNs)) }),
          record: {
            $case: "http",
            value: { code: record.status, method: record.method, url, protocol: record.protocol },
          },
        },
        Summary: isResponse
          ? `${record.protocol} ${record.status} ${Math.floor(record.latencyNs / 1e6)}ms (${request})`
          : `${record.protocol} ${request}`,
        ...(why !== undefined && withWhy(why)),
      };
    },
  };
}

function layer4Of({ protocol, source, destination, tcpFlags: flags, icmp, family }: DatapathEvent): Layer4 | undefined {
  if (family === undefined) return undefined;
  const ports = { source_port: source.port, destination_port: destination.port };
  switch (protocol) {
    case protocolNumbers.TCP:
      return { protocol: { $case: "TCP", value: { ...ports, flags: tcpFlags(flags) } } };
    case protocolNumbers.UDP:
      return { protocol: { $case: "UDP", value: ports } };
    case protocolNumbers.SCTP:
      return { protocol: { $case: "SCTP", value: ports } };
    case protocolNumbers.ICMP:
      return { protocol: { $case: "ICMPv4", value: icmp ?? {} } };
    case protocolNumbers.ICMPV6:
      return { protocol: { $case: "ICMPv6", value: icmp ?? {} } };
    default:
      return undefined;
  }
}

function summaryOf({ protocol, tcpFlags: flags, icmp, family, ethertype }: DatapathEvent): string {
  if (family === undefined) return `EtherType 0x${ethertype.toString(16).padStart(4, "0")}`;
  if (icmp !== undefined) return icmpSummary(protocol === protocolNumbers.ICMP ? 4 : 6, icmp.type, icmp.code);
  switch (protocol) {
    case protocolNumbers.TCP:
      return tcpSummary(flags);
    case protocolNumbers.UDP:
      return "UDP";
    case protocolNumbers.SCTP:
      return "SCTP";
    default:
      return `IPv${family}`;
  }
}

function eventTypeOf(event: DatapathEvent): Partial<Flow> {
  if (event.kind === "drop") return { event_type: { type: MessageType.drop, sub_type: event.reason } };
  if (event.kind === "verdict" && (!event.unenforced || event.verdict === "DROPPED"))
    return { event_type: { type: MessageType["policy-verdict"] }, policy_match_type: event.match };
  const [subType, point] = tracePointOf(event);
  return {
    event_type: { type: MessageType.trace, sub_type: subType },
    trace_observation_point: point,
    trace_reason: traceReasonOf(event),
  };
}

/** Both directions of a connection between pods of a node are judged where it leaves; the second one is its arrival. */
function tracePointOf({ point, direction, reply }: DatapathEvent): readonly [number, TraceObservationPoint] {
  switch (point) {
    case "from-network":
      return [TracePoint["from-network"], TraceObservationPoint.FROM_NETWORK];
    case "to-network":
      return [TracePoint["to-network"], TraceObservationPoint.TO_NETWORK];
    case "to-endpoint":
      return [TracePoint["to-endpoint"], TraceObservationPoint.TO_ENDPOINT];
    case "from-endpoint":
    case "unknown":
      return (direction === "ingress") === reply
        ? [TracePoint["from-endpoint"], TraceObservationPoint.FROM_ENDPOINT]
        : [TracePoint["to-endpoint"], TraceObservationPoint.TO_ENDPOINT];
  }
}

function traceReasonOf({ related, reply, kind, rejudged }: DatapathEvent): TraceReason {
  if (related) return TraceReason.RELATED;
  if (reply) return TraceReason.REPLY;
  return kind === "trace" || rejudged ? TraceReason.ESTABLISHED : TraceReason.NEW;
}

/** Other drops come before conntrack: whether they were replies is known only if the kernel says so. */
function replyOf({ kind, reply }: DatapathEvent): Partial<Flow> {
  if (reply) return { is_reply: true, reply: true };
  return kind === "drop" ? {} : { is_reply: false };
}

function policiesOf(direction: Direction, verdict: DatapathEvent["verdict"], rules: readonly RuleRef[]): Partial<Flow> {
  if (rules.length === 0) return {};
  const policies = rules.map(policyOf);
  const denied = verdict === "DROPPED" || verdict === "AUDIT";
  if (direction === "ingress") return denied ? { ingress_denied_by: policies } : { ingress_allowed_by: policies };
  return denied ? { egress_denied_by: policies } : { egress_allowed_by: policies };
}

function policyOf({ kind, name, namespace, uid, path }: RuleRef): Policy {
  const label = (key: string, value: string): string => `k8s:io.cilium.k8s.policy.${key}=${value}`;
  const labels = [label("derived-from", kind), label("name", name)];
  if (namespace !== undefined && namespace !== "") labels.push(label("namespace", namespace));
  if (uid !== undefined) labels.push(label("uid", uid));
  if (path !== "") labels.push(`tsilium:rule=${path}`);
  return { kind, name, labels, ...(namespace !== undefined && { namespace }) };
}
