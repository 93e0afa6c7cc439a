/** Character classes of RFC 9110/9112 as lookup tables: one load per byte. */

const table = (test: (code: number) => boolean): Uint8Array =>
  Uint8Array.from({ length: 256 }, (_, c) => (test(c) ? 1 : 0));
const among = (text: string) => (code: number) => text.includes(String.fromCharCode(code));

/** `tchar`: methods, header names. */
export const tokenCharacter = table((c) => /[!#$%&'*+\-.^_`|~0-9A-Za-z]/.test(String.fromCharCode(c)));

/** Visible ASCII but `#`: no client sends a fragment, and servers differ in where they cut it off. */
export const targetCharacter = table((c) => c > 0x20 && c < 0x7f && c !== 0x23);

/** Field values: visible ASCII, space, tab, and bytes above 127. */
export const valueCharacter = table((c) => c === 9 || (c >= 0x20 && c !== 0x7f));

/** Host: what names, IP literals and ports are made of; no user, no path, no comma. */
export const hostCharacter = table((c) => /[0-9A-Za-z]/.test(String.fromCharCode(c)) || among("-._~%!$&'()*+;=:[]")(c));

/** Value of a hex digit, 255 for anything else. */
export const hexValue = Uint8Array.from({ length: 256 }, (_, c) => {
  const digit = "0123456789abcdef".indexOf(String.fromCharCode(c).toLowerCase());
  return digit < 0 || c > 127 ? 255 : digit;
});

/** ASCII letters to lower case; all other bytes unchanged. */
export const lowerCase = Uint8Array.from({ length: 256 }, (_, c) => (c >= 0x41 && c <= 0x5a ? c + 32 : c));
