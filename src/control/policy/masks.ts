/** Port ranges as the trie of the kernel can hold them: masked ports. */

/** Ports whose first `prefix` bits are those of `port`. */
export interface MaskedPort {
  readonly port: number;
  /** 0..16; 16 = exactly this port, 0 = every port. */
  readonly prefix: number;
}

/** The fewest masked ports that cover first..last exactly; at most 30, in ascending order. */
export function maskRange(first: number, last: number): MaskedPort[] {
  const out: MaskedPort[] = [];
  let port = first;
  while (port <= last) {
    // The largest block that begins here and ends in time.
    let size = port === 0 ? 65536 : port & -port;
    while (port + size - 1 > last) size /= 2;
    out.push({ port, prefix: 16 - Math.log2(size) });
    port += size;
  }
  return out;
}

/** `80`, `80-83`. */
export function formatMaskedPort({ port, prefix }: MaskedPort): string {
  return prefix === 16 ? String(port) : `${port}-${port + 2 ** (16 - prefix) - 1}`;
}
