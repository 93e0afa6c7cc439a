/** The latest changes, kept in memory: watches resume from them, and lists continue in the state in which they began. */
import type { StoredObject, StoreKey } from "./stored-object.ts";

/** A committed change. */
export interface StoreEvent extends StoreKey {
  readonly revision: number;
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  /** The object after the change; for DELETED its last state, under the revision of the deletion. */
  readonly json: string;
  readonly previousJson: string | undefined;
}

/** The window of latest changes. */
export interface History {
  /** Changes after this revision are all known. */
  floor(): number;
  /** Changes after a revision, oldest first; undefined if they are no longer all known. */
  since(revision: number): readonly StoreEvent[] | undefined;
  append(events: readonly StoreEvent[]): void;
  /** Is told of every batch of changes as it is committed. Returns the function that ends that. */
  subscribe(listener: (events: readonly StoreEvent[]) => void): () => void;
  /** The objects of one kind as they were at a revision, given those of now; undefined if that is no longer known. */
  rewind(kind: string, now: readonly StoredObject[], revision: number): StoredObject[] | undefined;
}

const limitEvents = 10_000;
const limitCharacters = 8 * 1024 * 1024;

/** An empty window that begins at a revision. */
export function createHistory(startRevision: number): History {
  let window: StoreEvent[] = [];
  let floor = startRevision;
  let characters = 0;
  const listeners = new Set<(events: readonly StoreEvent[]) => void>();
  const weight = (event: StoreEvent) => event.json.length + (event.previousJson?.length ?? 0);

  /** Drops the oldest quarter at a time, so that a write costs no more than its own size. */
  function trim(): void {
    if (window.length <= limitEvents && characters <= limitCharacters) return;
    let dropped = 0;
    const target = { events: limitEvents * 0.75, characters: limitCharacters * 0.75 };
    while (window.length - dropped > target.events || (characters > target.characters && dropped < window.length)) {
      characters -= weight(window[dropped]!);
      dropped++;
    }
    floor = window[dropped - 1]!.revision;
    window = window.slice(dropped);
  }

  /** Index of the first event after a revision. */
  function firstAfter(revision: number): number {
    let low = 0;
    let high = window.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (window[middle]!.revision <= revision) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  const since = (revision: number) => (revision < floor ? undefined : window.slice(firstAfter(revision)));

  return {
    floor: () => floor,
    since,
    append(events) {
      for (const event of events) {
        window.push(event);
        characters += weight(event);
      }
      trim();
      for (const listener of [...listeners]) listener(events);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    rewind(kind, now, revision) {
      const later = since(revision);
      if (later === undefined) return undefined;
      const order = ({ namespace, name }: StoreKey) => `${namespace}\0${name}`;
      const state = new Map(now.map((object) => [order(object), object]));
      for (const event of later.toReversed()) {
        if (event.kind !== kind) continue;
        const { namespace, name, previousJson } = event;
        if (previousJson === undefined) state.delete(order(event));
        else state.set(order(event), { kind, namespace, name, json: previousJson });
      }
      return [...state.entries()].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).map(([, object]) => object);
    },
  };
}
