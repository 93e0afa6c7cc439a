/** A datapath event in the product's words. */
import {
  Direction as DirectionCode,
  EventFlags,
  EventType,
  IpFamily as FamilyCode,
  ObservationPoint,
  Verdict as VerdictCode,
  verdictEventCodec,
} from "#contracts/bpf";
import {
  type Direction,
  type EndpointId,
  formatAddress,
  type NumericIdentity,
  type PolicySetId,
  type Verdict,
} from "#core/model";
import { isEvent } from "./peek.ts";

/**
 * - `verdict`: a direction was judged, at a connection's first packet or again after a policy change.
 * - `drop`: a packet was dropped for another reason. `trace`: a connection closed, or was first answered.
 */
export type EventKind = "verdict" | "drop" | "trace";

/** Where in the kernel it arose; `unknown` from a datapath newer than this program. */
export type EventPoint = "from-endpoint" | "to-endpoint" | "from-network" | "to-network" | "unknown";

/** One end of the packet. `identity` and `endpoint` are 0 if unknown or not of this node; no `address`: not IP. */
export interface EventPeer {
  readonly identity: NumericIdentity;
  readonly endpoint: EndpointId;
  readonly address?: string;
  /** Host order; 0 for protocols without ports. */
  readonly port: number;
}

/** What the kernel said. Source and destination are the packet's; `direction` is the connection's, as the subject sees it. */
export interface DatapathEvent {
  readonly kind: EventKind;
  /** Nanoseconds of CLOCK_MONOTONIC. */
  readonly timeNs: bigint;
  readonly verdict: Verdict;
  /** Hubble's drop reason; 0 = none. */
  readonly reason: number;
  readonly direction: Direction;
  readonly point: EventPoint;
  /** Undefined: not IP. */
  readonly family: 4 | 6 | undefined;
  /** IP protocol number. */
  readonly protocol: number;
  /** The byte of the TCP header: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128. */
  readonly tcpFlags: number;
  /** Of ICMP and ICMPv6. */
  readonly icmp?: { readonly type: number; readonly code: number };
  /** How specific the deciding entry was; Hubble's policy_match_type. */
  readonly match: number;
  readonly reply: boolean;
  readonly rejudged: boolean;
  readonly related: boolean;
  readonly unenforced: boolean;
  /** The endpoint whose policy spoke, or that dropped it. */
  readonly subject: EndpointId;
  readonly source: EventPeer;
  readonly destination: EventPeer;
  readonly policySet: PolicySetId;
  readonly policyCookie: number;
  readonly lengthBytes: number;
  readonly ifindex: number;
  readonly ethertype: number;
  readonly proxyPort: number;
}

const kinds: ReadonlyMap<number, EventKind> = new Map([
  [EventType.VERDICT, "verdict"],
  [EventType.DROP, "drop"],
  [EventType.TRACE, "trace"],
]);
const verdicts: ReadonlyMap<number, Verdict> = new Map(
  (Object.keys(VerdictCode) as (keyof typeof VerdictCode)[]).map((name) => [VerdictCode[name], name]),
);
const points: ReadonlyMap<number, EventPoint> = new Map([
  [ObservationPoint.FROM_ENDPOINT, "from-endpoint"],
  [ObservationPoint.TO_ENDPOINT, "to-endpoint"],
  [ObservationPoint.FROM_NETWORK, "from-network"],
  [ObservationPoint.TO_NETWORK, "to-network"],
]);
const IPPROTO_ICMP = 1;
const IPPROTO_ICMPV6 = 58;

/**
 * Decodes the record of `length` bytes at `offset`; undefined if it is none of ours. Never throws, and keeps nothing of
 * the view's memory. A verdict that this version doesn't know reads as ERROR.
 */
export function decodeEvent(
  view: DataView,
  offset = 0,
  length: number = view.byteLength - offset,
): DatapathEvent | undefined {
  if (!isEvent(view, offset, length)) return undefined;
  const raw = verdictEventCodec.read(view, offset);
  const family = raw.family === FamilyCode.IPV4 ? 4 : raw.family === FamilyCode.IPV6 ? 6 : undefined;
  const isIcmp = family !== undefined && (raw.protocol === IPPROTO_ICMP || raw.protocol === IPPROTO_ICMPV6);
  const peer = (identity: NumericIdentity, endpoint: EndpointId, bytes: Uint8Array, port: number): EventPeer => ({
    identity,
    endpoint,
    ...(family !== undefined && { address: formatAddress({ family, bytes }) }),
    port: isIcmp ? 0 : port,
  });
  return {
    kind: kinds.get(raw.type)!,
    timeNs: raw.timeNs,
    verdict: verdicts.get(raw.verdict) ?? "ERROR",
    reason: raw.reason,
    direction: raw.direction === DirectionCode.EGRESS ? "egress" : "ingress",
    point: points.get(raw.point) ?? "unknown",
    family,
    protocol: raw.protocol,
    tcpFlags: raw.tcpFlags,
    ...(isIcmp && { icmp: { type: raw.sport, code: raw.dport } }),
    match: raw.match,
    reply: (raw.flags & EventFlags.REPLY) !== 0,
    rejudged: (raw.flags & EventFlags.REJUDGED) !== 0,
    related: (raw.flags & EventFlags.RELATED) !== 0,
    unenforced: (raw.flags & EventFlags.UNENFORCED) !== 0,
    subject: raw.subject,
    source: peer(raw.srcIdentity, raw.srcEp, raw.src, raw.sport),
    destination: peer(raw.dstIdentity, raw.dstEp, raw.dst, raw.dport),
    policySet: raw.policySet,
    policyCookie: raw.policyCookie,
    lengthBytes: raw.length,
    ifindex: raw.ifindex,
    ethertype: raw.ethertype,
    proxyPort: raw.proxyPort,
  };
}
