import type { Codec } from "#contracts/bpf";
import { type BpfMap, type MapSpec, MapType } from "#datapath/linux";
import type { DescribedEntry } from "./describe.ts";

/** What we know of a map beyond its bytes. */
export interface MapDefinition<K, V> {
  readonly name: string;
  readonly type: MapType;
  readonly key: Codec<K>;
  readonly value: Codec<V>;
  /** What a row says. */
  readonly purpose: string;
  readonly writer: string;
  readonly reader: string;
  readonly whenFull: string;
  /** For per-CPU maps: the one value that the CPUs' values amount to. */
  readonly combine?: (a: V, b: V) => V;
  /** The row as people read it; undefined for a slot that holds nothing. */
  readonly describe: (key: K, value: V) => DescribedEntry | undefined;
}

/** A kernel map with decoded keys and values. */
export interface TypedMap<K, V> {
  readonly name: string;
  /** How many entries it can hold. */
  readonly capacity: number;
  /** The value; in a trie that of the longest matching prefix. Per-CPU values are combined. */
  get(key: K): V | undefined;
  /** Throws MAP_FULL when there is no room. In a per-CPU map the combined value becomes this one. */
  set(key: K, value: V): void;
  /** False if there was no such key. */
  delete(key: K): boolean;
  entries(): Iterable<readonly [K, V]>;
  /** All entries in slices of `size`; of a hash, each is read when it is asked for, so that the caller may rest between two. */
  slices(size: number): Iterable<readonly (readonly [K, V])[]>;
  /** Many writes with few system calls; on failure a part may be written. */
  setAll(entries: readonly (readonly [K, V])[]): void;
  /** How many of the keys were there. */
  deleteAll(keys: readonly K[]): number;
  /** At most `limit` rows as people read them, and whether there were more. */
  dump(limit: number): { readonly entries: readonly DescribedEntry[]; readonly truncated: boolean };
}

/** Why a map of this shape can't hold what the definition says; undefined when it can. Capacities may differ. */
export function shapeMismatch<K, V>(definition: MapDefinition<K, V>, spec: MapSpec): string | undefined {
  const { name, type, key, value } = definition;
  if (spec.type !== type) return `map ${name} is of type ${spec.type}, ${type} expected`;
  if (spec.keySize !== key.size) return `map ${name} has keys of ${spec.keySize} bytes, ${key.size} expected`;
  if (spec.valueSize !== value.size) return `map ${name} has values of ${spec.valueSize} bytes, ${value.size} expected`;
  return undefined;
}

/** Puts codecs before a map. Throws RangeError when its shape isn't the definition's. */
export function openTypedMap<K, V>(map: BpfMap, definition: MapDefinition<K, V>): TypedMap<K, V> {
  const mismatch = shapeMismatch(definition, map.spec);
  if (mismatch !== undefined) throw new RangeError(mismatch);
  const { key: keys, value: values, combine, describe, name } = definition;
  const perCpu = map.spec.type === MapType.PERCPU_ARRAY || map.spec.type === MapType.PERCPU_HASH;
  const slot = (values.size + 7) & ~7;

  const decode = (bytes: Uint8Array): V => {
    if (!perCpu || combine === undefined) return values.decode(bytes);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let all = values.read(view, 0);
    for (let at = slot; at < bytes.length; at += slot) all = combine(all, values.read(view, at));
    return all;
  };
  const encode = (value: V): Uint8Array => {
    const bytes = values.encode(value);
    if (!perCpu) return bytes;
    const all = new Uint8Array(map.storedValueSize);
    all.set(bytes);
    return all;
  };

  return {
    name,
    capacity: map.spec.maxEntries,
    get(key) {
      const bytes = map.lookup(keys.encode(key));
      return bytes && decode(bytes);
    },
    set: (key, value) => map.update(keys.encode(key), encode(value)),
    delete: (key) => map.delete(keys.encode(key)),
    *entries() {
      for (const [key, value] of map.entries()) yield [keys.decode(key), decode(value)];
    },
    *slices(size) {
      let slice: (readonly [K, V])[] = [];
      for (const [key, value] of map.entries()) {
        slice.push([keys.decode(key), decode(value)]);
        if (slice.length < size) continue;
        yield slice;
        slice = [];
      }
      if (slice.length > 0) yield slice;
    },
    setAll: (entries) => map.updateAll(entries.map(([key, value]) => [keys.encode(key), encode(value)] as const)),
    deleteAll: (all) => map.deleteAll(all.map((key) => keys.encode(key))),
    dump(limit) {
      const entries: DescribedEntry[] = [];
      for (const [key, value] of map.entries()) {
        const row = describe(keys.decode(key), decode(value));
        if (row === undefined) continue;
        if (entries.length === limit) return { entries, truncated: true };
        entries.push(row);
      }
      return { entries, truncated: false };
    },
  };
}
