/** Raw events for tests: the kernel's bytes from the fields that matter. */
import {
  Direction,
  EventType,
  IpFamily,
  ObservationPoint,
  PolicyMatch,
  Verdict,
  type VerdictEvent,
  verdictEventCodec,
} from "#contracts/bpf";
import type { EndpointId, NumericIdentity, PolicySetId } from "#core/model";
import { parseAddress } from "#core/model";

/** Fields of a raw event; addresses as text. Default: a TCP SYN from endpoint 1 (10.217.0.2:41234) to 2 (10.217.0.3:80), forwarded at ingress. */
export interface RawEvent extends Partial<Omit<VerdictEvent, "src" | "dst">> {
  readonly src?: string;
  readonly dst?: string;
}

/** An event as the kernel writes it. */
export function encodeEvent(fields: RawEvent = {}): DataView {
  const { src = "10.217.0.2", dst = "10.217.0.3", ...rest } = fields;
  const source = parseAddress(src)!;
  const bytes = verdictEventCodec.encode({
    timeNs: 1_000_000_000n,
    type: EventType.VERDICT,
    verdict: Verdict.FORWARDED,
    reason: 0,
    direction: Direction.INGRESS,
    point: ObservationPoint.FROM_ENDPOINT,
    family: source.family === 4 ? IpFamily.IPV4 : IpFamily.IPV6,
    protocol: 6,
    tcpFlags: 2,
    match: PolicyMatch.L3_L4,
    flags: 0,
    subject: 2 as EndpointId,
    srcIdentity: 1001 as NumericIdentity,
    dstIdentity: 1002 as NumericIdentity,
    srcEp: 1 as EndpointId,
    dstEp: 2 as EndpointId,
    sport: 41234,
    dport: 80,
    src: source.bytes,
    dst: parseAddress(dst)!.bytes,
    policySet: 7 as PolicySetId,
    policyCookie: 3,
    length: 60,
    ifindex: 12,
    ethertype: source.family === 4 ? 0x0800 : 0x86dd,
    proxyPort: 0,
    ...rest,
  });
  return new DataView(bytes.buffer);
}
