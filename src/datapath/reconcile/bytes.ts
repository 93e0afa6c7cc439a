/** Addresses as the kernel's structs hold them. */
import { type IpcacheKey, IpFamily } from "#contracts/bpf";
import type { IpAddress, Prefix } from "#core/model";

/** Sixteen zeroes. Treat as immutable. */
export const zeroAddress = new Uint8Array(16);

/** An IPv4 address as the number that `__be32` fields take. */
export function ipv4Number(address: IpAddress): number {
  return new DataView(address.bytes.buffer, address.bytes.byteOffset).getUint32(0);
}

/** The mask of an IPv4 prefix length. */
export function ipv4Mask(length: number): number {
  return length === 0 ? 0 : (0xffff_ffff << (32 - length)) >>> 0;
}

/** `02:00:00:00:00:01` as six bytes. */
export function macBytes(text: string): Uint8Array {
  return Uint8Array.from(text.split(":"), (part) => Number.parseInt(part, 16));
}

/** The key of a prefix: 32 bits of family and padding come before the address. */
export function ipcacheKey(prefix: Prefix): IpcacheKey {
  return {
    prefixlen: 32 + prefix.length,
    family: prefix.family === 4 ? IpFamily.IPV4 : IpFamily.IPV6,
    addr: prefix.bytes,
  };
}

/** The prefix of a key. */
export function ipcachePrefix(key: IpcacheKey): Prefix {
  return { family: key.family === IpFamily.IPV4 ? 4 : 6, bytes: key.addr, length: key.prefixlen - 32 };
}
