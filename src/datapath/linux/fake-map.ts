// Maps in memory with the kernel's manners: capacities, what each type refuses, longest prefix match, eviction.
import { kernelError } from "./errors.ts";
import { type BpfMap, type MapSpec, MapType } from "./kernel.ts";
import { checkSizes, mapFull, storedValueSize } from "./map.ts";

const ENOENT = 2;
const EEXIST = 17;
const EINVAL = 22;
const E2BIG = 7;

/** CPUs of the imagined machine. */
export const FAKE_CPUS = 2;

let lastId = 0;

export class FakeMap implements BpfMap {
  readonly id = ++lastId;
  readonly spec: MapSpec;
  readonly storedValueSize: number;
  /** Least recently used first. */
  readonly #rows = new Map<string, { readonly key: Uint8Array; value: Uint8Array }>();
  /** Records of a ring buffer that nobody has consumed. */
  readonly records: Uint8Array[] = [];
  readonly #pin: (path: string, map: FakeMap) => void;

  constructor(spec: MapSpec, pin: (path: string, map: FakeMap) => void = () => undefined) {
    if (spec.maxEntries === 0) throw kernelError(`create map ${spec.name}`, EINVAL);
    if (spec.type === MapType.LPM_TRIE && (spec.flags & 1) === 0) throw kernelError(`create map ${spec.name}`, EINVAL);
    this.spec = { ...spec, name: spec.name.slice(0, 15) };
    this.storedValueSize = storedValueSize(spec, FAKE_CPUS);
    this.#pin = pin;
  }

  lookup(key: Uint8Array): Uint8Array | undefined {
    checkSizes(this, key);
    if (this.#isArray) return index(key) >= this.spec.maxEntries ? undefined : this.#arrayValue(key).slice();
    if (this.spec.type === MapType.LPM_TRIE) return this.#longestMatch(key)?.value.slice();
    const row = this.#rows.get(this.#name(key));
    if (row !== undefined && this.spec.type === MapType.LRU_HASH) {
      this.#rows.delete(this.#name(key));
      this.#rows.set(this.#name(key), row);
    }
    return row?.value.slice();
  }

  update(key: Uint8Array, value: Uint8Array, mode: "any" | "create" | "exist" = "any"): void {
    checkSizes(this, key, value);
    const what = `update map ${this.spec.name}`;
    if (this.#isArray) {
      if (index(key) >= this.spec.maxEntries) throw kernelError(what, E2BIG);
      if (mode === "create") throw kernelError(what, EEXIST);
    } else {
      const there = this.#rows.has(this.#name(key));
      if (this.spec.type === MapType.LPM_TRIE && prefixLength(key) > (key.length - 4) * 8)
        throw kernelError(what, EINVAL);
      if (mode === "create" && there) throw kernelError(what, EEXIST);
      if (mode === "exist" && !there) throw kernelError(what, ENOENT);
      if (!there && this.#rows.size >= this.spec.maxEntries) {
        if (this.spec.type !== MapType.LRU_HASH) throw mapFull(this.spec);
        this.#rows.delete(this.#rows.keys().next().value!);
      }
    }
    this.#rows.set(this.#name(key), { key: key.slice(), value: value.slice() });
  }

  delete(key: Uint8Array): boolean {
    checkSizes(this, key);
    if (this.#isArray) throw kernelError(`delete from map ${this.spec.name}`, EINVAL);
    return this.#rows.delete(this.#name(key));
  }

  *entries(): Iterable<readonly [Uint8Array, Uint8Array]> {
    if (this.#isArray) {
      for (let i = 0; i < this.spec.maxEntries; i++) {
        const key = new Uint8Array(4);
        new DataView(key.buffer).setUint32(0, i, true);
        yield [key, this.#arrayValue(key).slice()];
      }
      return;
    }
    for (const { key, value } of [...this.#rows.values()]) yield [key.slice(), value.slice()];
  }

  updateAll(entries: readonly (readonly [Uint8Array, Uint8Array])[]): void {
    for (const [key, value] of entries) this.update(key, value);
  }

  deleteAll(keys: readonly Uint8Array[]): number {
    return keys.filter((key) => this.delete(key)).length;
  }

  pin(path: string): void {
    this.#pin(path, this);
  }

  close(): void {
    // The garbage collector is the last holder.
  }

  get #isArray(): boolean {
    return this.spec.type === MapType.ARRAY || this.spec.type === MapType.PERCPU_ARRAY;
  }

  #arrayValue(key: Uint8Array): Uint8Array {
    return this.#rows.get(this.#name(key))?.value ?? new Uint8Array(this.storedValueSize);
  }

  /** In a trie the bits behind the prefix don't count. */
  #name(key: Uint8Array): string {
    if (this.spec.type !== MapType.LPM_TRIE) return Buffer.from(key).toString("hex");
    return nameOfPrefix(key, prefixLength(key));
  }

  #longestMatch(key: Uint8Array) {
    for (let length = Math.min(prefixLength(key), (key.length - 4) * 8); length >= 0; length--) {
      const row = this.#rows.get(nameOfPrefix(key, length));
      if (row !== undefined) return row;
    }
    return undefined;
  }
}

function nameOfPrefix(key: Uint8Array, length: number): string {
  const data = key.slice(4).map((byte, i) => byte & (0xff00 >> Math.min(8, Math.max(0, length - 8 * i))));
  return `${length}/${Buffer.from(data).toString("hex")}`;
}

function prefixLength(key: Uint8Array): number {
  return new DataView(key.buffer, key.byteOffset).getUint32(0, true);
}

const index = prefixLength;
