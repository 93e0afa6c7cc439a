import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Btf, type BtfMember, type BtfType, elfSection, parseBtf } from "./btf.ts";
import { parseComments } from "./comments.ts";
import { emitTypeScript } from "./emit.ts";

const VOID: BtfType = { kind: "other", name: "void" };
const U8 = 1, U16 = 2, U32 = 3, BE16 = 4, IDENTITY = 5, BYTES6 = 6, BOOL = 7, POINTER = 8, U64 = 9; // biome-ignore format: ids of the types below
const scalars: Btf = [
  VOID,
  { kind: "int", name: "unsigned char", size: 1, signed: false, bool: false },
  { kind: "int", name: "unsigned short", size: 2, signed: false, bool: false },
  { kind: "int", name: "unsigned int", size: 4, signed: false, bool: false },
  { kind: "typedef", name: "__be16", type: 2 },
  { kind: "typedef", name: "identity_t", type: 3 },
  { kind: "array", element: 1, length: 6 },
  { kind: "int", name: "_Bool", size: 1, signed: false, bool: true },
  { kind: "other", name: "" },
  { kind: "int", name: "unsigned long long", size: 8, signed: false, bool: false },
];
const member = (name: string, type: number, offset: number, bitfieldBits = 0): BtfMember => ({
  name,
  type,
  offsetBits: offset * 8,
  bitfieldBits,
});
const struct = (size: number, ...members: BtfMember[]): BtfType => ({ kind: "struct", name: "row", size, members });
const none = parseComments([]);

describe("a struct or enum becomes TypeScript", () => {
  it("scalars, wire order, brands, byte arrays; padding is no field", () => {
    const header = "/* One\n * row. */\nstruct row {\n\tidentity_t peer; /* who */\n\t__be16 dport;\n};\n";
    const row = struct(24, member("peer", IDENTITY, 0), member("dest_port", BE16, 4), member("mac", BYTES6, 6), member("pad", U32, 12), member("bytes", U64, 16)); // biome-ignore format: one row
    const text = emitTypeScript([...scalars, row], parseComments([header]), { identity_t: { name: "Id", from: "#x" } });
    assert.equal(
      text,
      `// Generated from bpf/include/abi through the objects' BTF. DO NOT EDIT. Regenerate: npm run generate
import type { Id } from "#x";
import { readBytes, structCodec, writeBytes } from "../codec.ts";

/** struct row, 24 bytes. One row. */
export interface Row {
  /** Who. */
  readonly peer: Id;
  readonly destPort: number;
  readonly mac: Uint8Array;
  readonly bytes: bigint;
}
/** Reads and writes {@link Row}. */
export const rowCodec = structCodec<Row>(
  "row",
  24,
  (view, at) => ({
    peer: view.getUint32(at, true) as Id,
    destPort: view.getUint16(at + 4, false),
    mac: readBytes(view, at + 6, 6),
    bytes: view.getBigUint64(at + 16, true),
  }),
  (view, at, value) => {
    view.setUint32(at, value.peer, true);
    view.setUint16(at + 4, value.destPort, false);
    writeBytes(view, at + 6, 6, value.mac);
    view.setBigUint64(at + 16, value.bytes, true);
  },
);
`,
    );
  });

  it("constants lose the prefix that they all share, but never start with a digit", () => {
    const names = (...values: string[]): BtfType => ({
      kind: "enum",
      name: values.length > 1 ? "many" : "one",
      size: 4,
      values: values.map((name, value) => ({ name, value })),
    });
    const text = emitTypeScript([VOID, names("CT_F_FIN_A", "CT_F_RST"), names("TLS_1")], none, {});
    assert.match(text, /export const Many = \{\n {2}FIN_A: 0,\n {2}RST: 1,\n\} as const;/);
    assert.match(text, /export const One = \{\n {2}TLS_1: 0,\n/);
  });
});

describe("what can't be rendered faithfully is refused", () => {
  const cases: Record<string, [BtfType, RegExp]> = {
    "a bitfield": [struct(1, member("f", U8, 0, 3)), /struct row: field f is a bitfield/],
    "a hole between fields": [
      struct(8, member("a", U8, 0), member("b", U32, 4)),
      /field b: 3 bytes of implicit padding/,
    ],
    "a hole at the end": [struct(8, member("b", U32, 0), member("a", U8, 4)), /3 bytes of implicit padding at its end/],
    "a bool": [struct(1, member("b", BOOL, 0)), /bool has no fixed encoding/],
    "a pointer": [struct(8, member("p", POINTER, 0)), /pointer can't cross/],
    "a union": [{ kind: "union", name: "either", size: 4, members: [member("a", U32, 0)] }, /union either/],
  };
  for (const [name, [type, message]] of Object.entries(cases))
    it(name, () => assert.throws(() => emitTypeScript([...scalars, type], none, {}), message));

  it("an array of anything but bytes", () => {
    const row = struct(8, member("v", scalars.length, 0));
    const types: Btf = [...scalars, { kind: "array", element: U16, length: 4 }, row];
    assert.throws(() => emitTypeScript(types, none, {}), /only arrays of bytes/);
  });
});

describe("what is no BTF is refused", () => {
  it("a file that is no ELF object", () => {
    assert.throws(
      () => elfSection(new TextEncoder().encode("#!/bin/sh\n"), ".BTF"),
      /not a little-endian ELF64 object/,
    );
  });
  it("a section with another magic number", () => {
    assert.throws(() => parseBtf(new Uint8Array(24)), /wrong magic number/);
  });
  it("a kind newer than this reader", () => {
    const section = new Uint8Array(24 + 12 + 1);
    const view = new DataView(section.buffer);
    for (const [at, value] of [[0, 0x0001eb9f], [4, 24], [12, 12], [16, 12], [20, 1], [28, 30 << 24]] as const) view.setUint32(at, value, true); // biome-ignore format: header fields
    assert.throws(() => parseBtf(section), /type 1 is of the unknown kind 30/);
  });
});
