/** What a request's head means; or why it is refused. */
import { hexValue, hostCharacter } from "./characters.ts";
import {
  chunkedBody,
  type Framing,
  FramingFields,
  hasPlainWhiteSpace,
  isNamed,
  joinedValue,
  noBody,
  valueAt,
} from "./fields.ts";
import type { HeadReader } from "./head-reader.ts";
import type { Refusal } from "./refusal.ts";

/** A request's head, as judged. Its bytes are forwarded as they came. */
export interface RequestHead {
  readonly method: string;
  /** Origin form with the query; `*` for OPTIONS; host:port for CONNECT. */
  readonly target: string;
  readonly minorVersion: 0 | 1;
  /** Value of the Host header; empty where HTTP/1.0 leaves it out. */
  readonly host: string;
  readonly framing: Framing;
  /** Whether the client expects to send another request on the connection. */
  readonly keepAlive: boolean;
  readonly expectsContinue: boolean;
  /** Value of Upgrade if the connection is asked to switch protocols. */
  readonly upgrade: string | undefined;
  /** All values of a header (name in lower case) joined by commas; one character per byte. Valid until the reader is fed again. */
  header(name: string): string | undefined;
}

class ParsedRequestHead implements RequestHead {
  readonly #reader: HeadReader;
  readonly method: string;
  readonly target: string;
  readonly minorVersion: 0 | 1;
  readonly host: string;
  readonly framing: Framing;
  readonly keepAlive: boolean;
  readonly expectsContinue: boolean;
  readonly upgrade: string | undefined;

  constructor(
    reader: HeadReader,
    method: string,
    target: string,
    host: string,
    fields: FramingFields,
    expectsContinue: boolean,
  ) {
    this.#reader = reader;
    this.method = method;
    this.target = target;
    this.minorVersion = reader.minorVersion as 0 | 1;
    this.host = host;
    this.framing = fields.chunked
      ? chunkedBody
      : fields.contentLength
        ? { kind: "length", lengthBytes: fields.contentLength }
        : noBody;
    const { close, keepAlive, upgrade } = fields.connection;
    this.keepAlive = !close && (reader.minorVersion === 1 || keepAlive);
    this.expectsContinue = expectsContinue;
    this.upgrade = upgrade ? fields.upgrade : undefined;
  }

  header(name: string): string | undefined {
    return joinedValue(this.#reader, name);
  }
}

/** Interprets the head that a `request` reader has completed. */
export function parseRequestHead(reader: HeadReader): RequestHead | Refusal {
  const { bytes, offset, marks } = reader;
  const method = methodText(bytes, offset, reader.methodEnd);
  const target = reader.target.read(bytes, offset + reader.methodEnd + 1, offset + reader.targetEnd);
  const targetFault = checkTarget(method, target);
  if (targetFault !== undefined) return targetFault;
  const fields = new FramingFields();
  let host: string | undefined;
  let expectsContinue = false;
  for (let mark = 0; mark < reader.markCount; mark += 4) {
    if (fields.take(reader, mark)) continue;
    const nameLength = marks[mark + 1]! - marks[mark]!;
    if (nameLength === 4 && isNamed(reader, mark, "host")) {
      if (host !== undefined) return "duplicate-host";
      if (!hasPlainWhiteSpace(reader, mark)) return "ambiguous-white-space";
      host = reader.host.read(bytes, offset + marks[mark + 2]!, offset + marks[mark + 3]!);
      if (!isHost(host)) return "bad-host";
    } else if (nameLength === 6 && isNamed(reader, mark, "expect")) {
      if (valueAt(reader, mark).toLowerCase() !== "100-continue") return "bad-expect";
      expectsContinue = true;
    }
  }
  if (fields.refusal !== undefined) return fields.refusal;
  if (host === undefined && reader.minorVersion === 1) return "missing-host";
  if (fields.chunked && fields.contentLength !== undefined) return "length-and-chunked";
  if (fields.chunked && reader.minorVersion === 0) return "transfer-encoding-in-1.0";
  if (fields.connection.upgrade) {
    // The bytes behind an upgrade request belong to the new protocol; a body in between makes two readings possible.
    const hasBody = fields.chunked || (fields.contentLength ?? 0) > 0;
    if (reader.minorVersion === 0 || !fields.upgrade || hasBody) return "bad-upgrade";
  }
  if (method === "CONNECT" && (fields.chunked || fields.contentLength !== undefined)) return "bad-content-length";
  return new ParsedRequestHead(reader, method, target, host ?? "", fields, expectsContinue);
}

/** The common methods without making a string. */
function methodText(bytes: Buffer, offset: number, end: number): string {
  if (end === 3 && bytes[offset] === 0x47 && bytes[offset + 1] === 0x45 && bytes[offset + 2] === 0x54) return "GET";
  if (
    end === 4 &&
    bytes[offset] === 0x50 &&
    bytes[offset + 1] === 0x4f &&
    bytes[offset + 2] === 0x53 &&
    bytes[offset + 3] === 0x54
  )
    return "POST";
  return bytes.toString("latin1", offset, offset + end);
}

/** Origin form; `*` for OPTIONS; for CONNECT host and port. Absolute form is refused: only a forward proxy's clients need it. */
function checkTarget(method: string, target: string): Refusal | undefined {
  if (method === "CONNECT") {
    const colon = target.lastIndexOf(":");
    return colon > 0 && /^[0-9]{1,5}$/.test(target.slice(colon + 1)) && isHost(target) ? undefined : "bad-target";
  }
  if (target.charCodeAt(0) !== 0x2f) {
    if (target === "*" && method === "OPTIONS") return undefined;
    return /^[A-Za-z][A-Za-z0-9+.-]*:/.test(target) ? "absolute-form" : "bad-target";
  }
  if (!target.includes("%")) return undefined;
  const query = target.indexOf("?");
  const end = query < 0 ? target.length : query;
  for (let i = target.indexOf("%"); i >= 0 && i < end; i = target.indexOf("%", i + 1)) {
    const high = hexValue[target.charCodeAt(i + 1)] ?? 255;
    const low = hexValue[target.charCodeAt(i + 2)] ?? 255;
    if (high > 15 || low > 15 || i + 2 >= end) return "bad-percent-encoding";
    // C0 and C1 start only overlong forms of ASCII: a dot or a slash in disguise to a careless decoder.
    const overlong = high === 12 && low < 2 && target[i + 3] === "%" && /[89ab]/i.test(target[i + 4] ?? "");
    if (overlong) return "bad-percent-encoding";
  }
  return undefined;
}

function isHost(value: string): boolean {
  if (value.length === 0 || value.length > 255 + 6) return false;
  for (let i = 0; i < value.length; i++) if (hostCharacter[value.charCodeAt(i)] !== 1) return false;
  const bracket = value.startsWith("[") ? value.indexOf("]") : -1;
  if (bracket < 0) {
    if (/[[\]]/.test(value)) return false;
    const colon = value.indexOf(":");
    return colon < 0 || (colon > 0 && isPort(value.slice(colon + 1)));
  }
  const literal = value.slice(1, bracket);
  const rest = value.slice(bracket + 1);
  return /^[0-9A-Fa-f:.]{2,45}$/.test(literal) && (rest === "" || (rest.startsWith(":") && isPort(rest.slice(1))));
}

const isPort = (text: string): boolean => /^[0-9]{0,5}$/.test(text);
