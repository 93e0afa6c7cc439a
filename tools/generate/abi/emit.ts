// BTF types -> TypeScript. Refuses what it can't render faithfully: the layout must be readable off the C struct.
import type { Btf, BtfMember, BtfType } from "./btf.ts";
import type { Comments } from "./comments.ts";

/** A `*_t` typedef becomes a branded number: one of another module's, or one declared in the generated file. */
export interface Brand {
  readonly name: string;
  readonly from?: string;
}

type Struct = Extract<BtfType, { kind: "struct" | "union" }>;

/** A field's TypeScript type and how it is read and written. `at` is a JavaScript expression for its offset. */
interface Field {
  readonly type: string;
  readonly size: number;
  read(at: string): string;
  write(at: string, value: string): string;
}

export function emitTypeScript(btf: Btf, comments: Comments, brands: Readonly<Record<string, Brand>>): string {
  const structs = dependencyOrder(btf);
  const enums = btf
    .filter((t) => t.kind === "enum")
    .filter((t) => t.name !== "")
    .sort(byName);
  const typedefs = [
    ...new Set(btf.flatMap((t) => (t.kind === "typedef" && t.name.endsWith("_t") ? [t.name] : []))),
  ].sort();
  const used = typedefs.map((name) => ({ typedef: name, ...(brands[name] ?? { name: pascal(name.slice(0, -2)) }) }));

  const out: string[] = [
    "// Generated from bpf/include/abi through the objects' BTF. DO NOT EDIT. Regenerate: npm run generate",
  ];
  for (const from of new Set(used.flatMap((b) => b.from ?? []))) {
    const names = used.filter((b) => b.from === from).map((b) => b.name);
    out.push(`import type { ${names.sort().join(", ")} } from "${from}";`);
  }
  out.push(`import { readBytes, structCodec, writeBytes } from "../codec.ts";`, "");

  for (const brand of used) {
    if (brand.from !== undefined) continue;
    out.push(...doc("", comments.type(brand.typedef)));
    out.push(`export type ${brand.name} = number & { readonly __brand: "${brand.name}" };`, "");
  }
  for (const e of enums) out.push(...emitEnum(e, comments), "");
  for (const s of structs) if (byteNewtype(btf, s) === undefined) out.push(...emitStruct(btf, s, comments, brands), "");
  return `${out.join("\n").trimEnd()}\n`;
}

function emitEnum(e: Extract<BtfType, { kind: "enum" }>, comments: Comments): string[] {
  const name = pascal(e.name);
  const prefix = commonPrefix(e.values.map((v) => v.name));
  return [
    ...doc("", `enum ${e.name}.`, comments.type(e.name)),
    `export const ${name} = {`,
    ...e.values.flatMap((v) => [
      ...doc("  ", comments.member(e.name, v.name)),
      `  ${v.name.slice(prefix.length)}: ${v.value > 0xff ? `0x${v.value.toString(16)}` : v.value},`,
    ]),
    "} as const;",
    `export type ${name} = (typeof ${name})[keyof typeof ${name}];`,
  ];
}

function emitStruct(btf: Btf, s: Struct, comments: Comments, brands: Readonly<Record<string, Brand>>): string[] {
  const fields = layout(btf, s, brands).filter(({ member }) => !isPadding(member.name));
  const name = pascal(s.name);
  return [
    ...doc("", `struct ${s.name}, ${s.size} bytes.`, comments.type(s.name)),
    `export interface ${name} {`,
    ...fields.flatMap(({ member, field }) => [
      ...doc("  ", comments.member(s.name, member.name)),
      `  readonly ${camel(member.name)}: ${field.type};`,
    ]),
    "}",
    `/** Reads and writes {@link ${name}}. */`,
    `export const ${camel(s.name)}Codec = structCodec<${name}>(`,
    `  "${s.name}",`,
    `  ${s.size},`,
    "  (view, at) => ({",
    ...fields.map(({ member, at, field }) => `    ${camel(member.name)}: ${field.read(plus("at", at))},`),
    "  }),",
    "  (view, at, value) => {",
    ...fields.map(({ member, at, field }) => `    ${field.write(plus("at", at), `value.${camel(member.name)}`)};`),
    "  },",
    ");",
  ];
}

/** Members with byte offsets. Throws unless they follow one another without a gap, up to the struct's end. */
function layout(btf: Btf, s: Struct, brands: Readonly<Record<string, Brand>>) {
  const where = `struct ${s.name}`;
  if (s.kind === "union") throw new Error(`union ${s.name}: unions have no single reading; use a struct with a tag`);
  let end = 0;
  const fields = s.members.map((member: BtfMember) => {
    const path = `${where}: field ${member.name || "(anonymous)"}`;
    if (member.bitfieldBits !== 0) throw new Error(`${path} is a bitfield; use a flags field and an enum`);
    const at = member.offsetBits / 8;
    if (at !== end) throw new Error(`${path}: ${at - end} bytes of implicit padding before it; declare them as pad`);
    const field = fieldOf(btf, member.type, brands, path);
    end = at + field.size;
    return { member, at, field };
  });
  if (end !== s.size)
    throw new Error(`${where}: ${s.size - end} bytes of implicit padding at its end; declare them as pad`);
  return fields;
}

