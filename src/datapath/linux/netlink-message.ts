// Netlink messages and attributes as bytes: https://docs.kernel.org/userspace-api/netlink/intro.html. No sockets here.

export const Flag = { REQUEST: 1, ACK: 4, DUMP: 0x300, REPLACE: 0x100, EXCL: 0x200, CREATE: 0x400 } as const;
export const MessageType = { ERROR: 2, DONE: 3 } as const;
const HEADER = 16;
const NESTED = 0x8000;
const F_DUMP_INTR = 0x10;
const F_CAPPED = 0x100;
const F_ACK_TLVS = 0x200;

/** A request without its header. */
export interface Request {
  readonly type: number;
  readonly flags: number;
  readonly body: Uint8Array;
}

export type AttributeValue = number | string | Uint8Array | readonly Uint8Array[];

/** One attribute, padded to 4 bytes. Numbers are u32, texts end in zero, arrays are nested attributes. */
export function attribute(type: number, value: AttributeValue): Buffer {
  const nested = Array.isArray(value);
  const payload =
    typeof value === "number"
      ? u32(value)
      : typeof value === "string"
        ? Buffer.from(`${value}\0`)
        : nested
          ? Buffer.concat(value as readonly Uint8Array[])
          : (value as Uint8Array);
  const bytes = Buffer.alloc((4 + payload.length + 3) & ~3);
  bytes.writeUInt16LE(4 + payload.length, 0);
  bytes.writeUInt16LE(nested ? type | NESTED : type, 2);
  bytes.set(payload, 4);
  return bytes;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
}

/** Several requests as one datagram, numbered from `sequence` on. */
export function encodeRequests(requests: readonly Request[], sequence: number): Buffer {
  return Buffer.concat(
    requests.map(({ type, flags, body }, i) => {
      const bytes = Buffer.alloc((HEADER + body.length + 3) & ~3);
      bytes.writeUInt32LE(HEADER + body.length, 0);
      bytes.writeUInt16LE(type, 4);
      bytes.writeUInt16LE(flags | Flag.REQUEST, 6);
      bytes.writeUInt32LE((sequence + i) >>> 0, 8);
      bytes.set(body, HEADER);
      return bytes;
    }),
  );
}

export interface Reply {
  readonly type: number;
  readonly sequence: number;
  /** The dump was disturbed by a change: what was read may be inconsistent. */
  readonly interrupted: boolean;
  readonly payload: Buffer;
  /** For ERROR messages: 0 is an acknowledgement. */
  readonly errno: number;
  /** The kernel's own words, from its extended acknowledgement; empty without. */
  readonly explanation: string;
}

/** The messages of one datagram. */
export function* decodeReplies(datagram: Buffer): Iterable<Reply> {
  for (let at = 0; at + HEADER <= datagram.length; ) {
    const length = datagram.readUInt32LE(at);
    if (length < HEADER || at + length > datagram.length) return;
    const type = datagram.readUInt16LE(at + 4);
    const flags = datagram.readUInt16LE(at + 6);
    const payload = datagram.subarray(at + HEADER, at + length);
    const isError = type === MessageType.ERROR;
    yield {
      type,
      sequence: datagram.readUInt32LE(at + 8),
      interrupted: (flags & F_DUMP_INTR) !== 0,
      payload,
      errno: isError || (type === MessageType.DONE && payload.length >= 4) ? Math.abs(payload.readInt32LE(0)) : 0,
      explanation: isError && (flags & F_ACK_TLVS) !== 0 ? explanation(payload, (flags & F_CAPPED) !== 0) : "",
    };
    at += (length + 3) & ~3;
  }
}

/** In an ERROR payload: errno, the request's header (whole request unless capped), then attributes; 1 is the text. */
function explanation(payload: Buffer, capped: boolean): string {
  const request = capped ? HEADER : (payload.readUInt32LE(4) + 3) & ~3;
  const text = decodeAttributes(payload.subarray(4 + request)).get(1);
  return text === undefined ? "" : zeroTerminated(text);
}

/** Attribute type (without its flag bits) -> payload; of repeated attributes the last. */
export function decodeAttributes(bytes: Buffer): Map<number, Buffer> {
  const attributes = new Map<number, Buffer>();
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = bytes.readUInt16LE(at);
    if (length < 4 || at + length > bytes.length) break;
    attributes.set(bytes.readUInt16LE(at + 2) & 0x3fff, bytes.subarray(at + 4, at + length));
    at += (length + 3) & ~3;
  }
  return attributes;
}

export function zeroTerminated(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString("utf8", 0, end < 0 ? bytes.length : end);
}
