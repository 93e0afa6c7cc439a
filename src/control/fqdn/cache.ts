/**
 * What endpoints have learnt about names: which addresses, until when. An address whose time is up is kept as long as a
 * connection to it lives ("zombie"), so that a short TTL cuts nobody off. Pure: the caller brings the time and the connections.
 */
import type { EndpointId } from "#core/model";
import { canonicalName } from "./pattern.ts";

/** Addresses that one endpoint was told for one name. */
export interface LearntName {
  readonly endpoint: EndpointId;
  /** In any case, with or without the trailing dot. */
  readonly name: string;
  /** Canonical texts, each with the time to live that the answer gave it. */
  readonly addresses: readonly { readonly address: string; readonly ttlSeconds: number }[];
}

/** How long and how much. */
export interface NameCacheLimits {
  /** Shorter times to live are taken for this; 0 as in Cilium. */
  readonly minTtlSeconds: number;
  /** Added to every time to live: the answer travels, the client takes its time, and the proxy need not ask anew each time. */
  readonly graceMs: number;
  /** Of one name at one endpoint. Beyond it the one that would end first goes, unless a connection needs it. */
  readonly addressesPerName: number;
  /** Of one endpoint; beyond it the name that ends first goes with all its addresses. */
  readonly namesPerEndpoint: number;
}

/** Cilium's, with a grace of half a minute. */
export const defaultNameCacheLimits: NameCacheLimits = {
  minTtlSeconds: 0,
  graceMs: 30_000,
  addressesPerName: 1000,
  namesPerEndpoint: 10_000,
};

/** One name's address at one endpoint, as a snapshot has it. */
export type NameRecord = readonly [endpoint: EndpointId, name: string, address: string, expiresAtMs: number];

/** The cache. Times are milliseconds since 1970, so that they mean something after a restart. */
export interface NameCache {
  /**
   * Takes an answer. Returns until when its addresses stay, at least, and which addresses were new at all. Of an answer with more
   * addresses than the limit the first ones are taken; `refused` names the rest, which are not allowed.
   */
  learn(learnt: LearntName, nowMs: number): LearnResult;
  /** Forgets what is over, except addresses that `inUse` names; true if anything went. */
  collect(nowMs: number, inUse: (endpoint: EndpointId, address: string) => boolean): boolean;
  /** Whether `collect` might find something at that time. */
  hasExpired(nowMs: number): boolean;
  /** An endpoint is gone, and so is what only it was told. */
  forgetEndpoint(endpoint: EndpointId): void;
  /** Address -> the names for which some endpoint was told it. */
  addresses(): ReadonlyMap<string, ReadonlySet<string>>;
  /** Names of an address, as told to that endpoint. */
  namesOf(endpoint: EndpointId, address: string): readonly string[];
  /** Everything, for a file. */
  snapshot(): readonly NameRecord[];
  /** Takes a snapshot over; what is over by now stays until the next `collect`. Records that make no sense are left out. */
  restore(records: Iterable<NameRecord>): void;
  /** Counts changes of which address has which names. */
  readonly version: number;
}

/** What became of an answer. */
export interface LearnResult {
  readonly untilMs: number;
  readonly added: readonly string[];
  readonly refused: readonly string[];
}

interface NameEntry {
  /** Address -> until when. */
  readonly addresses: Map<string, number>;
}

