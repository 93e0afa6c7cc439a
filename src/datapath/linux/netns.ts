import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { TsiliumError } from "#core/runtime";
import { kernelError } from "./errors.ts";
import type { NetworkNamespace, NetworkNamespaces } from "./kernel.ts";
import { checked, lastErrno, libc } from "./native.ts";

/** Where iproute2 keeps its names. */
const DIRECTORY = "/run/netns";
const CLONE_NEWNET = 0x40000000;
const MS_BIND = 0x1000;
const MS_REC = 0x4000;
const MS_SHARED = 0x100000;
const MNT_DETACH = 2;
const OWN = "/proc/thread-self/ns/net";

class RealNamespace implements NetworkNamespace {
  readonly fd: number;
  readonly inode: bigint;

  /** Takes over the descriptor. */
  constructor(fd: number) {
    this.fd = fd;
    this.inode = fstatSync(fd, { bigint: true }).ino;
  }

  run<T>(action: () => T): T {
    const home = openSync(OWN, "r");
    try {
      checked(libc.setns(this.fd, CLONE_NEWNET), "enter a network namespace");
      try {
        const result = action();
        if (result instanceof Promise)
          throw new TypeError(
            "only synchronous code can run inside a network namespace: after an await it would be outside",
          );
        return result;
      } finally {
        // Going on in the wrong namespace would configure the wrong network: nothing good can follow.
        if (libc.setns(home, CLONE_NEWNET) !== 0) process.abort();
      }
    } finally {
      closeSync(home);
    }
  }

  cookie(): bigint {
    return this.run(netnsCookie);
  }

  readSysctl(name: string): string {
    return this.run(() => sysctl(name, "read", (path) => readFileSync(path, "utf8").trim()));
  }

  writeSysctl(name: string, value: string): void {
    this.run(() => sysctl(name, "write", (path) => writeFileSync(path, value)));
  }

  close(): void {
    closeSync(this.fd);
  }
}

/** Of the namespace in which it is called; Linux 5.12. */
function netnsCookie(): bigint {
  const [AF_UNIX, SOCK_DGRAM_CLOEXEC] = [1, 2 | 0o2000000];
  const [SOL_SOCKET, SO_NETNS_COOKIE] = [1, 71];
  const what = "ask for a network namespace's cookie";
  const fd = checked(libc.socket(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0), what);
  try {
    const value = Buffer.alloc(8);
    checked(libc.getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, value, Uint32Array.of(value.length)), what);
    return value.readBigUInt64LE();
  } finally {
    libc.close(fd);
  }
}

/** `net.ipv4.conf.eth0/1.rp_filter`: as in sysctl(8), a slash stands for a dot inside of a name. */
function sysctl<T>(name: string, verb: "read" | "write", action: (path: string) => T): T {
  try {
    return action(`/proc/sys/${name.replace(/[./]/g, (c) => (c === "." ? "/" : "."))}`);
  } catch (error) {
    throw kernelError(`${verb} sysctl ${name}`, -((error as NodeJS.ErrnoException).errno ?? 0));
  }
}

/** Named namespaces in /run/netns, shared with `ip netns`. */
export const networkNamespaces: NetworkNamespaces = {
  create(name) {
    const path = namedPath(name);
    prepareDirectory();
    try {
      closeSync(openSync(path, "wx", 0o444));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EEXIST") throw kernelError(`create network namespace ${name}`, 17);
      throw error;
    }
    const home = openSync(OWN, "r");
    try {
      checked(libc.unshare(CLONE_NEWNET), `create network namespace ${name}`);
      const errno = libc.mount(OWN, path, "none", MS_BIND, null) === 0 ? 0 : lastErrno();
      if (libc.setns(home, CLONE_NEWNET) !== 0) process.abort();
      if (errno !== 0) throw kernelError(`name network namespace ${name}`, errno);
      return new RealNamespace(openSync(path, "r"));
    } catch (error) {
      unlinkSync(path);
      throw error;
    } finally {
      closeSync(home);
    }
  },

  open: (name) => openNamespace(namedPath(name)),
  ofProcess: (pid) => openNamespace(`/proc/${pid}/ns/net`),
  current: () => new RealNamespace(openSync(OWN, "r")),

  delete(name) {
    const path = namedPath(name);
    // EINVAL: a name whose mount is gone, after a crash between the two steps of create.
    if (libc.umount2(path, MNT_DETACH) !== 0 && ![2, 22].includes(lastErrno()))
      throw kernelError(`delete network namespace ${name}`, lastErrno());
    return absentIsFalse(() => unlinkSync(path));
  },

  list() {
    try {
      return readdirSync(DIRECTORY);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw error;
    }
  },
};

function namedPath(name: string): string {
  if (!/^[\w.-]{1,200}$/.test(name) || /^\.+$/.test(name))
    throw new TsiliumError(
      "BAD_NAME",
      `"${name}" can't name a network namespace: letters, digits, dots, dashes and underscores only`,
    );
  return `${DIRECTORY}/${name}`;
}

/** Shared, so that a deletion reaches every mount namespace; bound to itself first, because only a mount can be shared. */
function prepareDirectory(): void {
  mkdirSync(DIRECTORY, { recursive: true });
  if (libc.mount("", DIRECTORY, "none", MS_SHARED | MS_REC, null) === 0) return;
  checked(libc.mount(DIRECTORY, DIRECTORY, "none", MS_BIND | MS_REC, null), `prepare ${DIRECTORY}`);
  checked(libc.mount("", DIRECTORY, "none", MS_SHARED | MS_REC, null), `prepare ${DIRECTORY}`);
}

function openNamespace(path: string): NetworkNamespace | undefined {
  try {
    return new RealNamespace(openSync(path, "r"));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

function absentIsFalse(action: () => void): boolean {
  try {
    action();
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}
