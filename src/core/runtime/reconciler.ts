/**
 * Carries desired rows to a target (the kernel, the proxy) and says of each row how it went.
 * The hard parts live here once: order, retry with back-off, pruning of what nobody wants, status. A target gives three easy functions.
 */
import { type Clock, systemClock, type Timer } from "./clock.ts";
import { errorMessage } from "./errors.ts";
import { type ReadableTable, Table } from "./table.ts";

/** What a target must be able to do. Each may be called again with the same arguments and must then change nothing. */
export interface Operations<K, V> {
  /** Makes the target hold the row. */
  update(key: K, row: V): void | Promise<void>;
  /** Makes the target forget the key; no error if it never knew it. `row` is what was last realised, if that is known. */
  delete(key: K, row: V | undefined): void | Promise<void>;
  /** Removes from the target whatever is in none of the rows: what a crash or another program left. */
  prune(rows: ReadonlyMap<K, V>): void | Promise<void>;
  /** Called once after each round in which something was carried over; the place to publish an epoch. */
  settled?(): void | Promise<void>;
}

/** How the carrying of one row stands. */
export type RowStatus =
  | { readonly kind: "pending" }
  | { readonly kind: "done" }
  | { readonly kind: "error"; readonly attempts: number; readonly message: string; readonly retryAtMs: number };

/** A running reconciler. */
export interface Reconciler<K> {
  readonly name: string;
  /** Status by key; rows that are gone and forgotten have none. */
  readonly status: ReadableTable<K, RowStatus>;
  /** Resolves when everything wanted at the time of the call was tried once; errors are in `status`. */
  settled(): Promise<void>;
  /** Why the last pruning failed, if it did; it is tried again by itself. */
  readonly pruneProblem: string | undefined;
  /** Carries these rows again, as if they had changed: somebody else has laid hands on the target. Keys without a row do nothing. */
  again(keys: Iterable<K>): void;
  close(): void;
}

/** Back-off of failing rows, in milliseconds: doubled from `minMs` up to `maxMs`. */
export interface Backoff {
  readonly minMs: number;
  readonly maxMs: number;
}

/** Starts to carry `table` to the target; the first round prunes. Rounds never overlap. */
export function createReconciler<K, V>(options: {
  readonly table: ReadableTable<K, V>;
  readonly operations: Operations<K, V>;
  readonly backoff?: Backoff;
  readonly clock?: Clock;
}): Reconciler<K> {
  const { table, operations } = options;
  const clock = options.clock ?? systemClock;
  const backoff = options.backoff ?? { minMs: 50, maxMs: 30_000 };
  const status = new Table<K, RowStatus>(`${table.name}-status`);
  const realised = new Map<K, V>();
  const attempts = new Map<K, number>();
  let dirty = new Set<K>();
  let pruneWanted = true;
  let running = false;
  let closed = false;
  let retry: Timer | undefined;
  let pruneProblem: string | undefined;
  let waiters: (() => void)[] = [];

  const unwatch = table.watch((changes) => {
    for (const change of changes) {
      dirty.add(change.key);
      if (change.current !== undefined) status.set(change.key, { kind: "pending" });
    }
    void run();
  });

  async function carry(key: K): Promise<void> {
    const row = table.get(key);
    try {
      if (row === undefined) {
        await operations.delete(key, realised.get(key));
        realised.delete(key);
        status.delete(key);
      } else {
        await operations.update(key, row);
        realised.set(key, row);
        status.set(key, { kind: "done" });
      }
      attempts.delete(key);
    } catch (error) {
      const tries = (attempts.get(key) ?? 0) + 1;
      attempts.set(key, tries);
      const delayMs = Math.min(backoff.maxMs, backoff.minMs * 2 ** (tries - 1));
      status.set(key, {
        kind: "error",
        attempts: tries,
        message: errorMessage(error),
        retryAtMs: clock.nowMs() + delayMs,
      });
      clock.after(delayMs, () => {
        dirty.add(key);
        void run();
      });
    }
  }

  async function prune(): Promise<void> {
    try {
      await operations.prune(new Map(table.entries()));
      pruneWanted = false;
      pruneProblem = undefined;
    } catch (error) {
      // A target that can't be pruned still serves the rows; what is left over is tried again.
      pruneProblem = errorMessage(error);
      retry = clock.after(backoff.maxMs, () => void run());
    }
  }

  async function run(): Promise<void> {
    if (running || closed) return;
    running = true;
    try {
      while ((dirty.size > 0 || pruneWanted) && !closed) {
        const batch = dirty;
        dirty = new Set();
        const wanted = pruneWanted;
        for (const key of batch) await carry(key);
        if (wanted) {
          await prune();
          if (pruneWanted) break;
        }
        await operations.settled?.();
      }
    } finally {
      running = false;
      const done = waiters;
      waiters = [];
      for (const resolve of done) resolve();
    }
  }

  void Promise.resolve().then(run);

  return {
    name: table.name,
    status,
    get pruneProblem() {
      return pruneProblem;
    },
    settled: () =>
      new Promise((resolve) => {
        // Table watchers are told in a microtask; wait one turn so that writes made just now count.
        setImmediate(() => {
          if (!running && dirty.size === 0) resolve();
          else waiters.push(resolve);
        });
      }),
    again(keys) {
      for (const key of keys) if (table.get(key) !== undefined) dirty.add(key);
      void run();
    },
    close() {
      closed = true;
      unwatch();
      retry?.cancel();
    },
  };
}
