/**
 * The last so many events. A kernel event is kept as its bytes, with what only its moment knew beside it; a flow is made
 * of it when somebody looks. Writing makes no objects.
 */

import type { Timestamp } from "#contracts/hubble";
import type { AccessLogRecord } from "#contracts/proxy";
import { eventSizeBytes } from "#observer/decode";
import type { EndpointInfo, FlowFacts, RuleRef } from "#observer/flow";

/** Events that never came: told to everyone who reads past this place. */
export interface LostEntry {
  readonly kind: "lost";
  readonly source: "ring-buffer" | "proxy";
  readonly count: number;
  readonly time: Timestamp;
}

/** What a place in the ring holds. */
export type RingEntry =
  | { readonly kind: "event"; readonly view: DataView; readonly offset: number; readonly facts: FlowFacts }
  | { readonly kind: "record"; readonly record: AccessLogRecord; readonly facts: FlowFacts }
  | LostEntry;

const words = eventSizeBytes / 4;
const noRules: readonly RuleRef[] = [];

/** The ring. Places are numbered from 0 on and never reused; those from `oldest` up to but not including `next` can be read. */
export class EventRing {
  /** How many entries it holds at most. */
  readonly capacity: number;
  readonly #mask: number;
  readonly #bytes: DataView;
  /** Undefined: the place holds a kernel event. */
  readonly #others: (AccessLogRecord | LostEntry | undefined)[];
  readonly #sources: (EndpointInfo | undefined)[];
  readonly #destinations: (EndpointInfo | undefined)[];
  readonly #rules: (readonly RuleRef[])[];
  #next = 0;
  #waiting: (() => void)[] = [];
  #waking = false;

  /** `capacity` is a power of two less one, as Hubble's. */
  constructor(capacity: number) {
    const slots = capacity + 1;
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > 65535 || (slots & capacity) !== 0)
      throw new RangeError(`a ring holds 2^n - 1 events, 1 to 65535, not ${capacity}`);
    this.capacity = capacity;
    this.#mask = capacity;
    this.#bytes = new DataView(new ArrayBuffer(slots * eventSizeBytes));
    this.#others = new Array(slots).fill(undefined);
    this.#sources = new Array(slots).fill(undefined);
    this.#destinations = new Array(slots).fill(undefined);
    this.#rules = new Array(slots).fill(noRules);
  }

  /** Number of the place that is written next; also how many have been written. */
  get next(): number {
    return this.#next;
  }

  /** Number of the oldest place that can be read. */
  get oldest(): number {
    return Math.max(0, this.#next - this.capacity);
  }

  /** Copies a kernel event. */
  pushEvent(
    view: DataView,
    offset: number,
    source: EndpointInfo | undefined,
    destination: EndpointInfo | undefined,
    rules: readonly RuleRef[],
  ): void {
    const slot = this.#next & this.#mask;
    const at = slot * eventSizeBytes;
    for (let i = 0; i < words; i++) this.#bytes.setUint32(at + 4 * i, view.getUint32(offset + 4 * i, true), true);
    this.#put(slot, undefined, source, destination, rules);
  }

  /** Keeps a record of the proxy. */
  pushRecord(record: AccessLogRecord, { source, destination, rules }: FlowFacts): void {
    this.#put(this.#next & this.#mask, record, source, destination, rules);
  }

  /** Marks that something is missing here. */
  pushLost(entry: LostEntry): void {
    this.#put(this.#next & this.#mask, entry, undefined, undefined, noRules);
  }

  #put(
    slot: number,
    other: AccessLogRecord | LostEntry | undefined,
    source: EndpointInfo | undefined,
    destination: EndpointInfo | undefined,
    rules: readonly RuleRef[],
  ): void {
    this.#others[slot] = other;
    this.#sources[slot] = source;
    this.#destinations[slot] = destination;
    this.#rules[slot] = rules;
    this.#next++;
    if (this.#waiting.length > 0 && !this.#waking) {
      // Once for all that comes in this turn of the event loop.
      this.#waking = true;
      setImmediate(() => this.#wake());
    }
  }

  /** The entry at a place; undefined if it is overwritten or not yet written. Its bytes are valid until the next turn. */
  read(place: number): RingEntry | undefined {
    if (place < this.oldest || place >= this.#next) return undefined;
    const slot = place & this.#mask;
    const other = this.#others[slot];
    if (other?.kind === "lost") return other;
    const facts = {
      source: this.#sources[slot],
      destination: this.#destinations[slot],
      rules: this.#rules[slot]!,
    };
    if (other !== undefined) return { kind: "record", record: other, facts };
    return { kind: "event", view: this.#bytes, offset: slot * eventSizeBytes, facts };
  }

  /** Resolves when `place` is written, or the signal fires. */
  async written(place: number, signal: AbortSignal): Promise<void> {
    while (place >= this.#next && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const done = (): void => {
          signal.removeEventListener("abort", done);
          resolve();
        };
        signal.addEventListener("abort", done, { once: true });
        this.#waiting.push(done);
      });
    }
  }

  #wake(): void {
    this.#waking = false;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resume of waiting) resume();
  }
}
