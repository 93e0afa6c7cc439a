import { unlinkSync } from "node:fs";
import { openPin } from "./bpf-syscall.ts";
import type { Bpf, Kernel } from "./kernel.ts";
import { attach, attached, openLink } from "./link.ts";
import { RealMap } from "./map.ts";
import { openNetlink } from "./netlink.ts";
import { networkNamespaces } from "./netns.ts";
import { inspectObject, loadObject } from "./object.ts";
import { RealProgram } from "./program.ts";
import { RealRingBuffer } from "./ring-buffer.ts";

function opened<T>(pin: string, open: (fd: number) => T): T | undefined {
  const fd = openPin(pin);
  return fd === undefined ? undefined : open(fd);
}

const bpf: Bpf = {
  createMap: (spec) => RealMap.create(spec),
  openMap: (pin) => opened(pin, (fd) => new RealMap(fd)),
  openProgram: (pin) => opened(pin, (fd) => new RealProgram(fd)),
  openLink: (pin) => opened(pin, openLink),
  unpin(pin) {
    try {
      unlinkSync(pin);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
      throw error;
    }
  },
  inspectObject,
  loadObject,
  attach,
  attached,
  openRingBuffer: (map) => new RealRingBuffer(map as RealMap),
};

/** The running kernel. Costs nothing until used; needs root for nearly everything. */
export function openKernel(): Kernel {
  return { bpf, netns: networkNamespaces, netlink: openNetlink };
}
