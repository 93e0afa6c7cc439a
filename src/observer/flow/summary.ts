/** One line about a packet, in Hubble's words. */
import type { TCPFlags } from "#contracts/hubble";

const flagBits = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16, URG: 32, ECE: 64, CWR: 128 } as const;
const flagOrder = ["SYN", "ACK", "RST", "FIN", "PSH", "URG", "ECE", "CWR"] as const;

/** The flags byte of a TCP header as a message. */
export function tcpFlags(byte: number): TCPFlags {
  const flags: { -readonly [K in keyof TCPFlags]: boolean } = {};
  for (const name of flagOrder) if ((byte & flagBits[name]) !== 0) flags[name] = true;
  return flags;
}

/** `TCP Flags: SYN, ACK`. */
export function tcpSummary(byte: number): string {
  return `TCP Flags: ${flagOrder.filter((name) => (byte & flagBits[name]) !== 0).join(", ")}`;
}

const icmp4: Readonly<Record<number, string>> = {
  0: "EchoReply",
  3: "DestinationUnreachable",
  4: "SourceQuench",
  5: "Redirect",
  8: "EchoRequest",
  9: "RouterAdvertisement",
  10: "RouterSolicitation",
  11: "TimeExceeded",
  12: "ParameterProblem",
  13: "TimestampRequest",
  14: "TimestampReply",
};
const icmp6: Readonly<Record<number, string>> = {
  1: "DestinationUnreachable",
  2: "PacketTooBig",
  3: "TimeExceeded",
  4: "ParameterProblem",
  128: "EchoRequest",
  129: "EchoReply",
  133: "RouterSolicitation",
  134: "RouterAdvertisement",
  135: "NeighborSolicitation",
  136: "NeighborAdvertisement",
  137: "Redirect",
};

/** `ICMPv4 EchoRequest`; a type without a name by its number, a code other than 0 in brackets. */
export function icmpSummary(family: 4 | 6, type: number, code: number): string {
  const name = (family === 4 ? icmp4 : icmp6)[type] ?? String(type);
  return `ICMPv${family} ${name}${code === 0 ? "" : `(${code})`}`;
}
