/**
 * Ring-buffer records of the datapath -> events (`struct verdict_event`), access-log records (`struct http_event`). Accepts any bytes: what is not an event is
 * undefined, and a code that this version doesn't know stays a number.
 * @module
 */
export { type DatapathEvent, decodeEvent, type EventKind, type EventPeer, type EventPoint } from "./event.ts";
export {
  createHttpDecoder,
  type HttpDecoder,
  type HttpDecoderOptions,
  type HttpJudgement,
  type HttpReasons,
  isHttpEvent,
  textsOf,
} from "./http.ts";
export { eventField, eventSizeBytes, isEvent } from "./peek.ts";
