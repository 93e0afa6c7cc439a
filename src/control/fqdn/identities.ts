/** Identities of addresses that names led to: one number of this node for each distinct set of selectors that chose the address. */
import { prefixLabels } from "#control/identity";
import {
  createLabels,
  formatPrefix,
  hostPrefix,
  type Identity,
  identityRanges,
  type NumericIdentity,
  type Prefix,
  parseAddress,
  prefixContains,
} from "#core/model";
import type { NameCache } from "./cache.ts";
import type { NameSelectors } from "./selectors.ts";

/** What an update changed. */
export interface NameIdentityChanges {
  readonly added: readonly Identity[];
  /** Chosen by no address any more; their numbers are free again once `release` was called. */
  readonly removed: readonly Identity[];
}

/** Hands out the numbers. */
export interface NameIdentities {
  /** Computes everything anew from the names learnt, the selectors and the prefixes that rules name. */
  update(cache: NameCache, selectors: NameSelectors, prefixes: readonly Prefix[]): NameIdentityChanges;
  /** Rows of the ipcache: host prefix -> identity. */
  rows(): ReadonlyMap<string, NumericIdentity>;
  list(): readonly Identity[];
  /** The datapath has forgotten them: their numbers may mean something else. */
  release(removed: readonly Identity[]): void;
}

/** `existing`: what host prefixes mean in the kernel, of an earlier run. Numbers that it shows are given to nobody else. */
export function createNameIdentities(
  existing: Iterable<readonly [prefix: Prefix, id: NumericIdentity]> = [],
): NameIdentities {
  const adopted = new Map<string, NumericIdentity>();
  const used = new Set<NumericIdentity>();
  for (const [prefix, id] of existing) {
    if (id < identityRanges.namesMin || id > identityRanges.localMax) continue;
    adopted.set(formatPrefix(prefix), id);
    used.add(id);
  }
  const unclaimed = new Set(used);
  let byKey = new Map<string, Identity>();
  let rows = new Map<string, NumericIdentity>();
  let cursor: number = identityRanges.namesMin;

  function take(hint: NumericIdentity | undefined): NumericIdentity | undefined {
    if (hint !== undefined && unclaimed.delete(hint)) return hint;
    for (let tries = identityRanges.localMax - identityRanges.namesMin; tries >= 0; tries--) {
      if (cursor > identityRanges.localMax) cursor = identityRanges.namesMin;
      const id = cursor++ as NumericIdentity;
      if (used.has(id)) continue;
      used.add(id);
      return id;
    }
    return undefined;
  }

  return {
    update(cache, selectors, prefixes) {
      const next = new Map<string, Identity>();
      const nextRows = new Map<string, NumericIdentity>();
      const added: Identity[] = [];
      for (const [text, names] of cache.addresses()) {
        const chosen = new Set<string>();
        for (const name of names) for (const selector of selectors.of(name)) chosen.add(selector);
        const address = chosen.size === 0 ? undefined : parseAddress(text);
        if (address === undefined) continue;
        const host = hostPrefix(address);
        const row = formatPrefix(host);
        const covering = longest(prefixes, host);
        const key = `${covering === undefined ? address.family : formatPrefix(covering)} ${[...chosen].sort().join(" ")}`;
        let identity = next.get(key) ?? byKey.get(key);
        if (identity === undefined) {
          const id = take(adopted.get(row));
          if (id === undefined) continue;
          identity = identityOf(id, chosen, covering ?? { ...host, length: 0 });
          added.push(identity);
        }
        next.set(key, identity);
        nextRows.set(row, identity.id);
      }
      const removed = [...byKey].filter(([key]) => !next.has(key)).map(([, identity]) => identity);
      byKey = next;
      rows = nextRows;
      return { added, removed };
    },
    rows: () => rows,
    list: () => [...byKey.values()],
    release(removed) {
      for (const { id } of removed) used.delete(id);
    },
  };
}

/** With the labels of the prefix that holds the address: rules on CIDRs go on meaning it, and so does `world`. */
function identityOf(id: NumericIdentity, selectors: ReadonlySet<string>, covering: Prefix): Identity {
  const labels = [...selectors].map((key) => ({ source: "fqdn", key, value: "" }));
  return {
    id,
    labels: createLabels([...labels, ...prefixLabels(covering)]),
    ...(covering.length > 0 && { prefix: formatPrefix(covering) }),
  };
}

function longest(prefixes: readonly Prefix[], host: Prefix): Prefix | undefined {
  let best: Prefix | undefined;
  for (const prefix of prefixes) if (prefix.length > (best?.length ?? 0) && prefixContains(prefix, host)) best = prefix;
  return best;
}
