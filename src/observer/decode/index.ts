/**
 * Ring-buffer records of the datapath (`struct verdict_event`) -> events. Accepts any bytes: what is not an event is
 * undefined, and a code that this version doesn't know stays a number.
 * @module
 */
export { type DatapathEvent, decodeEvent, type EventKind, type EventPeer, type EventPoint } from "./event.ts";
export { eventField, eventSizeBytes, isEvent } from "./peek.ts";
