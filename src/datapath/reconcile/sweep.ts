/** Sweeping the LRU maps: forgotten connections and masquerade mappings go before the LRU has to guess. */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Ct4Key, Ct6Key, CtEntry, NatKey, NatValue } from "#contracts/bpf";
import { protocolNumbers } from "#core/model";
import { errorMessage } from "#core/runtime";

/** A map that is read slice by slice, so that a large one does not hold up the event loop. */
export interface SliceDoor<K, V> {
  readonly name: string;
  /** All entries in slices of about `size`; the caller may rest between two. */
  slices(size: number): Iterable<readonly (readonly [K, V])[]>;
  deleteAll(keys: readonly K[]): number;
}

/** What a sweep found. */
export interface SweepResult {
  readonly name: string;
  readonly seen: number;
  readonly removed: number;
}

const sliceEntries = 2048;

/** Removes the entries that `expired` names; yields to the event loop between slices. */
export async function sweepMap<K, V>(
  map: SliceDoor<K, V>,
  expired: (key: K, value: V) => boolean,
): Promise<SweepResult> {
  let seen = 0;
  let removed = 0;
  for (const slice of map.slices(sliceEntries)) {
    seen += slice.length;
    const keys = slice.filter(([key, value]) => expired(key, value)).map(([key]) => key);
    if (keys.length > 0) removed += map.deleteAll(keys);
    await nextTurn();
  }
  return { name: map.name, seen, removed };
}

/**
 * After this many seconds without a packet nothing uses a masquerade mapping any more: longer than conntrack keeps the
 * connection (`enum ct_lifetime` of bpf/lib/conntrack.h: 8000 s for TCP, at most 60 s for all else).
 */
const natSilentSeconds = { tcp: 8200, other: 120 } as const;

/** Sweeps conntrack and masquerade mappings at intervals until closed. `report` gets each round's results. */
export function startSweeper(options: {
  readonly ct4: SliceDoor<Ct4Key, CtEntry>;
  readonly ct6: SliceDoor<Ct6Key, CtEntry>;
  readonly nat: SliceDoor<NatKey, NatValue>;
  readonly intervalMs: number;
  readonly report: (results: readonly SweepResult[]) => void;
  readonly onProblem: (message: string) => void;
}): { close(): void } {
  let closed = false;
  let timer = setTimeout(round, options.intervalMs).unref();
  async function round(): Promise<void> {
    try {
      const nowSeconds = monotonicSeconds();
      const gone = (_: unknown, entry: CtEntry) => entry.expires < nowSeconds;
      const silent = ({ protocol }: NatKey, { lastSeen }: NatValue) =>
        lastSeen + (protocol === protocolNumbers.TCP ? natSilentSeconds.tcp : natSilentSeconds.other) < nowSeconds;
      options.report([
        await sweepMap(options.ct4, gone),
        await sweepMap(options.ct6, gone),
        await sweepMap(options.nat, silent),
      ]);
    } catch (error) {
      options.onProblem(errorMessage(error));
    }
    if (!closed) timer = setTimeout(round, options.intervalMs).unref();
  }
  return {
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
}

/** Seconds of CLOCK_MONOTONIC, as the programs count them. */
function monotonicSeconds(): number {
  return Number(process.hrtime.bigint() / 1_000_000_000n);
}
