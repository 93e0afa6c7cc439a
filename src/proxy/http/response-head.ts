/** What a response's head means for the connection; or why it can't be relayed. */
import { bodyUntilClose, chunkedBody, type Framing, FramingFields, noBody } from "./fields.ts";
import type { HeadReader } from "./head-reader.ts";
import type { Refusal } from "./refusal.ts";

/** A response's head. Its bytes are relayed as they came. */
export interface ResponseHead {
  readonly status: number;
  /** 1xx but 101: more heads follow for the same request. */
  readonly interim: boolean;
  /** 101, or 2xx to CONNECT: what follows, both ways, is not HTTP of this connection. */
  readonly switches: boolean;
  readonly framing: Framing;
  /** Whether the server will read another request on the connection. */
  readonly keepAlive: boolean;
}

/** What of the request decides how its response is framed. */
export interface ResponseContext {
  readonly method: string;
  readonly upgrade: string | undefined;
}

/** Interprets the head that a `response` reader has completed, as the answer to `request` (RFC 9112 section 6.3). */
export function parseResponseHead(reader: HeadReader, request: ResponseContext): ResponseHead | Refusal {
  const fields = new FramingFields();
  for (let mark = 0; mark < reader.markCount; mark += 4) fields.take(reader, mark);
  if (fields.refusal !== undefined) return fields.refusal;
  const status = reader.statusCode;
  const switches = status === 101 || (request.method === "CONNECT" && status >= 200 && status < 300);
  if (status === 101 && request.upgrade === undefined) return "unexpected-status";
  if (fields.chunked && fields.contentLength !== undefined) return "length-and-chunked";
  if (fields.chunked && reader.minorVersion === 0) return "transfer-encoding-in-1.0";
  const { close, keepAlive } = fields.connection;
  const bodiless = status < 200 || status === 204 || status === 304 || request.method === "HEAD" || switches;
  const framing = bodiless ? noBody : framingOf(fields);
  return {
    status,
    interim: status < 200 && !switches,
    switches,
    framing,
    keepAlive: !close && (reader.minorVersion === 1 || keepAlive) && framing.kind !== "until-close",
  };
}

function framingOf(fields: FramingFields): Framing {
  if (fields.chunked) return chunkedBody;
  if (fields.contentLength === undefined) return bodyUntilClose;
  return fields.contentLength === 0 ? noBody : { kind: "length", lengthBytes: fields.contentLength };
}
