import { bpf, Command, objectInfo, pin, readCString, struct, tryBpf } from "./bpf-syscall.ts";
import { KernelError, kernelError } from "./errors.ts";
import { type BpfMap, type MapOfMaps, type MapSpec, MapType } from "./kernel.ts";
import { libbpf, libc, possibleCpus } from "./native.ts";

const ENOENT = 2;
const E2BIG = 7;
const ENOSPC = 28;
const modes = { any: 0n, create: 1n, exist: 2n } as const;
const BATCH = 4096;

/** What `lookup` returns for such a map. */
export function storedValueSize(spec: MapSpec, cpus: number): number {
  const perCpu = spec.type === MapType.PERCPU_HASH || spec.type === MapType.PERCPU_ARRAY;
  return perCpu ? cpus * ((spec.valueSize + 7) & ~7) : spec.valueSize;
}

/** The error of a full map; by how much it is too small is for the caller to say. */
export function mapFull(spec: MapSpec): KernelError {
  return new KernelError("MAP_FULL", "E2BIG", `map ${spec.name} is full: it holds ${spec.maxEntries} entries`, {
    map: spec.name,
    maxEntries: spec.maxEntries,
  });
}

/** Throws unless key and value have the map's sizes: the kernel would read past their ends. */
export function checkSizes(
  map: { readonly spec: MapSpec; readonly storedValueSize: number },
  key: Uint8Array,
  value?: Uint8Array,
): void {
  const { name, keySize } = map.spec;
  if (key.length !== keySize) throw new RangeError(`map ${name}: a key of ${key.length} bytes, ${keySize} expected`);
  if (value !== undefined && value.length !== map.storedValueSize)
    throw new RangeError(`map ${name}: a value of ${value.length} bytes, ${map.storedValueSize} expected`);
}

export class RealMap implements BpfMap {
  readonly fd: number;
  readonly id: number;
  readonly spec: MapSpec;
  readonly storedValueSize: number;
  /** Whether this kernel has batch operations for the map's type: found out by the first try. */
  #batches = true;

  /** Takes over the file descriptor. */
  constructor(fd: number) {
    const info = objectInfo(fd, 80, "map");
    this.fd = fd;
    this.id = info.readUInt32LE(4);
    this.spec = {
      type: info.readUInt32LE(0),
      keySize: info.readUInt32LE(8),
      valueSize: info.readUInt32LE(12),
      maxEntries: info.readUInt32LE(16),
      flags: info.readUInt32LE(20),
      name: readCString(info, 24, 16),
    };
    this.storedValueSize = storedValueSize(this.spec, possibleCpus());
  }

  static create(spec: MapSpec, sample?: RealMap): RealMap {
    const name = Buffer.alloc(16);
    name.write(spec.name.slice(0, 15));
    const attr = struct(72, [
      [0, "u32", spec.type],
      [4, "u32", spec.keySize],
      [8, "u32", spec.valueSize],
      [12, "u32", spec.maxEntries],
      [16, "u32", spec.flags],
      [20, "u32", sample?.fd ?? 0],
    ]);
    name.copy(attr, 28);
    return new RealMap(bpf(Command.MAP_CREATE, attr, `create map ${spec.name}`));
  }

  lookup(key: Uint8Array): Uint8Array | undefined {
    checkSizes(this, key);
    const value = new Uint8Array(this.storedValueSize);
    const result = libbpf.mapLookup(this.fd, key, value);
    if (result === 0) return value;
    if (result === -ENOENT) return undefined;
    throw kernelError(`look up in map ${this.spec.name}`, -result);
  }

  update(key: Uint8Array, value: Uint8Array, mode: "any" | "create" | "exist" = "any"): void {
    checkSizes(this, key, value);
    const result = libbpf.mapUpdate(this.fd, key, value, modes[mode]);
    if (result !== 0) throw this.#updateError(-result);
  }

  delete(key: Uint8Array): boolean {
    checkSizes(this, key);
    const result = libbpf.mapDelete(this.fd, key);
    if (result === 0) return true;
    if (result === -ENOENT) return false;
    throw kernelError(`delete from map ${this.spec.name}`, -result);
  }

