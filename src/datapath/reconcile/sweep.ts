/** Sweeping the LRU maps: forgotten connections and masquerade mappings go before the LRU has to guess; those of a workload that is gone, before another one gets its address. */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Ct4Key, Ct6Key, CtEntry, NatKey, NatValue } from "#contracts/bpf";
import { type IpAddress, protocolNumbers } from "#core/model";
import { errorMessage } from "#core/runtime";
import { ipv4Number } from "#datapath/maps";

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

/** The running sweeper. */
export interface Sweeper {
  /**
   * Removes every connection and mapping of addresses whose workload is gone: whoever gets one of them next must not be let in
   * on connections that were judged for another. Calls at the same time share one look through the maps.
   */
  forget(addresses: readonly IpAddress[]): Promise<void>;
  close(): void;
}

/** Sweeps conntrack and masquerade mappings at intervals until closed. `report` gets each round's results. */
export function startSweeper(options: {
  readonly ct4: SliceDoor<Ct4Key, CtEntry>;
  readonly ct6: SliceDoor<Ct6Key, CtEntry>;
  readonly nat: SliceDoor<NatKey, NatValue>;
  readonly intervalMs: number;
  readonly report: (results: readonly SweepResult[]) => void;
  readonly onProblem: (message: string) => void;
}): Sweeper {
  const { ct4, ct6, nat } = options;
  let closed = false;
  let timer = setTimeout(round, options.intervalMs).unref();
  let asked: IpAddress[] = [];
  let next: Promise<void> | undefined;
  let running: Promise<void> = Promise.resolve();

  async function round(): Promise<void> {
    try {
      const nowSeconds = monotonicSeconds();
      const gone = (_: unknown, entry: CtEntry) => entry.expires < nowSeconds;
      const silent = ({ protocol }: NatKey, { lastSeen }: NatValue) =>
        lastSeen + (protocol === protocolNumbers.TCP ? natSilentSeconds.tcp : natSilentSeconds.other) < nowSeconds;
      options.report([await sweepMap(ct4, gone), await sweepMap(ct6, gone), await sweepMap(nat, silent)]);
    } catch (error) {
      options.onProblem(errorMessage(error));
    }
    if (!closed) timer = setTimeout(round, options.intervalMs).unref();
  }

  async function forgetAsked(): Promise<void> {
    const v4 = new Set(asked.filter(({ family }) => family === 4).map(ipv4Number));
    const all = new Set(asked.map(({ bytes }) => textOf(bytes)));
    asked = [];
    next = undefined;
    if (v4.size > 0) await sweepMap(ct4, ({ addrLo, addrHi }) => v4.has(addrLo) || v4.has(addrHi));
    if (v4.size < all.size)
      await sweepMap(ct6, ({ addrLo, addrHi }) => all.has(textOf(addrLo)) || all.has(textOf(addrHi)));
    await sweepMap(nat, ({ reverse, local }, { addr }) => all.has(textOf(reverse === 0 ? local : addr)));
  }

  return {
    forget(addresses) {
      if (addresses.length === 0) return Promise.resolve();
      asked.push(...addresses);
      if (next === undefined) {
        // One look at a time; who asks while it is under way is served by the next.
        next = running.then(forgetAsked);
        running = next.catch(() => undefined);
      }
      return next;
    },
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
}

/** Both families in one form, as the maps hold them. */
const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

/** Seconds of CLOCK_MONOTONIC, as the programs count them. */
function monotonicSeconds(): number {
  return Number(process.hrtime.bigint() / 1_000_000_000n);
}
