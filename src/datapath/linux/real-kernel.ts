import { readdirSync, readlinkSync, rmSync } from "node:fs";
import { openPin } from "./bpf-syscall.ts";
import { kernelError } from "./errors.ts";
import type { Bpf, Kernel } from "./kernel.ts";
import { attach, attached, attachToSockets, openLink } from "./link.ts";
import { mapsIn, RealMap } from "./map.ts";
import { libc } from "./native.ts";
import { openNetlink } from "./netlink.ts";
import { networkNamespaces } from "./netns.ts";
import { inspectObject, loadObject } from "./object.ts";
import { RealProgram } from "./program.ts";
import { RealRingBuffer } from "./ring-buffer.ts";

/** What the kernel calls the three kinds of pinned things, in /proc/self/fd. */
const kinds = { map: "anon_inode:bpf-map", program: "anon_inode:bpf-prog", link: "anon_inode:bpf-link" } as const;

function opened<T>(pin: string, kind: keyof typeof kinds, open: (fd: number) => T): T | undefined {
  const fd = openPin(pin);
  if (fd === undefined) return undefined;
  const found = readlinkSync(`/proc/self/fd/${fd}`).replace(/[[\]]/g, "").replace("_link", "-link");
  if (found === kinds[kind]) return open(fd);
  libc.close(fd);
  throw kernelError(`open the ${kind} pinned at ${pin}`, 22, `it is a ${found}`);
}

/** A u32 as map keys and values hold it. */
function bytesOf(number: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(number).buffer);
}

function absentIs<T>(instead: T, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return instead;
    throw error;
  }
}

const bpf: Bpf = {
  createMap: (spec, sample) => RealMap.create(spec, sample as RealMap | undefined),
  mapsIn: (map) => mapsIn(map as RealMap),
  openMap: (pin) => opened(pin, "map", (fd) => new RealMap(fd)),
  openProgram: (pin) => opened(pin, "program", (fd) => new RealProgram(fd)),
  openLink: (pin) => opened(pin, "link", openLink),
  unpin: (path) =>
    absentIs(false, () => {
      rmSync(path, { recursive: true });
      return true;
    }),
  pinned: (directory) => absentIs<readonly string[]>([], () => readdirSync(directory)),
  inspectObject,
  loadObject,
  attach,
  attachToSockets,
  attached,
  openRingBuffer: (map) => new RealRingBuffer(map as RealMap),
  setTailCall: (map, index, program) => map.update(bytesOf(index), bytesOf((program as RealProgram).fd)),
};

/** The running kernel. Costs nothing until used; needs root for nearly everything. */
export function openKernel(): Kernel {
  return { bpf, netns: networkNamespaces, netlink: openNetlink };
}
