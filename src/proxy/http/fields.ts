/** Header lines by name, and the framing headers that requests and responses share. */
import { lowerCase, tokenCharacter } from "./characters.ts";
import type { HeadReader } from "./head-reader.ts";
import type { Refusal } from "./refusal.ts";

/** How the body behind a head ends. */
export type Framing =
  | { readonly kind: "none" }
  | { readonly kind: "length"; readonly lengthBytes: number }
  | { readonly kind: "chunked" }
  /** Responses only: the body ends with the connection. */
  | { readonly kind: "until-close" };

/** The framings without a number. */
export const noBody: Framing = { kind: "none" };
export const chunkedBody: Framing = { kind: "chunked" };
export const bodyUntilClose: Framing = { kind: "until-close" };

/** Whether the name of the header line at `mark` is `name` (lower case). */
export function isNamed(reader: HeadReader, mark: number, name: string): boolean {
  const { bytes, marks } = reader;
  const start = reader.offset + marks[mark]!;
  if (marks[mark + 1]! - marks[mark]! !== name.length) return false;
  for (let i = 0; i < name.length; i++) if (lowerCase[bytes[start + i]!] !== name.charCodeAt(i)) return false;
  return true;
}

/** The value of the header line at `mark`, without white space around it, one character per byte. */
export function valueAt(reader: HeadReader, mark: number): string {
  const { bytes, marks } = reader;
  const start = reader.offset + marks[mark + 2]!;
  let end = reader.offset + marks[mark + 3]!;
  while (end > start && (bytes[end - 1] === 0x20 || bytes[end - 1] === 9)) end--;
  return bytes.toString("latin1", start, end);
}

/** The value of all header lines of that name (lower case), joined by commas as RFC 9110 allows; undefined if there is none. */
export function joinedValue(reader: HeadReader, name: string): string | undefined {
  let joined: string | undefined;
  for (let mark = 0; mark < reader.markCount; mark += 4) {
    if (!isNamed(reader, mark, name)) continue;
    const value = valueAt(reader, mark);
    joined = joined === undefined ? value : `${joined},${value}`;
  }
  return joined;
}

/**
 * Whether the white space of the line is beyond doubt: nothing or one space in front of the value, nothing behind it.
 * Servers have been found that read `Transfer-Encoding:\tchunked` differently from their proxies.
 */
export function hasPlainWhiteSpace(reader: HeadReader, mark: number): boolean {
  const { bytes, offset, marks } = reader;
  const lead = marks[mark + 2]! - marks[mark + 1]! - 1;
  if (lead > 1 || (lead === 1 && bytes[offset + marks[mark + 2]! - 1] !== 0x20)) return false;
  if (marks[mark + 2] === marks[mark + 3]) return true;
  const last = bytes[offset + marks[mark + 3]! - 1];
  return last !== 0x20 && last !== 9;
}

/** A Content-Length: decimal digits without sign, leading zeros or list, below 2^53; undefined if it is not one. */
function parseContentLength(text: string): number | undefined {
  if (text.length === 0 || text.length > 16 || (text.length > 1 && text.startsWith("0"))) return undefined;
  let value = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  return Number.isSafeInteger(value) ? value : undefined;
}

/** What the Connection header asks for. */
export interface ConnectionOptions {
  readonly close: boolean;
  readonly keepAlive: boolean;
  readonly upgrade: boolean;
}

const neither: ConnectionOptions = { close: false, keepAlive: false, upgrade: false };
const justKeepAlive: ConnectionOptions = { close: false, keepAlive: true, upgrade: false };
const justClose: ConnectionOptions = { close: true, keepAlive: false, upgrade: false };

/** Parses a Connection value: a list of tokens, none of which may be a header that framing or routing hangs on. */
function parseConnection(value: string): ConnectionOptions | Refusal {
  switch (value) {
    case "keep-alive":
    case "Keep-Alive":
      return justKeepAlive;
    case "close":
      return justClose;
    case "":
      return neither;
  }
  let close = false;
  let keepAlive = false;
  let upgrade = false;
  for (const part of value.split(",")) {
    const option = part.replace(/^[ \t]+|[ \t]+$/g, "").toLowerCase();
    for (let i = 0; i < option.length; i++) if (tokenCharacter[option.charCodeAt(i)] !== 1) return "bad-connection";
    switch (option) {
      case "close":
        close = true;
        break;
      case "keep-alive":
        keepAlive = true;
        break;
      case "upgrade":
        upgrade = true;
        break;
      case "host":
      case "content-length":
      case "transfer-encoding":
        return "bad-connection";
    }
  }
  return { close, keepAlive, upgrade };
}

/** Everything that the two kinds of heads share, as it is gathered line by line. */
export class FramingFields {
  contentLength: number | undefined;
  chunked = false;
  connection: ConnectionOptions = neither;
  upgrade: string | undefined;
  refusal: Refusal | undefined;
  #connectionText: string | undefined;

  /** Takes the line at `mark` if it is one of these headers; false if it is none of them. */
  take(reader: HeadReader, mark: number): boolean {
    switch (reader.marks[mark + 1]! - reader.marks[mark]!) {
      case 7:
        if (!isNamed(reader, mark, "upgrade")) return false;
        this.upgrade = this.upgrade === undefined ? valueAt(reader, mark) : `${this.upgrade},${valueAt(reader, mark)}`;
        return true;
      case 10: {
        if (!isNamed(reader, mark, "connection")) return false;
        const value = valueAt(reader, mark);
        this.#connectionText = this.#connectionText === undefined ? value : `${this.#connectionText},${value}`;
        const options = parseConnection(this.#connectionText);
        if (typeof options === "string") this.refusal ??= options;
        else this.connection = options;
        return true;
      }
      case 14: {
        if (isNamed(reader, mark, "content_length")) this.refusal ??= "ambiguous-header-name";
        if (!isNamed(reader, mark, "content-length")) return false;
        if (this.contentLength !== undefined) this.refusal ??= "duplicate-content-length";
        if (!hasPlainWhiteSpace(reader, mark)) this.refusal ??= "ambiguous-white-space";
        const value = parseContentLength(valueAt(reader, mark));
        if (value === undefined) this.refusal ??= "bad-content-length";
        this.contentLength = value ?? 0;
        return true;
      }
      case 17:
        if (isNamed(reader, mark, "transfer_encoding")) this.refusal ??= "ambiguous-header-name";
        if (!isNamed(reader, mark, "transfer-encoding")) return false;
        if (!hasPlainWhiteSpace(reader, mark)) this.refusal ??= "ambiguous-white-space";
        if (this.chunked || valueAt(reader, mark) !== "chunked") this.refusal ??= "bad-transfer-encoding";
        this.chunked = true;
        return true;
    }
    return false;
  }
}
