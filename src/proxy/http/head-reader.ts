/**
 * Finds the structure of a head in a stream of bytes: start line, header lines, the empty line. A state machine over
 * single bytes, so that the outcome can't depend on how the bytes were cut into chunks.
 */
import { targetCharacter, tokenCharacter, valueCharacter } from "./characters.ts";
import type { Refusal } from "./refusal.ts";
import { RepeatedText } from "./repeated-text.ts";

/** Bounds on heads: bytes of a whole head, bytes of a request target, number of header lines. */
export const headLimits = { headBytes: 64 * 1024, targetBytes: 16 * 1024, headers: 256, methodBytes: 32 } as const;

/** What a reader reads: a request's head, a response's, or the trailer section behind a chunked body. */
export type HeadKind = "request" | "response" | "trailers";

// States. Constants, not strings: the switch below runs once per line part, and V8 makes it a jump table.
const METHOD = 0;
const TARGET = 1;
const REQUEST_VERSION = 2;
const STATUS_VERSION = 3;
const STATUS_CODE = 4;
const AFTER_CODE = 5;
const REASON = 6;
const START_LF = 7;
const LINE = 8;
const NAME = 9;
const LEAD = 10;
const VALUE = 11;
const VALUE_LF = 12;
const LAST_LF = 13;
const COMPLETE = 14;
const REFUSED = 15;

const firstState = { request: METHOD, response: STATUS_VERSION, trailers: LINE } as const;
const versionText = Buffer.from("HTTP/1.");

/**
 * Reads one head after another. After `feed` look at `complete` and `refusal`; if neither, it wants more bytes.
 * The marks are offsets into `bytes`, from `offset` on, and hold until the next `feed`.
 */
export class HeadReader {
  readonly #kind: HeadKind;
  #state: number;
  /** Bytes of this head in earlier chunks; their copy is in #pending. */
  #seen = 0;
  #pending: Buffer | undefined;
  /** Position inside the version text, or digits of the status code seen. */
  #step = 0;

  /** The head's bytes, the empty line included, are `bytes[offset .. offset + length)`. */
  bytes: Buffer = versionText;
  offset = 0;
  length = 0;
  /** Why the bytes are no head; final. */
  refusal: Refusal | undefined;
  complete = false;

  methodEnd = 0;
  targetEnd = 0;
  /** 0 or 1. */
  minorVersion = 1;
  statusCode = 0;
  /** Four marks per header line, relative to the head: name start, name end, value start (behind white space), line end (before CR). */
  marks = new Uint32Array(64);
  /** How many of the marks are set. */
  markCount = 0;
  /** The texts of the last head on this connection: clients repeat themselves, and comparing is cheaper than making strings. */
  readonly target = new RepeatedText();
  readonly host = new RepeatedText();

  constructor(kind: HeadKind) {
    this.#kind = kind;
    this.#state = firstState[kind];
  }

  /** Whether some, but not all bytes of a head were seen. */
  get partial(): boolean {
    return this.#seen > 0 && !this.complete;
  }

  /** Bytes of the incomplete head so far, for reports. */
  get pendingBytes(): Buffer | undefined {
    return this.#pending?.subarray(0, this.#seen);
  }

  /** Forgets the finished head, ready for the next. */
  reset(): void {
    this.#state = firstState[this.#kind];
    this.#seen = 0;
    this.#pending = undefined;
    this.#step = 0;
    this.complete = false;
    this.refusal = undefined;
    this.markCount = 0;
  }

  /** Reads `chunk[start .. end)` and returns where it stopped: behind the head, or at `end`. */
  feed(chunk: Buffer, start: number, end: number): number {
    const seen = this.#seen;
    const limit = Math.min(end, start + headLimits.headBytes - seen);
    // Position in the head = index in the chunk + base.
    const base = seen - start;
    const stopped = this.#run(chunk, start, limit, base);
    if (this.#state === REFUSED) return stopped;
    if (this.#state === COMPLETE) {
      this.complete = true;
      this.length = stopped + base;
      if (seen === 0) {
        this.bytes = chunk;
        this.offset = start;
      } else {
        this.#keep(chunk, start, stopped);
        this.bytes = this.#pending!;
        this.offset = 0;
      }
      return stopped;
    }
    if (limit < end || limit + base === headLimits.headBytes) {
      this.#refuse("head-too-large");
      return limit;
    }
    this.#keep(chunk, start, end);
    return end;
  }

  #keep(chunk: Buffer, start: number, end: number): void {
    const needed = this.#seen + end - start;
    if (this.#pending === undefined || this.#pending.length < needed) {
      const grown = Buffer.allocUnsafe(Math.max(1024, 2 ** Math.ceil(Math.log2(Math.max(1, needed)))));
      this.#pending?.copy(grown, 0, 0, this.#seen);
      this.#pending = grown;
    }
    chunk.copy(this.#pending, this.#seen, start, end);
    this.#seen = needed;
  }

  #refuse(refusal: Refusal): void {
    this.#state = REFUSED;
    this.refusal = refusal;
  }

