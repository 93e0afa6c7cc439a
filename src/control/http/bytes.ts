/** Sets of bytes, as 256-bit numbers: bit n is set if byte n is in the set. */

/** A set of bytes. */
export type ByteSet = bigint;

/** No byte. */
export const noByte: ByteSet = 0n;

/** The bytes `first` to `last`; nothing if there are none between. */
export function byteRange(first: number, last: number): ByteSet {
  return first > last ? noByte : ((1n << BigInt(last - first + 1)) - 1n) << BigInt(first);
}

/** The characters of a text, all of them below 256. */
export function bytesOf(text: string): ByteSet {
  let set = noByte;
  for (const character of text) set |= 1n << BigInt(character.charCodeAt(0));
  return set;
}

/** What patterns are about: methods, targets and hosts that a strict parser lets through are ASCII. */
export const ascii = byteRange(0, 127);
export const digits = byteRange(0x30, 0x39);
export const upperCase = byteRange(0x41, 0x5a);
export const lowerCase = byteRange(0x61, 0x7a);
export const wordBytes = digits | upperCase | lowerCase | bytesOf("_");

/** What a method and a header's name are made of (RFC 9110, `tchar`). */
export const tokenBytes = digits | upperCase | lowerCase | bytesOf("!#$%&'*+-.^_`|~");
/** What a target is made of: visible ASCII without `#`. */
export const targetBytes = byteRange(0x21, 0x7e) & ~bytesOf("#");
/** What a host is made of, its port included. */
export const hostBytes = digits | upperCase | lowerCase | bytesOf("-._~%!$&'()*+;=:[]");
/** What a header's value is made of. */
export const valueBytes = (byteRange(0x20, 255) & ~(1n << 127n)) | (1n << 9n);

/** Letters in both cases. */
export function foldCase(set: ByteSet): ByteSet {
  return set | ((set & upperCase) << 32n) | ((set & lowerCase) >> 32n);
}

const tables = new Map<ByteSet, Uint8Array>();

/** A table of 256: 1 for the bytes in the set. */
export function byteTable(set: ByteSet): Uint8Array {
  let table = tables.get(set);
  if (table === undefined) {
    const text = set.toString(2).padStart(256, "0");
    table = Uint8Array.from({ length: 256 }, (_, byte) => (text[255 - byte] === "1" ? 1 : 0));
    if (tables.size > 1024) tables.clear();
    tables.set(set, table);
  }
  return table;
}
