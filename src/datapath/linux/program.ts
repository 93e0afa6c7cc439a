import { bpf, Command, objectInfo, pin, readCString, struct, tryBpf } from "./bpf-syscall.ts";
import { kernelError } from "./errors.ts";
import type { BpfProgram, TestRunInput, TestRunResult } from "./kernel.ts";
import { libc } from "./native.ts";

const SCHED_CLS = 3;
const SCHED_ACT = 4;
const ENOENT = 2;
const SK_BUFF_SIZE = 192;
/** Fields of struct __sk_buff that a test run may set. */
const skb = { mark: 8, ingressIfindex: 36, ifindex: 40 } as const;
/** The kernel refuses more output than a page minus its own head room; jumbo packets fit nevertheless. */
const PACKET_ROOM = 65536;

export class RealProgram implements BpfProgram {
  readonly fd: number;
  readonly id: number;
  readonly name: string;
  readonly #type: number;

  /** Takes over the file descriptor. */
  constructor(fd: number) {
    const info = objectInfo(fd, 128, "program");
    this.fd = fd;
    this.#type = info.readUInt32LE(0);
    this.id = info.readUInt32LE(4);
    this.name = readCString(info, 64, 16);
  }

  pin(path: string): void {
    pin(this.fd, path, `program ${this.name}`);
  }

  testRun(input: TestRunInput): TestRunResult {
    const out = Buffer.alloc(PACKET_ROOM);
    const hasContext = this.#type === SCHED_CLS || this.#type === SCHED_ACT;
    const context = struct(SK_BUFF_SIZE, [
      [skb.mark, "u32", input.mark ?? 0],
      [skb.ingressIfindex, "u32", input.ingressIfindex ?? 0],
      [skb.ifindex, "u32", input.ifindex ?? 0],
    ]);
    const packet = Uint8Array.from(input.packet);
    const attr = struct(80, [
      [0, "u32", this.fd],
      [8, "u32", packet.length],
      [12, "u32", out.length],
      [16, "pointer", packet],
      [24, "pointer", out],
      [32, "u32", input.repeat ?? 1],
      ...(hasContext
        ? ([[40, "u32", context.length], [44, "u32", context.length], [48, "pointer", context], [56, "pointer", context]] as const) // biome-ignore format: one struct
        : []),
    ]);
    bpf(Command.PROG_TEST_RUN, attr, `run program ${this.name} on a test packet`);
    return {
      result: attr.readInt32LE(4),
      packet: new Uint8Array(out.subarray(0, attr.readUInt32LE(12))),
      mark: context.readUInt32LE(skb.mark),
      durationNs: attr.readUInt32LE(36),
    };
  }

  close(): void {
    libc.close(this.fd);
  }
}

/** Name of a loaded program; empty when it is gone. */
export function programName(id: number): string {
  const fd = tryBpf(Command.PROG_GET_FD_BY_ID, struct(16, [[0, "u32", id]]));
  if (fd === -ENOENT) return "";
  if (fd < 0) throw kernelError(`open program ${id}`, -fd);
  try {
    return readCString(objectInfo(fd, 128, `program ${id}`), 64, 16);
  } finally {
    libc.close(fd);
  }
}
