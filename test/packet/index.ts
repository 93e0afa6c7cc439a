/**
 * Packets built layer by layer, so that a test's row reads like the header it means:
 * `packet({ ipv4: { source: "10.0.0.1", destination: "10.0.0.2" }, tcp: { source: 40000, destination: 80, flags: "S" } })`.
 * Lengths and checksums are right unless a row says otherwise.
 */
import { parseAddress, protocolNumbers } from "#core/model";

/** Ethernet; the type follows from the next layer unless given. */
export interface Ethernet {
  readonly source?: string;
  readonly destination?: string;
  readonly type?: number;
  /** 802.1Q tags, outermost first. */
  readonly vlans?: readonly number[];
}

export interface Ipv4 {
  readonly source: string;
  readonly destination: string;
  readonly ttl?: number;
  readonly id?: number;
  /** In bytes; a multiple of eight. */
  readonly fragmentOffset?: number;
  readonly moreFragments?: boolean;
  /** A multiple of four bytes. */
  readonly options?: Uint8Array;
  /** Overrides: to contradict the bytes on purpose. */
  readonly headerWords?: number;
  readonly totalLength?: number;
  readonly protocol?: number;
}

export interface Ipv6 {
  readonly source: string;
  readonly destination: string;
  readonly hopLimit?: number;
  /** Protocol behind the extension headers. */
  readonly nextHeader?: number;
  readonly payloadLength?: number;
  /** Extension headers, whole; the first byte of each is set to what follows. */
  readonly extensions?: readonly { readonly type: number; readonly bytes: Uint8Array }[];
}

export interface Tcp {
  readonly source: number;
  readonly destination: number;
  /** Letters of F S R P A U; default "S". */
  readonly flags?: string;
  readonly seq?: number;
  readonly ack?: number;
  readonly headerWords?: number;
  readonly window?: number;
  readonly urgent?: number;
  /** Padded to a multiple of four bytes with NOPs. */
  readonly options?: Uint8Array;
  /** A sum that is not the packet's. */
  readonly badChecksum?: boolean;
}

/** UDP, or SCTP with a verification tag of zero. */
export interface Ports {
  readonly source: number;
  readonly destination: number;
}

export interface Icmp {
  readonly type: number;
  readonly code?: number;
  readonly id?: number;
  readonly seq?: number;
}

/** The layers of a packet, from the outside in. */
export interface PacketLayers {
  readonly ethernet?: Ethernet;
  readonly arp?: {
    readonly operation: 1 | 2;
    readonly senderMac: string;
    readonly senderIp: string;
    readonly targetIp: string;
  };
  readonly ipv4?: Ipv4;
  readonly ipv6?: Ipv6;
  readonly tcp?: Tcp;
  readonly udp?: Ports;
  readonly sctp?: Ports;
  /** ICMP or, under ipv6, ICMPv6. */
  readonly icmp?: Icmp;
  /** Bytes behind the last header. */
  readonly payload?: Uint8Array;
}

const mac = (text: string): Uint8Array => Uint8Array.from(text.split(":"), (part) => Number.parseInt(part, 16));

const address = (text: string, family: 4 | 6): Uint8Array => {
  const parsed = parseAddress(text);
  if (parsed?.family !== family) throw new Error(`${text} is no IPv${family} address`);
  return parsed.bytes.subarray(0, family === 4 ? 4 : 16);
};

