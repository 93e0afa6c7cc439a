// Between the vocabulary and the ABI's keys: where prefix lengths are counted from, which codes stand for which words.
import { Direction as DirectionCode, type IpcacheKey, IpFamily, type PolicyKey, PolicyPrefix } from "#contracts/bpf";
import type { Direction, IpAddress, NumericIdentity, PolicySetId, Prefix } from "#core/model";

/** Bits of an ipcache key before the address: family and its padding. */
const IPCACHE_HEAD = 32;

/** The ipcache key of a prefix. */
export function ipcacheKey(prefix: Prefix): IpcacheKey {
  const family = prefix.family === 4 ? IpFamily.IPV4 : IpFamily.IPV6;
  return { prefixlen: IPCACHE_HEAD + prefix.length, family, addr: prefix.bytes };
}

/** The opposite of `ipcacheKey`. */
export function ipcachePrefix(key: IpcacheKey): Prefix {
  return { family: key.family === IpFamily.IPV4 ? 4 : 6, bytes: key.addr, length: key.prefixlen - IPCACHE_HEAD };
}

/** What a policy entry matches, in words. */
export interface PolicyMatchKey {
  readonly set: PolicySetId;
  /** 0: any peer. */
  readonly identity: NumericIdentity;
  readonly direction: Direction;
  /** IP protocol number; 0: any, and then any port too. */
  readonly protocol: number;
  /** First port of the block. */
  readonly port: number;
  /** How many leading bits of the port count: 16 = that port alone, 0 = any port. A range is several such blocks. */
  readonly portBits: number;
}

/** The policy map's key. Throws RangeError for a port without a protocol, or bits set behind the prefix. */
export function policyKey(match: PolicyMatchKey): PolicyKey {
  const { protocol, port, portBits } = match;
  if (protocol === 0 && portBits > 0) throw new RangeError("a policy entry for any protocol can't name a port");
  if (portBits < 0 || portBits > 16 || (port & (0xffff >> portBits)) !== 0 || port > 0xffff)
    throw new RangeError(`port ${port} with ${portBits} bits is no block of ports`);
  return {
    prefixlen: protocol === 0 ? PolicyPrefix.L3 : PolicyPrefix.PROTO + portBits,
    set: match.set,
    identity: match.identity,
    direction: match.direction === "ingress" ? DirectionCode.INGRESS : DirectionCode.EGRESS,
    protocol,
    dport: port,
  };
}

/** The opposite of `policyKey`. */
export function decodePolicyKey(key: PolicyKey): PolicyMatchKey {
  return {
    set: key.set,
    identity: key.identity,
    direction: key.direction === DirectionCode.INGRESS ? "ingress" : "egress",
    protocol: key.prefixlen < PolicyPrefix.PROTO ? 0 : key.protocol,
    port: key.dport,
    portBits: Math.max(0, key.prefixlen - PolicyPrefix.PROTO),
  };
}

/** The ABI's `l4_prefix` of an entry under this key. */
export function l4Prefix(key: PolicyKey): number {
  return key.prefixlen - PolicyPrefix.L3;
}

/** An IPv4 address as the host-order number that a __be32 field takes. */
export function ipv4Number(address: IpAddress): number {
  return new DataView(address.bytes.buffer, address.bytes.byteOffset).getUint32(0);
}

/** The opposite of `ipv4Number`. */
export function ipv4Address(number: number): IpAddress {
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setUint32(0, number);
  return { family: 4, bytes };
}
