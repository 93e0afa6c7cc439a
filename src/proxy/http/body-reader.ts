/** Finds where a body ends, without holding any of it. */
import { hexValue, tokenCharacter, valueCharacter } from "./characters.ts";
import { type Framing, isNamed, noBody } from "./fields.ts";
import { HeadReader } from "./head-reader.ts";
import type { Refusal } from "./refusal.ts";

const SIZE_FIRST = 0;
const SIZE = 1;
const EXTENSION_NAME = 2;
const EXTENSION_VALUE = 3;
const QUOTED = 4;
const QUOTED_PAIR = 5;
const AFTER_QUOTED = 6;
const SIZE_LF = 7;
const DATA = 8;
const DATA_CR = 9;
const DATA_LF = 10;
const TRAILERS = 11;

/** Extension bytes on one chunk-size line; more is nobody's use but an attacker's. */
const extensionLimitBytes = 1024;

/** Trailers that would change what the message is; RFC 9110 section 6.5.1 forbids them. */
const forbiddenTrailers = [
  "content-length",
  "transfer-encoding",
  "host",
  "connection",
  "trailer",
  "content-encoding",
  "expect",
  "upgrade",
];

/** Follows bodies, one after another: `start`, then `feed` until `done`. Chunk extensions and trailers are checked strictly and let through. */
export class BodyReader {
  #framing: Framing = noBody;
  #left = 0;
  #state = SIZE_FIRST;
  #digits = 0;
  #extensionBytes = 0;
  /** Characters so far of the extension's name or unquoted value. */
  #tokenBytes = 0;
  #trailers: HeadReader | undefined;
  done = true;
  /** Why the bytes are no such body; final. */
  refusal: Refusal | undefined;

  /** Begins a body. */
  start(framing: Framing): void {
    this.#framing = framing;
    this.#left = framing.kind === "length" ? framing.lengthBytes : 0;
    this.#state = SIZE_FIRST;
    this.#digits = 0;
    this.done = framing.kind === "none";
    this.refusal = undefined;
  }

  /** Reads `chunk[start .. end)` and returns where it stopped: behind the body, at `end`, or at the byte that is wrong. */
  feed(chunk: Buffer, start: number, end: number): number {
    switch (this.#framing.kind) {
      case "none":
        return start;
      case "until-close":
        return end;
      case "length": {
        const taken = Math.min(this.#left, end - start);
        this.#left -= taken;
        this.done = this.#left === 0;
        return start + taken;
      }
      case "chunked":
        return this.#feedChunked(chunk, start, end);
    }
  }

  #feedChunked(chunk: Buffer, start: number, end: number): number {
    let i = start;
    while (i < end) {
      const c = chunk[i]!;
      switch (this.#state) {
        case SIZE_FIRST:
          this.#digits = 0;
          this.#left = 0;
          this.#extensionBytes = 0;
          this.#tokenBytes = 0;
          if (hexValue[c] === 255) return this.#refuse(i);
          this.#state = SIZE;
          break;
        case SIZE: {
          const digit = hexValue[c]!;
          if (digit !== 255) {
            // 13 hex digits stay below 2^53.
            if (++this.#digits > 13) return this.#refuse(i);
            this.#left = this.#left * 16 + digit;
          } else if (c === 0x0d) this.#state = SIZE_LF;
          else if (c === 0x3b) this.#state = EXTENSION_NAME;
          else return this.#refuse(i);
          i++;
          break;
        }
        case EXTENSION_NAME:
        case EXTENSION_VALUE:
        case QUOTED:
        case QUOTED_PAIR:
        case AFTER_QUOTED:
          if (++this.#extensionBytes > extensionLimitBytes || !this.#extension(c)) return this.#refuse(i);
          i++;
          break;
        case SIZE_LF:
          if (c !== 0x0a) return this.#refuse(i);
          this.#state = this.#left === 0 ? TRAILERS : DATA;
          i++;
          break;
        case DATA: {
          const taken = Math.min(this.#left, end - i);
          this.#left -= taken;
          i += taken;
          if (this.#left === 0) this.#state = DATA_CR;
          break;
        }
        case DATA_CR:
          if (c !== 0x0d) return this.#refuse(i);
          this.#state = DATA_LF;
          i++;
          break;
        case DATA_LF:
          if (c !== 0x0a) return this.#refuse(i);
          this.#state = SIZE_FIRST;
          i++;
          break;
        case TRAILERS:
          return this.#feedTrailers(chunk, i, end);
      }
    }
    return i;
  }

  /** One byte of `;name[=value]`; false if it doesn't belong there. White space is never right: readers differ on it. */
  #extension(c: number): boolean {
    switch (this.#state) {
      case EXTENSION_NAME:
      case EXTENSION_VALUE: {
        if (tokenCharacter[c] === 1) {
          this.#tokenBytes++;
          return true;
        }
        if (c === 0x22 && this.#state === EXTENSION_VALUE && this.#tokenBytes === 0) {
          this.#state = QUOTED;
          return true;
        }
        if (this.#tokenBytes === 0) return false;
        this.#tokenBytes = 0;
        if (c !== 0x3d || this.#state !== EXTENSION_NAME) return this.#extensionEnd(c);
        this.#state = EXTENSION_VALUE;
        return true;
      }
      case QUOTED:
        if (c === 0x22) {
          this.#state = AFTER_QUOTED;
          this.#tokenBytes = 0;
        } else if (c === 0x5c) this.#state = QUOTED_PAIR;
        return valueCharacter[c] === 1;
      case QUOTED_PAIR:
        this.#state = QUOTED;
        return valueCharacter[c] === 1;
      default:
        return this.#extensionEnd(c);
    }
  }

  #extensionEnd(c: number): boolean {
    if (c === 0x0d) this.#state = SIZE_LF;
    else if (c === 0x3b) this.#state = EXTENSION_NAME;
    else return false;
    return true;
  }

  #feedTrailers(chunk: Buffer, start: number, end: number): number {
    this.#trailers ??= new HeadReader("trailers");
    const trailers = this.#trailers;
    const stopped = trailers.feed(chunk, start, end);
    if (trailers.refusal !== undefined) {
      this.refusal = trailers.refusal;
      return stopped;
    }
    if (!trailers.complete) return stopped;
    for (let mark = 0; mark < trailers.markCount; mark += 4) {
      if (forbiddenTrailers.some((name) => isNamed(trailers, mark, name))) {
        this.refusal = "bad-trailer";
        return start;
      }
    }
    this.#trailers = undefined;
    this.done = true;
    return stopped;
  }

  #refuse(at: number): number {
    this.refusal = "bad-chunk";
    return at;
  }
}