  #run(chunk: Buffer, start: number, end: number, base: number): number {
    let marks = this.marks;
    let count = this.markCount;
    let state = this.#state;
    let i = start;
    let refusal: Refusal | undefined;
    scan: while (i < end) {
      let c = chunk[i]!;
      switch (state) {
        case METHOD:
          while (tokenCharacter[c] === 1) {
            if (i + base >= headLimits.methodBytes) {
              refusal = "bad-method";
              break scan;
            }
            if (++i === end) break scan;
            c = chunk[i]!;
          }
          if (c !== 0x20 || i + base === 0) {
            refusal = c === 0x16 && i + base === 0 ? "tls-client-hello" : lineFault(c, "bad-method");
            break scan;
          }
          this.methodEnd = i + base;
          i++;
          state = TARGET;
          break;
        case TARGET: {
          const tooLong = this.methodEnd + 1 + headLimits.targetBytes - base;
          while (targetCharacter[c] === 1) {
            if (i >= tooLong) {
              refusal = "target-too-long";
              break scan;
            }
            if (++i === end) break scan;
            c = chunk[i]!;
          }
          if (c !== 0x20) {
            refusal = lineFault(c, c === 0x0d ? "bad-request-line" : "bad-target");
            break scan;
          }
          if (i + base === this.methodEnd + 1) {
            refusal = "bad-request-line";
            break scan;
          }
          this.targetEnd = i + base;
          i++;
          this.#step = 0;
          state = REQUEST_VERSION;
          break;
        }
        case REQUEST_VERSION:
        case STATUS_VERSION:
          if (this.#step < 7) {
            if (c !== versionText[this.#step]) {
              refusal = state === STATUS_VERSION ? "bad-status-line" : this.#versionFault(c);
              break scan;
            }
            this.#step++;
          } else if (this.#step === 7) {
            if (c !== 0x30 && c !== 0x31) {
              refusal = state === STATUS_VERSION ? "bad-status-line" : "bad-version";
              break scan;
            }
            this.minorVersion = c - 0x30;
            this.#step++;
          } else if (state === REQUEST_VERSION) {
            if (c !== 0x0d) {
              refusal = lineFault(c, "bad-version");
              break scan;
            }
            state = START_LF;
          } else {
            if (c !== 0x20) {
              refusal = lineFault(c, "bad-status-line");
              break scan;
            }
            this.#step = 0;
            this.statusCode = 0;
            state = STATUS_CODE;
          }
          i++;
          break;
        case STATUS_CODE:
          if (c < 0x30 || c > 0x39 || (this.#step === 0 && (c === 0x30 || c > 0x35))) {
            refusal = "bad-status-line";
            break scan;
          }
          this.statusCode = this.statusCode * 10 + c - 0x30;
          if (++this.#step === 3) state = AFTER_CODE;
          i++;
          break;
        case AFTER_CODE:
          // Many servers leave the space out when they have no reason to give.
          if (c !== 0x20 && c !== 0x0d) {
            refusal = lineFault(c, "bad-status-line");
            break scan;
          }
          state = c === 0x20 ? REASON : START_LF;
          i++;
          break;
        case REASON:
          while (valueCharacter[c] === 1) {
            if (++i === end) break scan;
            c = chunk[i]!;
          }
          if (c !== 0x0d) {
            refusal = lineFault(c, "control-character");
            break scan;
          }
          i++;
          state = START_LF;
          break;
        case START_LF:
          if (c !== 0x0a) {
            refusal = "bare-cr";
            break scan;
          }
          i++;
          state = LINE;
          break;
        case LINE:
          if (c === 0x0d) {
            i++;
            state = LAST_LF;
            break;
          }
          if (tokenCharacter[c] !== 1) {
            refusal = c === 0x20 || c === 9 ? "obs-fold" : lineFault(c, "bad-header-name");
            break scan;
          }
          if (count === headLimits.headers * 4) {
            refusal = "too-many-headers";
            break scan;
          }
          if (count === marks.length) {
            marks = new Uint32Array(count * 2);
            marks.set(this.marks);
            this.marks = marks;
          }
          marks[count++] = i + base;
          i++;
          state = NAME;
          break;
        case NAME:
          while (tokenCharacter[c] === 1) {
            if (++i === end) break scan;
            c = chunk[i]!;
          }
          if (c !== 0x3a) {
            refusal = c === 0x20 || c === 9 ? "space-before-colon" : lineFault(c, "bad-header-name");
            break scan;
          }
          marks[count++] = i + base;
          i++;
          state = LEAD;
          break;
        case LEAD:
          while (c === 0x20 || c === 9) {
            if (++i === end) break scan;
            c = chunk[i]!;
          }
          marks[count++] = i + base;
          state = VALUE;
          break;
        case VALUE:
          while (valueCharacter[c] === 1) {
            if (++i === end) break scan;
            c = chunk[i]!;
          }
          if (c !== 0x0d) {
            refusal = lineFault(c, "control-character");
            break scan;
          }
          marks[count++] = i + base;
          i++;
          state = VALUE_LF;
          break;
        case VALUE_LF:
          if (c !== 0x0a) {
            refusal = "bare-cr";
            break scan;
          }
          i++;
          state = LINE;
          break;
        case LAST_LF:
          if (c !== 0x0a) {
            refusal = "bare-cr";
            break scan;
          }
          i++;
          state = COMPLETE;
          break scan;
      }
    }
    this.#state = state;
    this.markCount = count;
    if (refusal !== undefined) this.#refuse(refusal);
    return i;
  }

  /** `PRI * HTTP/2.0` is told apart from other wrong versions, for the report: method of three bytes, target of one. */
  #versionFault(c: number): Refusal {
    return this.#step === 5 && c === 0x32 && this.methodEnd === 3 && this.targetEnd === 5
      ? "http2-preface"
      : "bad-version";
  }
}

/** The name of a wrong byte: LF, CR and other controls have their own, whatever was expected. */
function lineFault(c: number, otherwise: Refusal): Refusal {
  if (c === 0x0a) return "bare-lf";
  if (c === 0x0d && otherwise !== "bad-method") return otherwise === "bad-request-line" ? otherwise : "bare-cr";
  return c < 0x20 || c === 0x7f ? "control-character" : otherwise;
}
