/** Bytes of one C struct <-> a value. Layout errors can't happen at run time: generated from BTF. */
export interface Codec<T> {
  /** The C struct's name. */
  readonly name: string;
  /** In bytes; what the kernel calls key_size or value_size. */
  readonly size: number;
  /** Reads in place; arrays in the result are copies, so the view's memory may be reused. Throws RangeError when too short. */
  read(view: DataView, offset?: number): T;
  /** Writes all `size` bytes, padding as zeroes. */
  write(view: DataView, offset: number, value: T): void;
  /** A fresh array of `size` bytes. */
  encode(value: T): Uint8Array;
  /** The opposite of encode. */
  decode(bytes: Uint8Array): T;
}

/** For generated code. `write` gets memory that is zero already. */
export function structCodec<T>(
  name: string,
  size: number,
  read: (view: DataView, at: number) => T,
  write: (view: DataView, at: number, value: T) => void,
): Codec<T> {
  return {
    name,
    size,
    read: (view, offset = 0) => read(view, offset),
    write(view, offset, value) {
      new Uint8Array(view.buffer, view.byteOffset + offset, size).fill(0);
      write(view, offset, value);
    },
    encode(value) {
      const bytes = new Uint8Array(size);
      write(new DataView(bytes.buffer), 0, value);
      return bytes;
    },
    decode: (bytes) => read(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0),
  };
}

/** For generated code: a copy of a byte array. */
export function readBytes(view: DataView, at: number, length: number): Uint8Array {
  if (at + length > view.byteLength)
    throw new RangeError(`${length} bytes at ${at}: outside of ${view.byteLength} bytes`);
  return new Uint8Array(view.buffer, view.byteOffset + at, length).slice();
}

/** For generated code. Refuses a length that isn't the field's: a 4-byte address is not silently widened. */
export function writeBytes(view: DataView, at: number, length: number, bytes: Uint8Array): void {
  if (bytes.length !== length) throw new RangeError(`a field of ${length} bytes can't hold ${bytes.length}`);
  new Uint8Array(view.buffer, view.byteOffset + at, length).set(bytes);
}

const reversed = new WeakMap<object, ReadonlyMap<number, string>>();

/**
 * The constant's name without its prefix, as `DropReason` spells it: 133 -> "POLICY_DENIED"; undefined for a code that
 * this version doesn't know.
 */
export function enumName(codes: Readonly<Record<string, number>>, code: number): string | undefined {
  let names = reversed.get(codes);
  if (names === undefined) {
    names = new Map(Object.entries(codes).map(([name, value]) => [value, name]));
    reversed.set(codes, names);
  }
  return names.get(code);
}

/** The names of the bits that are set, lowest first; unknown bits as hexadecimal numbers. */
export function flagNames(flags: Readonly<Record<string, number>>, bits: number): string[] {
  const names: string[] = [];
  for (let bit = 1, rest = bits >>> 0; rest !== 0; bit *= 2) {
    if (rest % (bit * 2) < bit) continue;
    rest -= bit;
    names.push(enumName(flags, bit) ?? `0x${bit.toString(16)}`);
  }
  return names;
}