/** Makes the cache, empty. */
export function createNameCache(limits: NameCacheLimits = defaultNameCacheLimits): NameCache {
  const endpoints = new Map<EndpointId, Map<string, NameEntry>>();
  /** Address -> name -> number of endpoints that were told so. */
  const holders = new Map<string, Map<string, number>>();
  const shown = new Map<string, ReadonlySet<string>>();
  let version = 0;
  /** No later than the first end of anything. */
  let firstEndMs = Number.POSITIVE_INFINITY;

  function hold(address: string, name: string): void {
    const names = holders.get(address) ?? new Map<string, number>();
    holders.set(address, names);
    const count = names.get(name) ?? 0;
    names.set(name, count + 1);
    if (count === 0) changed(address, names);
  }

  function letGo(address: string, name: string): void {
    const names = holders.get(address)!;
    const count = names.get(name)!;
    if (count > 1) {
      names.set(name, count - 1);
      return;
    }
    names.delete(name);
    if (names.size === 0) holders.delete(address);
    changed(address, names);
  }

  function changed(address: string, names: ReadonlyMap<string, number>): void {
    version++;
    if (names.size === 0) shown.delete(address);
    else shown.set(address, new Set(names.keys()));
  }

  function put(entry: NameEntry, name: string, address: string, untilMs: number): void {
    const before = entry.addresses.get(address);
    if (before === undefined) hold(address, name);
    if (before === undefined || before < untilMs) entry.addresses.set(address, untilMs);
    firstEndMs = Math.min(firstEndMs, untilMs);
  }

  function entryOf(endpoint: EndpointId, name: string): NameEntry {
    const names = endpoints.get(endpoint) ?? new Map<string, NameEntry>();
    endpoints.set(endpoint, names);
    let entry = names.get(name);
    if (entry === undefined) {
      if (names.size >= limits.namesPerEndpoint) dropFirstName(names);
      entry = { addresses: new Map() };
    } else {
      names.delete(name); // to the end: the order is that of use
    }
    names.set(name, entry);
    return entry;
  }

  function dropFirstName(names: Map<string, NameEntry>): void {
    const [name, entry] = names.entries().next().value!;
    for (const address of entry.addresses.keys()) letGo(address, name);
    names.delete(name);
  }

  /** Makes room for addresses that came just now, at the cost of those that end first. */
  function trim(entry: NameEntry, name: string, kept: ReadonlySet<string>): void {
    const over = entry.addresses.size - limits.addressesPerName;
    if (over <= 0) return;
    const oldest = [...entry.addresses].filter(([address]) => !kept.has(address)).sort(([, a], [, b]) => a - b);
    for (const [address] of oldest.slice(0, over)) {
      entry.addresses.delete(address);
      letGo(address, name);
    }
  }

  return {
    get version() {
      return version;
    },
    learn(learnt, nowMs) {
      const name = canonicalName(learnt.name);
      const entry = entryOf(learnt.endpoint, name);
      const taken = learnt.addresses.slice(0, limits.addressesPerName);
      const added = taken.map(({ address }) => address).filter((address) => !holders.get(address)?.has(name));
      let untilMs = Number.POSITIVE_INFINITY;
      for (const { address, ttlSeconds } of taken) {
        const endMs = nowMs + Math.max(ttlSeconds, limits.minTtlSeconds) * 1000 + limits.graceMs;
        put(entry, name, address, endMs);
        untilMs = Math.min(untilMs, endMs);
      }
      trim(entry, name, new Set(taken.map(({ address }) => address)));
      const refused = learnt.addresses.slice(limits.addressesPerName).map(({ address }) => address);
      return { untilMs, added, refused };
    },
    hasExpired: (nowMs) => firstEndMs <= nowMs,
    collect(nowMs, inUse) {
      const before = version;
      firstEndMs = Number.POSITIVE_INFINITY;
      for (const [endpoint, names] of endpoints) {
        for (const [name, { addresses }] of names) {
          for (const [address, endMs] of addresses) {
            if (endMs > nowMs || inUse(endpoint, address)) {
              firstEndMs = Math.min(firstEndMs, endMs);
              continue;
            }
            addresses.delete(address);
            letGo(address, name);
          }
          if (addresses.size === 0) names.delete(name);
        }
        if (names.size === 0) endpoints.delete(endpoint);
      }
      return version !== before;
    },
    forgetEndpoint(endpoint) {
      for (const [name, { addresses }] of endpoints.get(endpoint) ?? [])
        for (const address of addresses.keys()) letGo(address, name);
      endpoints.delete(endpoint);
    },
    addresses: () => shown,
    namesOf(endpoint, address) {
      const names = endpoints.get(endpoint);
      return [...(holders.get(address)?.keys() ?? [])].filter((name) => names?.get(name)?.addresses.has(address));
    },
    snapshot() {
      const out: NameRecord[] = [];
      for (const [endpoint, names] of endpoints)
        for (const [name, { addresses }] of names)
          for (const [address, endMs] of addresses) out.push([endpoint, name, address, endMs]);
      return out;
    },
    restore(records) {
      for (const [endpoint, name, address, endMs] of records) {
        if (!Number.isInteger(endpoint) || typeof name !== "string" || typeof address !== "string") continue;
        if (!Number.isFinite(endMs)) continue;
        const canonical = canonicalName(name);
        put(entryOf(endpoint, canonical), canonical, address, endMs);
      }
    },
  };
}
