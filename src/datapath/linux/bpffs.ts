import { mkdirSync, statfsSync } from "node:fs";
import { checked, libc } from "./native.ts";

const BPF_FS_MAGIC = 0xcafe4a11;
const MOUNT_POINT = "/sys/fs/bpf";

/** Mounts the BPF file system where everyone expects it, unless it is there. Throws KernelError without the right to mount. */
export function ensureBpffs(): void {
  if (isBpffs(MOUNT_POINT)) return;
  mkdirSync(MOUNT_POINT, { recursive: true });
  checked(libc.mount("bpf", MOUNT_POINT, "bpf", 0, "mode=0700"), `mount the BPF file system at ${MOUNT_POINT}`);
}

/** Whether the path lies on a BPF file system. */
export function isBpffs(path: string): boolean {
  try {
    return statfsSync(path).type === BPF_FS_MAGIC;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}
