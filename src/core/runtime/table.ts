/**
 * Tables: what the stages of the control plane talk through. One writer, any number of watchers.
 * Rows are immutable values; a watcher is told of changes once per turn of the event loop, each key at most once.
 */

/** One changed key: `current` is undefined after a deletion, `previous` before the first write. */
export interface Change<K, V> {
  readonly key: K;
  readonly previous: V | undefined;
  readonly current: V | undefined;
}

/** What readers may do with a table. */
export interface ReadableTable<K, V> {
  readonly name: string;
  readonly size: number;
  get(key: K): V | undefined;
  entries(): IterableIterator<[K, V]>;
  values(): IterableIterator<V>;
  /**
   * Calls `listener` with the changes since its last call, in a microtask after the writes; the first call
   * brings every row that is there now. Returns the function that ends the watch.
   */
  watch(listener: (changes: readonly Change<K, V>[]) => void): () => void;
}

interface Watcher<K, V> {
  readonly listener: (changes: readonly Change<K, V>[]) => void;
  pending: Map<K, V | undefined>;
  scheduled: boolean;
  closed: boolean;
}

/** A table in memory. Writing an equal row (by `equal`, default identity) tells nobody. */
export class Table<K, V> implements ReadableTable<K, V> {
  readonly name: string;
  readonly #rows = new Map<K, V>();
  readonly #watchers = new Set<Watcher<K, V>>();
  readonly #equal: (a: V, b: V) => boolean;

  constructor(name: string, equal: (a: V, b: V) => boolean = Object.is) {
    this.name = name;
    this.#equal = equal;
  }

  get size(): number {
    return this.#rows.size;
  }

  get(key: K): V | undefined {
    return this.#rows.get(key);
  }

  entries(): IterableIterator<[K, V]> {
    return this.#rows.entries();
  }

  values(): IterableIterator<V> {
    return this.#rows.values();
  }

  /** Writes a row. */
  set(key: K, row: V): void {
    const previous = this.#rows.get(key);
    if (previous !== undefined && this.#equal(previous, row)) return;
    this.#rows.set(key, row);
    this.#changed(key, previous);
  }

  /** Removes a row; no error if there is none. */
  delete(key: K): void {
    const previous = this.#rows.get(key);
    if (previous === undefined) return;
    this.#rows.delete(key);
    this.#changed(key, previous);
  }

  /** Makes the table hold exactly these rows. */
  replace(rows: ReadonlyMap<K, V>): void {
    for (const key of this.#rows.keys()) if (!rows.has(key)) this.delete(key);
    for (const [key, row] of rows) this.set(key, row);
  }

  watch(listener: (changes: readonly Change<K, V>[]) => void): () => void {
    const watcher: Watcher<K, V> = { listener, pending: new Map(), scheduled: false, closed: false };
    for (const key of this.#rows.keys()) watcher.pending.set(key, undefined);
    this.#watchers.add(watcher);
    this.#schedule(watcher);
    return () => {
      watcher.closed = true;
      this.#watchers.delete(watcher);
    };
  }

  #changed(key: K, previous: V | undefined): void {
    for (const watcher of this.#watchers) {
      // What the watcher saw last is what counts as previous, however often the row has changed since.
      if (!watcher.pending.has(key)) watcher.pending.set(key, previous);
      this.#schedule(watcher);
    }
  }

  #schedule(watcher: Watcher<K, V>): void {
    if (watcher.scheduled) return;
    watcher.scheduled = true;
    queueMicrotask(() => {
      watcher.scheduled = false;
      const pending = watcher.pending;
      watcher.pending = new Map();
      const changes: Change<K, V>[] = [];
      for (const [key, previous] of pending) {
        const current = this.#rows.get(key);
        if (previous === undefined && current === undefined) continue;
        changes.push({ key, previous, current });
      }
      if (!watcher.closed && changes.length > 0) watcher.listener(changes);
    });
  }
}