/** The Internet checksum (RFC 1071) over the parts. */
export function checksum(...parts: readonly Uint8Array[]): number {
  let sum = 0;
  for (const part of parts) {
    for (let i = 0; i < part.length; i += 2) sum += (part[i]! << 8) | (part[i + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

const flagBits: Readonly<Record<string, number>> = { F: 1, S: 2, R: 4, P: 8, A: 16, U: 32 };

function tcpHeader(tcp: Tcp): Buffer {
  const options = tcp.options ?? new Uint8Array(0);
  const header = Buffer.alloc(20 + ((options.length + 3) & ~3), 1);
  header.fill(0, 0, 20);
  header.set(options, 20);
  header.writeUInt16BE(tcp.source, 0);
  header.writeUInt16BE(tcp.destination, 2);
  header.writeUInt32BE(tcp.seq ?? 1, 4);
  header.writeUInt32BE(tcp.ack ?? 0, 8);
  header[12] = (tcp.headerWords ?? header.length / 4) << 4;
  header[13] = [...(tcp.flags ?? "S")].reduce((bits, letter) => bits | (flagBits[letter] ?? 0), 0);
  header.writeUInt16BE(tcp.window ?? 65535, 14);
  header.writeUInt16BE(tcp.urgent ?? 0, 18);
  return header;
}

function udpHeader(udp: Ports, payload: Uint8Array): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt16BE(udp.source, 0);
  header.writeUInt16BE(udp.destination, 2);
  header.writeUInt16BE(8 + payload.length, 4);
  return header;
}

/** Its CRC is left out: nobody on the way checks it. */
function sctpHeader(sctp: Ports): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt16BE(sctp.source, 0);
  header.writeUInt16BE(sctp.destination, 2);
  return header;
}

function icmpHeader(icmp: Icmp): Buffer {
  const header = Buffer.from([icmp.type, icmp.code ?? 0, 0, 0, 0, 0, 0, 0]);
  header.writeUInt16BE(icmp.id ?? 0, 4);
  header.writeUInt16BE(icmp.seq ?? 0, 6);
  return header;
}

interface Transport {
  readonly protocol: number;
  readonly bytes: Buffer;
  /** Where the checksum stands, and whether it covers the pseudo header. */
  readonly checksumAt: number;
  readonly pseudo: boolean;
}

function transport(layers: PacketLayers): Transport {
  const payload = layers.payload ?? new Uint8Array(0);
  const join = (header: Buffer) => Buffer.concat([header, payload]);
  if (layers.tcp)
    return { protocol: protocolNumbers.TCP, bytes: join(tcpHeader(layers.tcp)), checksumAt: 16, pseudo: true };
  if (layers.udp)
    return { protocol: protocolNumbers.UDP, bytes: join(udpHeader(layers.udp, payload)), checksumAt: 6, pseudo: true };
  if (layers.sctp)
    return { protocol: protocolNumbers.SCTP, bytes: join(sctpHeader(layers.sctp)), checksumAt: -1, pseudo: false };
  if (layers.icmp) {
    const v6 = layers.ipv6 !== undefined;
    const protocol = v6 ? protocolNumbers.ICMPV6 : protocolNumbers.ICMP;
    return { protocol, bytes: join(icmpHeader(layers.icmp)), checksumAt: 2, pseudo: v6 };
  }
  return { protocol: 59, bytes: Buffer.from(payload), checksumAt: -1, pseudo: false };
}

function network(layers: PacketLayers): { readonly type: number; readonly bytes: Buffer } {
  const upper = transport(layers);
  const seal = (pseudoHeader: Buffer) => {
    if (upper.checksumAt < 0) return;
    const sum = checksum(...(upper.pseudo ? [pseudoHeader] : []), upper.bytes);
    const seen = layers.tcp?.badChecksum ? sum ^ 0x5555 : sum;
    upper.bytes.writeUInt16BE(seen === 0 && layers.udp ? 0xffff : seen, upper.checksumAt);
  };
  if (layers.ipv4) {
    const ip = layers.ipv4;
    const protocol = ip.protocol ?? upper.protocol;
    const options = ip.options ?? new Uint8Array(0);
    const header = Buffer.concat([Buffer.alloc(20), options]);
    header[0] = 0x40 | (ip.headerWords ?? header.length / 4);
    header.writeUInt16BE(ip.totalLength ?? header.length + upper.bytes.length, 2);
    header.writeUInt16BE(ip.id ?? 1, 4);
    header.writeUInt16BE((ip.moreFragments ? 0x2000 : 0) | ((ip.fragmentOffset ?? 0) >> 3), 6);
    header[8] = ip.ttl ?? 64;
    header[9] = protocol;
    header.set(address(ip.source, 4), 12);
    header.set(address(ip.destination, 4), 16);
    header.writeUInt16BE(checksum(header), 10);
    const pseudo = Buffer.alloc(12);
    header.copy(pseudo, 0, 12, 20);
    pseudo[9] = protocol;
    pseudo.writeUInt16BE(upper.bytes.length, 10);
    seal(pseudo);
    return { type: 0x0800, bytes: Buffer.concat([header, upper.bytes]) };
  }
  if (layers.ipv6) {
    const ip = layers.ipv6;
    const nextHeader = ip.nextHeader ?? upper.protocol;
    const extensions = (ip.extensions ?? []).map(({ bytes }, i, all) => {
      const extension = Buffer.from(bytes);
      extension[0] = all[i + 1]?.type ?? nextHeader;
      return extension;
    });
    const bytes = Buffer.concat([...extensions, upper.bytes]);
    const header = Buffer.alloc(40);
    header[0] = 0x60;
    header.writeUInt16BE(ip.payloadLength ?? bytes.length, 4);
    header[6] = ip.extensions?.[0]?.type ?? nextHeader;
    header[7] = ip.hopLimit ?? 64;
    header.set(address(ip.source, 6), 8);
    header.set(address(ip.destination, 6), 24);
    const pseudo = Buffer.alloc(40);
    header.copy(pseudo, 0, 8, 40);
    pseudo.writeUInt32BE(upper.bytes.length, 32);
    pseudo[39] = nextHeader;
    seal(pseudo);
    upper.bytes.copy(bytes, bytes.length - upper.bytes.length);
    return { type: 0x86dd, bytes: Buffer.concat([header, bytes]) };
  }
  if (layers.arp) {
    const arp = Buffer.alloc(28);
    arp.set([0, 1, 8, 0, 6, 4, 0, layers.arp.operation]);
    arp.set(mac(layers.arp.senderMac), 8);
    arp.set(address(layers.arp.senderIp, 4), 14);
    arp.set(address(layers.arp.targetIp, 4), 24);
    return { type: 0x0806, bytes: arp };
  }
  return { type: 0x88b5, bytes: Buffer.from(layers.payload ?? []) };
}

/** The frame's bytes. */
export function packet(layers: PacketLayers): Uint8Array {
  const inner = network(layers);
  const ethernet = layers.ethernet ?? {};
  const tags = (ethernet.vlans ?? []).flatMap((vlan) => [0x81, 0x00, (vlan >> 8) & 15, vlan & 255]);
  const type = ethernet.type ?? inner.type;
  return Buffer.concat([
    mac(ethernet.destination ?? "02:00:00:00:00:02"),
    mac(ethernet.source ?? "02:00:00:00:00:01"),
    Buffer.from(tags),
    Buffer.from([type >> 8, type & 255]),
    inner.bytes,
  ]);
}
