// Reads the .BTF section of an ELF object: https://docs.kernel.org/bpf/btf.html
// Only what a layout is made of becomes a type of its own; everything else is "other" and keeps its place in the numbering.

export type BtfType =
  | {
      readonly kind: "int";
      readonly name: string;
      readonly size: number;
      readonly signed: boolean;
      readonly bool: boolean;
    }
  | { readonly kind: "array"; readonly element: number; readonly length: number }
  | {
      readonly kind: "struct" | "union";
      readonly name: string;
      readonly size: number;
      readonly members: readonly BtfMember[];
    }
  | { readonly kind: "enum"; readonly name: string; readonly size: number; readonly values: readonly BtfEnumValue[] }
  | { readonly kind: "typedef" | "qualifier"; readonly name: string; readonly type: number }
  | { readonly kind: "other"; readonly name: string };

export interface BtfMember {
  readonly name: string;
  readonly type: number;
  readonly offsetBits: number;
  /** 0: not a bitfield. */
  readonly bitfieldBits: number;
}

export interface BtfEnumValue {
  readonly name: string;
  readonly value: number;
}

/** Types by BTF id; id 0 is void. */
export type Btf = readonly BtfType[];

const MAGIC = 0xeb9f;
const KIND = {
  INT: 1, PTR: 2, ARRAY: 3, STRUCT: 4, UNION: 5, ENUM: 6, FWD: 7, TYPEDEF: 8, VOLATILE: 9, CONST: 10, RESTRICT: 11,
  FUNC: 12, FUNC_PROTO: 13, VAR: 14, DATASEC: 15, FLOAT: 16, DECL_TAG: 17, TYPE_TAG: 18, ENUM64: 19,
} as const; // biome-ignore format: a table of the kernel's numbers

/** The section's bytes. Throws when the file is no little-endian ELF64 object or has no such section. */
export function elfSection(file: Uint8Array, name: string): Uint8Array {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (file.length < 64 || view.getUint32(0, false) !== 0x7f454c46 || file[4] !== 2 || file[5] !== 1)
    throw new Error("not a little-endian ELF64 object");
  const tableOffset = Number(view.getBigUint64(40, true));
  const entrySize = view.getUint16(58, true);
  const count = view.getUint16(60, true);
  const header = (index: number) => {
    const at = tableOffset + index * entrySize;
    return {
      name: view.getUint32(at, true),
      offset: Number(view.getBigUint64(at + 24, true)),
      size: Number(view.getBigUint64(at + 32, true)),
    };
  };
  const names = header(view.getUint16(62, true));
  for (let i = 0; i < count; i++) {
    const section = header(i);
    if (cString(file, names.offset + section.name) === name)
      return file.subarray(section.offset, section.offset + section.size);
  }
  throw new Error(`no section ${name}; was it compiled with -g?`);
}

/** Throws on a foreign byte order, or a kind newer than this reader (its length is unknown, so nothing after it can be read). */
export function parseBtf(section: Uint8Array): Btf {
  const view = new DataView(section.buffer, section.byteOffset, section.byteLength);
  if (view.getUint16(0, true) !== MAGIC) throw new Error("BTF: wrong magic number, or big-endian");
  const headerLength = view.getUint32(4, true);
  const typesAt = headerLength + view.getUint32(8, true);
  const typesEnd = typesAt + view.getUint32(12, true);
  const stringsAt = headerLength + view.getUint32(16, true);
  const text = (offset: number) => cString(section, stringsAt + offset);

  const types: BtfType[] = [{ kind: "other", name: "void" }];
  for (let at = typesAt; at < typesEnd; ) {
    const name = text(view.getUint32(at, true));
    const info = view.getUint32(at + 4, true);
    const sizeOrType = view.getUint32(at + 8, true);
    const vlen = info & 0xffff;
    const kind = (info >>> 24) & 0x1f;
    const flag = info >>> 31 === 1;
    at += 12;
    switch (kind) {
      case KIND.INT: {
        const encoding = view.getUint32(at, true) >>> 24;
        types.push({ kind: "int", name, size: sizeOrType, signed: (encoding & 1) !== 0, bool: (encoding & 4) !== 0 });
        at += 4;
        break;
      }
      case KIND.ARRAY:
        types.push({ kind: "array", element: view.getUint32(at, true), length: view.getUint32(at + 8, true) });
        at += 12;
        break;
      case KIND.STRUCT:
      case KIND.UNION: {
        const members: BtfMember[] = [];
        for (let i = 0; i < vlen; i++, at += 12) {
          const offset = view.getUint32(at + 8, true);
          members.push({
            name: text(view.getUint32(at, true)),
            type: view.getUint32(at + 4, true),
            offsetBits: flag ? offset & 0xffffff : offset,
            bitfieldBits: flag ? offset >>> 24 : 0,
          });
        }
        types.push({ kind: kind === KIND.STRUCT ? "struct" : "union", name, size: sizeOrType, members });
        break;
      }
      case KIND.ENUM: {
        const values: BtfEnumValue[] = [];
        for (let i = 0; i < vlen; i++, at += 8) {
          const value = flag ? view.getInt32(at + 4, true) : view.getUint32(at + 4, true);
          values.push({ name: text(view.getUint32(at, true)), value });
        }
        types.push({ kind: "enum", name, size: sizeOrType, values });
        break;
      }
      case KIND.TYPEDEF:
        types.push({ kind: "typedef", name, type: sizeOrType });
        break;
      case KIND.VOLATILE:
      case KIND.CONST:
      case KIND.RESTRICT:
      case KIND.TYPE_TAG:
        types.push({ kind: "qualifier", name, type: sizeOrType });
        break;
      case KIND.PTR:
      case KIND.FWD:
      case KIND.FUNC:
      case KIND.FLOAT:
        types.push({ kind: "other", name });
        break;
      case KIND.FUNC_PROTO:
        types.push({ kind: "other", name });
        at += vlen * 8;
        break;
      case KIND.VAR:
      case KIND.DECL_TAG:
        types.push({ kind: "other", name });
        at += 4;
        break;
      case KIND.DATASEC:
      case KIND.ENUM64:
        types.push({ kind: "other", name });
        at += vlen * 12;
        break;
      default:
        throw new Error(`BTF: type ${types.length} is of the unknown kind ${kind}`);
    }
  }
  return types;
}

function cString(bytes: Uint8Array, at: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + at, bytes.indexOf(0, at) - at).toString("utf8");
}
