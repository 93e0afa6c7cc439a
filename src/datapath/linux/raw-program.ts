// The smallest programs, by instruction: to see what a kernel takes, without a compiler.
import { bpf, Command, struct, tryBpf } from "./bpf-syscall.ts";
import { kernelError } from "./errors.ts";
import { RealProgram } from "./program.ts";

/** enum bpf_prog_type. */
export const ProgramType = {
  KPROBE: 2,
  SCHED_CLS: 3,
  TRACEPOINT: 5,
  XDP: 6,
  CGROUP_SOCK_ADDR: 18,
  TRACING: 26,
  LSM: 29,
  SK_LOOKUP: 30,
} as const;

export interface RawProgram {
  readonly type: number;
  /** What it returns, always. */
  readonly result?: number;
  readonly expectedAttachType?: number;
  /** Type of the kernel that it is for. */
  readonly attachTypeId?: number;
}

const MOV_R0 = 0xb7;
const CALL = 0x85;
const EXIT = 0x95;
const LICENSE = Buffer.from("GPL\0");

function instructions(...list: readonly (readonly [code: number, immediate: number])[]): Buffer {
  const bytes = Buffer.alloc(list.length * 8);
  for (const [i, [code, immediate]] of list.entries()) {
    bytes[i * 8] = code;
    bytes.writeInt32LE(immediate, i * 8 + 4);
  }
  return bytes;
}

function attributes(program: RawProgram, code: Buffer, log: Buffer): Buffer {
  return struct(144, [
    [0, "u32", program.type],
    [4, "u32", code.length / 8],
    [8, "pointer", code],
    [16, "pointer", LICENSE],
    [24, "u32", 1],
    [28, "u32", log.length],
    [32, "pointer", log],
    [68, "u32", program.expectedAttachType ?? 0],
    [108, "u32", program.attachTypeId ?? 0],
  ]);
}

/** Loads a program that only returns. */
export function loadRawProgram(program: RawProgram): RealProgram {
  const code = instructions([MOV_R0, program.result ?? 0], [EXIT, 0]);
  return new RealProgram(bpf(Command.PROG_LOAD, attributes(program, code, Buffer.alloc(4096)), "load a program"));
}

/** Whether programs of that type may call a kernel function: then the verifier complains of its arguments, not of the call. */
export function hasHelper(type: number, helper: number): boolean {
  const log = Buffer.alloc(65536);
  const code = instructions([CALL, helper], [EXIT, 0]);
  const fd = tryBpf(Command.PROG_LOAD, attributes({ type }, code, log));
  if (fd >= 0) {
    new RealProgram(fd).close();
    return true;
  }
  const text = log.toString("utf8", 0, log.indexOf(0));
  // Without a word of the verifier it was not asked.
  if (text === "") throw kernelError("load a program", -fd);
  return !/(unknown|invalid) func|cannot use helper|program of this type/.test(text);
}
