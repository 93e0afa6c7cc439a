/** IP addresses and prefixes: text <-> 16 bytes, as the kernel's `struct ip_addr` holds them (IPv4 in the first four). */

/** IP version; the number that `enum ip_family` gives it is 1 for 4 and 2 for 6. */
export type IpFamily = 4 | 6;

/** An address. `bytes` is always 16 long; IPv4 uses the first four, the rest is zero. Treat as immutable. */
export interface IpAddress {
  readonly family: IpFamily;
  readonly bytes: Uint8Array;
}

/** A prefix; bits behind `length` are zero. A host prefix has length 32 or 128. */
export interface Prefix extends IpAddress {
  readonly length: number;
}

/** Parses an IPv4 (four decimal parts, no leading zeros) or IPv6 address (RFC 4291, with embedded IPv4); undefined if it is neither. */
export function parseAddress(text: string): IpAddress | undefined {
  const bytes = new Uint8Array(16);
  if (text.includes(":")) return parseIpv6(text, bytes) ? { family: 6, bytes } : undefined;
  return parseIpv4(text, bytes, 0) ? { family: 4, bytes } : undefined;
}

function parseIpv4(text: string, into: Uint8Array, at: number): boolean {
  const parts = text.split(".");
  if (parts.length !== 4) return false;
  for (const [i, part] of parts.entries()) {
    if (!/^(0|[1-9][0-9]{0,2})$/.test(part) || Number(part) > 255) return false;
    into[at + i] = Number(part);
  }
  return true;
}

function parseIpv6(text: string, into: Uint8Array): boolean {
  const halves = text.split("::");
  if (halves.length > 2) return false;
  const groups = (half: string): number[] | undefined => {
    if (half === "") return [];
    const out: number[] = [];
    const parts = half.split(":");
    for (const [i, part] of parts.entries()) {
      if (part.includes(".")) {
        const v4 = new Uint8Array(4);
        if (i !== parts.length - 1 || !parseIpv4(part, v4, 0)) return undefined;
        out.push((v4[0]! << 8) | v4[1]!, (v4[2]! << 8) | v4[3]!);
      } else {
        if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return undefined;
        out.push(Number.parseInt(part, 16));
      }
    }
    return out;
  };
  const head = groups(halves[0]!);
  const tail = halves.length === 2 ? groups(halves[1]!) : [];
  if (!head || !tail) return false;
  const count = head.length + tail.length;
  if (halves.length === 2 ? count > 7 : count !== 8) return false;
  // An embedded IPv4 address may only end the whole text.
  if (halves.length === 2 && halves[0]!.includes(".")) return false;
  const all = [...head, ...new Array<number>(8 - count).fill(0), ...tail];
  for (const [i, group] of all.entries()) {
    into[2 * i] = group >> 8;
    into[2 * i + 1] = group & 255;
  }
  return true;
}

/** The canonical text: dotted quad, or RFC 5952. */
export function formatAddress(address: IpAddress): string {
  const b = address.bytes;
  if (address.family === 4) return `${b[0]}.${b[1]}.${b[2]}.${b[3]}`;
  const groups = Array.from({ length: 8 }, (_, i) => (b[2 * i]! << 8) | b[2 * i + 1]!);
  let best = { at: -1, length: 1 };
  for (let i = 0; i < 8; i++) {
    let j = i;
    while (j < 8 && groups[j] === 0) j++;
    if (j - i > best.length) best = { at: i, length: j - i };
    if (j > i) i = j;
  }
  const hex = (part: number[]) => part.map((g) => g.toString(16)).join(":");
  if (groups.slice(0, 5).every((g) => g === 0) && groups[5] === 0xffff)
    return `::ffff:${b[12]}.${b[13]}.${b[14]}.${b[15]}`;
  if (best.at < 0) return hex(groups);
  return `${hex(groups.slice(0, best.at))}::${hex(groups.slice(best.at + best.length))}`;
}

/** An address as the prefix that holds only it. */
export function hostPrefix(address: IpAddress): Prefix {
  return { ...address, length: address.family === 4 ? 32 : 128 };
}

/** Parses `address/length`; undefined if it is not one. Bits behind the length are cleared. A bare address is not a prefix. */
export function parsePrefix(text: string): Prefix | undefined {
  const slash = text.indexOf("/");
  if (slash < 0) return undefined;
  const address = parseAddress(text.slice(0, slash));
  const digits = text.slice(slash + 1);
  if (!address || !/^(0|[1-9][0-9]{0,2})$/.test(digits)) return undefined;
  const length = Number(digits);
  if (length > (address.family === 4 ? 32 : 128)) return undefined;
  return maskAddress(address, length);
}

/** The prefix of that length which holds the address. */
export function maskAddress(address: IpAddress, length: number): Prefix {
  const bytes = new Uint8Array(16);
  for (let i = 0; i < 16; i++) {
    const bits = Math.min(8, Math.max(0, length - 8 * i));
    bytes[i] = address.bytes[i]! & (0xff00 >> bits);
  }
  return { family: address.family, bytes, length };
}

/** `address/length`. */
export function formatPrefix(prefix: Prefix): string {
  return `${formatAddress(prefix)}/${prefix.length}`;
}

/** Whether `inner` (an address or a prefix) lies wholly inside `outer`. */
export function prefixContains(outer: Prefix, inner: Prefix | IpAddress): boolean {
  if (outer.family !== inner.family) return false;
  if ("length" in inner && inner.length < outer.length) return false;
  const whole = outer.length >> 3;
  for (let i = 0; i < whole; i++) if (outer.bytes[i] !== inner.bytes[i]) return false;
  const rest = outer.length & 7;
  return rest === 0 || ((outer.bytes[whole]! ^ inner.bytes[whole]!) & (0xff00 >> rest) & 0xff) === 0;
}

/** The n-th address of a prefix, counted from its first (n = 0); for IPAM. */
export function addressAt(prefix: Prefix, n: number): IpAddress {
  const bytes = Uint8Array.from(prefix.bytes);
  let carry = n;
  for (let i = (prefix.family === 4 ? 4 : 16) - 1; i >= 0 && carry > 0; i--) {
    carry += bytes[i]!;
    bytes[i] = carry & 255;
    carry = Math.floor(carry / 256);
  }
  return { family: prefix.family, bytes };
}
