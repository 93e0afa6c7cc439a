import type { Codec } from "#contracts/bpf";

function scalar<T>(
  name: string,
  size: number,
  read: (view: DataView, at: number) => T,
  write: (view: DataView, at: number, value: T) => void,
): Codec<T> {
  return {
    name,
    size,
    read: (view, offset = 0) => read(view, offset),
    write,
    encode(value) {
      const bytes = new Uint8Array(size);
      write(new DataView(bytes.buffer), 0, value);
      return bytes;
    },
    decode: (bytes) => read(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0),
  };
}

/** A number of two bytes in the machine's order, possibly branded. */
export const u16 = <T extends number = number>(): Codec<T> =>
  scalar("u16", 2, (view, at) => view.getUint16(at, true) as T, (view, at, value) => view.setUint16(at, value, true)); // biome-ignore format: one row

export const u32: Codec<number> = scalar(
  "u32",
  4,
  (view, at) => view.getUint32(at, true),
  (view, at, value) => view.setUint32(at, value, true),
);

export const u64: Codec<bigint> = scalar(
  "u64",
  8,
  (view, at) => view.getBigUint64(at, true),
  (view, at, value) => view.setBigUint64(at, value, true),
);