function fieldOf(btf: Btf, id: number, brands: Readonly<Record<string, Brand>>, path: string): Field {
  let type = btf[id]!;
  let brand: string | undefined;
  let bigEndian = false;
  while (type.kind === "typedef" || type.kind === "qualifier") {
    if (/^__be(16|32|64)$/.test(type.name)) bigEndian = true;
    else if (type.kind === "typedef" && type.name.endsWith("_t"))
      brand ??= brands[type.name]?.name ?? pascal(type.name.slice(0, -2));
    type = btf[type.type]!;
  }
  switch (type.kind) {
    case "int": {
      if (type.bool) throw new Error(`${path}: bool has no fixed encoding; use __u8`);
      const bits = type.size * 8;
      const method = `${bits === 64 ? "Big" : ""}${type.signed ? "Int" : "Uint"}${bits}`;
      const order = bits === 8 ? "" : bigEndian ? ", false" : ", true";
      return {
        type: brand ?? (bits === 64 ? "bigint" : "number"),
        size: type.size,
        read: (at) => `view.get${method}(${at}${order})${brand === undefined ? "" : ` as ${brand}`}`,
        write: (at, value) => `view.set${method}(${at}, ${value}${order})`,
      };
    }
    case "enum":
      return {
        type: pascal(type.name),
        size: type.size,
        read: (at) => `view.getUint${type.size * 8}(${at}${type.size > 1 ? ", true" : ""}) as ${pascal(type.name)}`,
        write: (at, value) => `view.setUint${type.size * 8}(${at}, ${value}${type.size > 1 ? ", true" : ""})`,
      };
    case "array": {
      const element = fieldOf(btf, type.element, brands, path);
      if (element.size !== 1) throw new Error(`${path}: only arrays of bytes are supported`);
      return bytesField(type.length);
    }
    case "struct": {
      const length = byteNewtype(btf, type);
      if (length !== undefined) return bytesField(length);
      const codec = `${camel(type.name)}Codec`;
      return {
        type: pascal(type.name),
        size: type.size,
        read: (at) => `${codec}.read(view, ${at})`,
        write: (at, value) => `${codec}.write(view, ${at}, ${value})`,
      };
    }
    case "union":
      throw new Error(`${path}: unions have no single reading; use a struct with a tag`);
    case "other":
      throw new Error(`${path}: type ${type.name || "pointer"} can't cross to userspace`);
  }
}

function bytesField(length: number): Field {
  return {
    type: "Uint8Array",
    size: length,
    read: (at) => `readBytes(view, ${at}, ${length})`,
    write: (at, value) => `writeBytes(view, ${at}, ${length}, ${value})`,
  };
}

/** A struct around nothing but one byte array (struct ip_addr) is that array; its length, or undefined. */
function byteNewtype(btf: Btf, s: Struct): number | undefined {
  if (s.kind !== "struct" || s.members.length !== 1) return undefined;
  const member = btf[s.members[0]!.type]!;
  return member.kind === "array" && member.length === s.size ? member.length : undefined;
}

/** Structs by name, each after those it contains, so that the text doesn't depend on the compiler's order. */
function dependencyOrder(btf: Btf): Struct[] {
  const done = new Set<string>();
  const order: Struct[] = [];
  const visit = (s: Struct): void => {
    if (done.has(s.name)) return;
    done.add(s.name);
    for (const member of s.members) {
      let type = btf[member.type]!;
      while (type.kind === "typedef" || type.kind === "qualifier") type = btf[type.type]!;
      if (type.kind === "struct" || type.kind === "union") visit(type);
    }
    order.push(s);
  };
  const structs = btf.filter((t): t is Struct => t.kind === "struct" || t.kind === "union").sort(byName);
  for (const s of structs) if (s.name !== "") visit(s); // anonymous structs are map definitions
  return order;
}

function isPadding(name: string): boolean {
  return /^_*pad\d*$/.test(name);
}

/** What all names share up to an underscore: DROP_, CT_F_. */
function commonPrefix(names: readonly string[]): string {
  const first = names[0] ?? "";
  let end = first.lastIndexOf("_") + 1;
  while (end > 0 && !names.every((n) => n.startsWith(first.slice(0, end)) && /^[A-Za-z]/.test(n.slice(end))))
    end = first.lastIndexOf("_", end - 2) + 1;
  return first.slice(0, end);
}

function byName(a: { name: string }, b: { name: string }): number {
  return a.name < b.name ? -1 : 1;
}

function pascal(snake: string): string {
  return snake.replace(/(?:^|_)([a-z0-9])/g, (_, c: string) => c.toUpperCase());
}

function camel(snake: string): string {
  return snake.replace(/_([a-z0-9])/g, (_, c: string) => c.toUpperCase());
}

function plus(base: string, offset: number): string {
  return offset === 0 ? base : `${base} + ${offset}`;
}

/** A comment in C style ("the initiator has closed its half") as one in ours. */
function sentence(comment: string): string {
  const capital = /^(?!struct |enum )[a-z]+\b(?![_[:])/.test(comment)
    ? comment[0]!.toUpperCase() + comment.slice(1)
    : comment;
  return /[.?!]$/.test(capital) ? capital : `${capital}.`;
}

function doc(indent: string, ...comments: (string | undefined)[]): string[] {
  const text = comments.flatMap((comment) => (comment === undefined ? [] : sentence(comment))).join(" ");
  if (text === "") return [];
  const oneLine = `${indent}/** ${text.replaceAll("*/", "* /")} */`;
  if (oneLine.length <= 120) return [oneLine];
  const lines = text.replaceAll("*/", "* /").match(/.{1,110}(?: |$)/g) ?? [];
  return [`${indent}/**`, ...lines.map((line) => `${indent} * ${line.trimEnd()}`), `${indent} */`];
}
