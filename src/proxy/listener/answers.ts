/** The proxy's own responses. */
import { builtinHttp } from "#core/runtime";

/** Which response, and to what. */
export interface Answer {
  readonly status: number;
  /** Without the line end, which is added. */
  readonly text: string;
  /** The connection ends behind it. */
  readonly close: boolean;
  /** The answer to a HEAD request has no body. */
  readonly headOnly: boolean;
  /** An HTTP/1.0 client has to be told that the connection stays. */
  readonly minorVersion: 0 | 1;
}

/** What Cilium's proxy answers to a denied request. */
export const deniedText = "Access denied";

const { STATUS_CODES } = builtinHttp();
const cache = new Map<string, Buffer>();

/** The bytes of an answer. */
export function formatAnswer({ status, text, close, headOnly, minorVersion }: Answer): Buffer {
  const key = `${status} ${close} ${headOnly} ${minorVersion} ${text}`;
  const cached = cache.get(key);
  if (cached !== undefined) return cached;
  const connection = close ? "Connection: close\r\n" : minorVersion === 0 ? "Connection: keep-alive\r\n" : "";
  const body = `${text}\r\n`;
  const head =
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n` +
    `Content-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(body)}\r\n${connection}\r\n`;
  const bytes = Buffer.from(headOnly ? head : head + body);
  // Texts that name an address vary; the few that matter for speed come first.
  if (cache.size < 256) cache.set(key, bytes);
  return bytes;
}
