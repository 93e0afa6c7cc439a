import { readFileSync } from "node:fs";

/** Kinds that something can be attached to. */
export const BtfKind = { TYPEDEF: 8, FUNC: 12 } as const;

/** Extra bytes behind a type's 12, by kind: fixed, and for each of its members. https://docs.kernel.org/bpf/btf.html */
const extra: readonly (readonly [fixed: number, each: number])[] = [
  [0, 0], [4, 0], [0, 0], [12, 0], [0, 12], [0, 12], [0, 8], [0, 0], [0, 0], [0, 0],
  [0, 0], [0, 0], [0, 0], [0, 8], [4, 0], [0, 12], [0, 0], [4, 0], [0, 0], [0, 12],
]; // biome-ignore format: a table by kind

/** Number of a type of the running kernel; undefined when it has none of that name. Takes some 20 ms. */
export function findKernelType(kind: number, name: string): number | undefined {
  const file = readFileSync("/sys/kernel/btf/vmlinux");
  const header = file.readUInt32LE(4);
  const types = header + file.readUInt32LE(8);
  const end = types + file.readUInt32LE(12);
  const strings = header + file.readUInt32LE(16);
  const text = file.indexOf(`\0${name}\0`, strings, "latin1");
  if (text < 0) return undefined;
  const nameOffset = text + 1 - strings;
  for (let at = types, id = 1; at < end; id++) {
    const info = file.readUInt32LE(at + 4);
    const found = (info >>> 24) & 0x1f;
    if (found === kind && file.readUInt32LE(at) === nameOffset) return id;
    const [fixed, each] = extra[found] ?? [0, 0];
    at += 12 + fixed + each * (info & 0xffff);
  }
  return undefined;
}
