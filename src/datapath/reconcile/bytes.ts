/** Addresses as the kernel's structs hold them; what #datapath/maps does not have. */

/** Sixteen zeroes. Treat as immutable. */
export const zeroAddress = new Uint8Array(16);

/** The mask of an IPv4 prefix length. */
export function ipv4Mask(length: number): number {
  return length === 0 ? 0 : (0xffff_ffff << (32 - length)) >>> 0;
}

/** `02:00:00:00:00:01` as six bytes. */
export function macBytes(text: string): Uint8Array {
  return Uint8Array.from(text.split(":"), (part) => Number.parseInt(part, 16));
}