  *entries(): Iterable<readonly [Uint8Array, Uint8Array]> {
    if (this.#batches) {
      // A hash's cursor is a bucket, so its entries may come and go between two batches; a key as cursor must not vanish.
      const batches = this.#lookupBatches();
      for (const batch of isHash(this.spec) ? batches : [...batches]) yield* batch;
      if (this.#batches) return;
    }
    yield* this.#entriesByKey();
  }

  updateAll(entries: readonly (readonly [Uint8Array, Uint8Array])[]): void {
    for (let at = 0; at < entries.length; at += BATCH) {
      const some = entries.slice(at, at + BATCH);
      if (!this.#updateBatch(some)) for (const [key, value] of some) this.update(key, value);
    }
  }

  deleteAll(keys: readonly Uint8Array[]): number {
    let deleted = 0;
    // The kernel's batch deletion stops at the first absent key, without its place: that rest goes key by key.
    for (let at = 0; at < keys.length; ) {
      const some = keys.slice(at, at + BATCH);
      const done = this.#deleteBatch(some);
      deleted += done;
      at += done;
      if (done === some.length) continue;
      const rest = some.slice(done);
      for (const key of rest) if (this.delete(key)) deleted++;
      at += rest.length;
    }
    return deleted;
  }

  pin(path: string): void {
    pin(this.fd, path, `map ${this.spec.name}`);
  }

  close(): void {
    libc.close(this.fd);
  }

  #updateError(errno: number): KernelError {
    // Hashes say E2BIG, tries ENOSPC. An array's E2BIG is an index past its end.
    const full =
      (errno === E2BIG || errno === ENOSPC) &&
      this.spec.type !== MapType.ARRAY &&
      this.spec.type !== MapType.PERCPU_ARRAY;
    return full ? mapFull(this.spec) : kernelError(`update map ${this.spec.name}`, errno);
  }

  /** False when the kernel has no batch operation for this map. */
  #updateBatch(entries: readonly (readonly [Uint8Array, Uint8Array])[]): boolean {
    if (!this.#batches || entries.length < 2) return false;
    const { keySize } = this.spec;
    const keys = new Uint8Array(entries.length * keySize);
    const values = new Uint8Array(entries.length * this.storedValueSize);
    for (const [i, [key, value]] of entries.entries()) {
      checkSizes(this, key, value);
      keys.set(key, i * keySize);
      values.set(value, i * this.storedValueSize);
    }
    const count = new Uint32Array([entries.length]);
    const result = libbpf.mapUpdateBatch(this.fd, keys, values, count, null);
    if (result === 0) return true;
    if (isUnsupported(-result)) {
      this.#batches = false;
      return false;
    }
    throw this.#updateError(-result);
  }

  /** How many of the first keys were deleted. */
  #deleteBatch(keys: readonly Uint8Array[]): number {
    if (!this.#batches || keys.length < 2) return 0;
    const { keySize } = this.spec;
    const bytes = new Uint8Array(keys.length * keySize);
    for (const [i, key] of keys.entries()) {
      checkSizes(this, key);
      bytes.set(key, i * keySize);
    }
    const count = new Uint32Array([keys.length]);
    const result = libbpf.mapDeleteBatch(this.fd, bytes, count, null);
    if (result === 0) return keys.length;
    if (result === -ENOENT) return count[0]!;
    if (!isUnsupported(-result)) throw kernelError(`delete from map ${this.spec.name}`, -result);
    this.#batches = false;
    return 0;
  }

  /** All entries, a system call's worth at a time; nothing, and `#batches` is false, when the kernel has no such operation for this map. */
  *#lookupBatches(): Iterable<[Uint8Array, Uint8Array][]> {
    const { keySize, maxEntries } = this.spec;
    const size = this.storedValueSize;
    // A hash's cursor is a bucket number (4 bytes), everyone else's a key.
    const cursors = [new Uint8Array(Math.max(keySize, 8)), new Uint8Array(Math.max(keySize, 8))] as const;
    let room = Math.min(BATCH, maxEntries);
    for (let round = 0; ; ) {
      const keys = new Uint8Array(room * keySize);
      const values = new Uint8Array(room * size);
      const count = new Uint32Array([room]);
      const [from, to] = round % 2 === 0 ? cursors : [cursors[1], cursors[0]];
      const result = libbpf.mapLookupBatch(this.fd, round === 0 ? null : from, to, keys, values, count, null);
      if (result === -ENOSPC) {
        room *= 2; // one bucket has more entries than there was room for
        continue;
      }
      if (result !== 0 && result !== -ENOENT) {
        if (round === 0 && isUnsupported(-result)) {
          this.#batches = false;
          return;
        }
        throw kernelError(`read map ${this.spec.name}`, -result);
      }
      const batch: [Uint8Array, Uint8Array][] = [];
      for (let i = 0; i < count[0]!; i++)
        batch.push([keys.slice(i * keySize, (i + 1) * keySize), values.slice(i * size, (i + 1) * size)]);
      yield batch;
      if (result === -ENOENT) return;
      round++;
    }
  }

  *#entriesByKey(): Iterable<readonly [Uint8Array, Uint8Array]> {
    let key: Uint8Array | null = null;
    // Bounded: a key that is deleted under our feet makes the kernel start from the first one again.
    for (let steps = 0; steps <= 2 * this.spec.maxEntries; steps++) {
      const next = new Uint8Array(this.spec.keySize);
      const result = libbpf.mapNextKey(this.fd, key, next);
      if (result === -ENOENT) return;
      if (result !== 0) throw kernelError(`read map ${this.spec.name}`, -result);
      const value = this.lookup(next);
      if (value !== undefined) yield [next, value];
      key = next.slice();
    }
  }
}

/** What a map of maps holds: written by file descriptor, read by id. */
export function mapsIn(outer: RealMap): MapOfMaps {
  return {
    get(key) {
      const value = outer.lookup(key);
      if (value === undefined) return undefined;
      const id = new DataView(value.buffer).getUint32(0, true);
      const fd = tryBpf(Command.MAP_GET_FD_BY_ID, struct(12, [[0, "u32", id]]));
      if (fd >= 0) return new RealMap(fd);
      if (fd === -ENOENT) return undefined; // replaced meanwhile
      throw kernelError(`open map ${id} of ${outer.spec.name}`, -fd);
    },
    set(key, map) {
      const value = new Uint8Array(4);
      new DataView(value.buffer).setUint32(0, (map as RealMap).fd, true);
      outer.update(key, value);
    },
    delete: (key) => outer.delete(key),
    *keys() {
      for (const [key] of outer.entries()) yield key;
    },
  };
}

function isHash({ type }: MapSpec): boolean {
  return type === MapType.HASH || type === MapType.LRU_HASH;
}

/** EINVAL and (EN)OTSUPP: how kernels say that a map type has no batch operation. */
function isUnsupported(errno: number): boolean {
  return errno === 22 || errno === 95 || errno === 524;
}
