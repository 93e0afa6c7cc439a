/** Words about traffic: directions, protocols, verdicts. Their kernel codes are generated into #contracts/bpf. */

/** As the subject of the policy sees it. */
export type Direction = "ingress" | "egress";

/** What befell a packet or request; Hubble's names. */
export type Verdict = "FORWARDED" | "DROPPED" | "ERROR" | "AUDIT" | "REDIRECTED";

/** IP protocol numbers by the names that policies use. `ANY` is 0: no restriction. */
export const protocolNumbers = {
  ANY: 0,
  ICMP: 1,
  IGMP: 2,
  IPIP: 4,
  TCP: 6,
  UDP: 17,
  IPV6: 41,
  GRE: 47,
  ESP: 50,
  AH: 51,
  ICMPV6: 58,
  VRRP: 112,
  SCTP: 132,
} as const;

/** A protocol name. */
export type ProtocolName = keyof typeof protocolNumbers;

/** Name of a protocol number; the number as text if it has none here. */
export function protocolName(number: number): string {
  return Object.entries(protocolNumbers).find(([, value]) => value === number)?.[0] ?? String(number);
}
