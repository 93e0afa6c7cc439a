/** The ring as flows: what an entry says, made when somebody asks. */
import type { Flow } from "#contracts/hubble";
import { decodeEvent, eventField } from "#observer/decode";
import type { FlowBuilder } from "#observer/flow";
import type { EventRing, LostEntry } from "./ring.ts";

/** An entry of the ring for a reader. */
export type StoredFlow = { readonly kind: "flow"; readonly flow: Flow } | LostEntry;

/** Reads flows out of a ring. */
export class FlowStore {
  readonly ring: EventRing;
  readonly #builder: FlowBuilder;
  /** The first half of every uuid: no two observers share it. */
  readonly #uuidHead: string;
  readonly #wallOffsetNs: () => bigint;

  /** `random`: 16 hexadecimal digits. */
  constructor(ring: EventRing, builder: FlowBuilder, wallOffsetNs: () => bigint, random: string) {
    this.ring = ring;
    this.#builder = builder;
    this.#wallOffsetNs = wallOffsetNs;
    // Version 8 (RFC 9562): 60 random bits that name this observer, then the place.
    this.#uuidHead = `${random.slice(0, 8)}-${random.slice(8, 12)}-8${random.slice(12, 15)}-8${random.slice(13, 16)}`;
  }

  /** What is at a place; undefined if it can't be read (any more). The same place gives the same uuid each time. */
  at(place: number): StoredFlow | undefined {
    const entry = this.ring.read(place);
    if (entry === undefined || entry.kind === "lost") return entry;
    const uuid = `${this.#uuidHead}-${place.toString(16).padStart(12, "0")}`;
    if (entry.kind === "record")
      return { kind: "flow", flow: this.#builder.fromAccessLog(entry.record, entry.facts, uuid) };
    const event = decodeEvent(entry.view, entry.offset);
    return event && { kind: "flow", flow: this.#builder.fromEvent(event, entry.facts, uuid) };
  }

  /** Nanoseconds since 1970 of the flow at a place, without making it; undefined if there is none. */
  timeNs(place: number): bigint | undefined {
    const entry = this.ring.read(place);
    switch (entry?.kind) {
      case "event":
        return eventField.timeNs(entry.view, entry.offset) + this.#wallOffsetNs();
      case "record":
        return BigInt(Math.round(entry.record.timeMs * 1000)) * 1000n;
      default:
        return undefined;
    }
  }
}
