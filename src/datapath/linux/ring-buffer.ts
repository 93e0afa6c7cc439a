import koffi from "koffi";
import { kernelError } from "./errors.ts";
import type { RingBuffer } from "./kernel.ts";
import type { RealMap } from "./map.ts";
import { lastErrno, libc, memoryAt } from "./native.ts";

const PAGE = 4096;
const PROT_READ = 1;
const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
const BUSY = 0x80000000;
const DISCARDED = 0x40000000;
const LENGTH = 0x3fffffff;
const HEADER = 8;

/**
 * A BPF ring buffer read in place: https://docs.kernel.org/bpf/ringbuf.html. The kernel would map the data twice in a row, so
 * that a record which wraps is contiguous; that would be resident memory of ours once more, so we map it once and copy the
 * one record in each turn that wraps. The kernel orders its writes with release stores on the producer position and on each
 * record's header; Atomics give the matching loads.
 */
export class RealRingBuffer implements RingBuffer {
  readonly capacityBytes: number;
  readonly #fd: number;
  readonly #mappings: { readonly pointer: unknown; readonly length: number }[] = [];
  readonly #consumer: BigInt64Array;
  readonly #producer: BigInt64Array;
  readonly #headers: Int32Array;
  readonly #view: DataView;

  constructor(map: RealMap) {
    const size = map.spec.maxEntries;
    this.capacityBytes = size;
    this.#fd = map.fd;
    const consumer = this.#map(PAGE, PROT_READ_WRITE, 0);
    const producer = this.#map(PAGE + size, PROT_READ, PAGE);
    this.#consumer = new BigInt64Array(consumer, 0, 1);
    this.#producer = new BigInt64Array(producer, 0, 1);
    this.#headers = new Int32Array(producer, PAGE);
    this.#view = new DataView(producer, PAGE);
  }

  get backlogBytes(): number {
    this.#checkOpen();
    return Number(Atomics.load(this.#producer, 0) - Atomics.load(this.#consumer, 0));
  }

  drain(record: (view: DataView, offset: number, length: number) => void, limit = Number.POSITIVE_INFINITY): number {
    this.#checkOpen();
    // Numbers, not bigints, in the loop: positions are byte counts and stay below 2^53 for centuries.
    let position = Number(Atomics.load(this.#consumer, 0));
    const end = Number(Atomics.load(this.#producer, 0));
    let count = 0;
    try {
      while (position < end && count < limit) {
        const at = position % this.capacityBytes;
        const header = Atomics.load(this.#headers, at >>> 2) >>> 0;
        if (header >= BUSY) break; // reserved, not yet written: those behind it must wait to keep the order
        const length = header & LENGTH;
        position += (length + HEADER + 7) & ~7;
        if ((header & DISCARDED) !== 0) continue;
        count++;
        if (at + HEADER + length <= this.capacityBytes) record(this.#view, at + HEADER, length);
        else record(this.#copyOfWrapped(at + HEADER, length), 0, length);
      }
    } finally {
      Atomics.store(this.#consumer, 0, BigInt(position));
    }
    return count;
  }

  #copyOfWrapped(at: number, length: number): DataView {
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length; i++) bytes[i] = this.#view.getUint8((at + i) % this.capacityBytes);
    return new DataView(bytes.buffer);
  }

  onReadable(callback: () => void): () => void {
    const handle = koffi.node.poll(this.#fd, { readable: true }, () => callback());
    return () => handle.close();
  }

  close(): void {
    for (const { pointer, length } of this.#mappings.splice(0)) libc.munmap(pointer, length);
  }

  /** The memory behind the views is gone after close: touching it would end the process. */
  #checkOpen(): void {
    if (this.#mappings.length === 0) throw new Error("the ring buffer is closed");
  }

  #map(length: number, protection: number, offset: number): ArrayBuffer {
    const pointer: unknown = libc.mmap(null, length, protection, MAP_SHARED, this.#fd, offset);
    // MAP_FAILED is (void *)-1.
    if (pointer === null || BigInt.asIntN(64, pointer as bigint) === -1n)
      throw kernelError("map the ring buffer into memory", lastErrno());
    this.#mappings.push({ pointer, length });
    return memoryAt(pointer, length);
  }
}
