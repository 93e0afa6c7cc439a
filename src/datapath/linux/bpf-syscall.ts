// bpf(2). Attributes are built field by field; offsets are those of `union bpf_attr` in linux/bpf.h.
import { mkdirSync, renameSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { kernelError } from "./errors.ts";
import { addressOf, lastErrno, libc, syscallNumber } from "./native.ts";

/** Commands of bpf(2). */
export const Command = {
  MAP_CREATE: 0,
  PROG_LOAD: 5,
  OBJ_PIN: 6,
  OBJ_GET: 7,
  PROG_ATTACH: 8,
  PROG_TEST_RUN: 10,
  OBJ_GET_INFO_BY_FD: 15,
  PROG_QUERY: 16,
  RAW_TRACEPOINT_OPEN: 17,
  PROG_GET_FD_BY_ID: 13,
  MAP_GET_FD_BY_ID: 14,
  LINK_CREATE: 28,
  LINK_UPDATE: 29,
  LINK_DETACH: 34,
} as const;

export type Field =
  | readonly [at: number, type: "u32" | "i32", value: number]
  | readonly [at: number, type: "u64", value: bigint]
  | readonly [at: number, type: "pointer", value: Uint8Array];

/** A struct of `size` bytes with these fields; the rest is zero. Pointers refer to the arrays: keep them alive over the call. */
export function struct(size: number, fields: readonly Field[]): Buffer {
  const bytes = Buffer.alloc(size);
  for (const [at, type, value] of fields) {
    if (type === "u32") bytes.writeUInt32LE(value, at);
    else if (type === "i32") bytes.writeInt32LE(value, at);
    else if (type === "u64") bytes.writeBigUInt64LE(value, at);
    else bytes.writeBigUInt64LE(addressOf(value as Uint8Array), at);
  }
  return bytes;
}

/** Zero-terminated text. */
export function cString(text: string): Buffer {
  return Buffer.from(`${text}\0`);
}

export function readCString(bytes: Buffer, at: number, maxLength: number): string {
  const end = bytes.indexOf(0, at);
  return bytes.toString("utf8", at, end < 0 ? at + maxLength : Math.min(end, at + maxLength));
}

/** The result, or -errno. */
export function tryBpf(command: number, attr: Buffer): number {
  const result = Number(libc.syscall3(syscallNumber("bpf"), command, attr, attr.length));
  return result < 0 ? -lastErrno() : result;
}

/** The result; throws when the kernel refuses. `what` names operation and object. */
export function bpf(command: number, attr: Buffer, what: string): number {
  const result = tryBpf(command, attr);
  if (result < 0) throw kernelError(what, -result);
  return result;
}

/** `struct bpf_{map,prog,link}_info` of an open object. */
export function objectInfo(fd: number, size: number, what: string): Buffer {
  const info = Buffer.alloc(size);
  bpf(Command.OBJ_GET_INFO_BY_FD, struct(16, [[0, "u32", fd], [4, "u32", size], [8, "pointer", info]]), `inspect ${what}`); // biome-ignore format: one struct
  return info;
}

/** File descriptor of a pinned object, or undefined when the path doesn't exist. */
export function openPin(path: string): number | undefined {
  const name = cString(path);
  const fd = tryBpf(Command.OBJ_GET, struct(16, [[0, "pointer", name]])); // biome-ignore format: one struct
  if (fd >= 0) return fd;
  if (fd === -2) return undefined;
  throw kernelError(`open the BPF object pinned at ${path}`, -fd);
}

/** Pins at `path`, in place of what was pinned there: at no time is nothing there. Makes the directory. */
export function pin(fd: number, path: string, what: string): void {
  mkdirSync(dirname(path), { recursive: true });
  const fresh = `${path}~new`; // bpffs refuses dots
  rmSync(fresh, { force: true });
  const name = cString(fresh);
  bpf(Command.OBJ_PIN, struct(16, [[0, "pointer", name], [8, "u32", fd]]), `pin ${what} at ${path}`); // biome-ignore format: one struct
  renameSync(fresh, path);
}
