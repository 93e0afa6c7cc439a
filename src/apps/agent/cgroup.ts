/** Groups of processes (cgroup2): one per workload, below the instance's group. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, watch, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { errorCode, TsiliumError } from "#core/runtime";

/** A workload's group. */
export interface Cgroup {
  readonly path: string;
  /** File that takes pids. */
  readonly procsPath: string;
  pids(): readonly number[];
  /** Whether a process is in it or below. */
  populated(): boolean;
  /** Sends a signal to every process; one that ended meanwhile is no error. */
  signal(name: NodeJS.Signals): void;
  /** Ends every process for certain and waits until they are gone. */
  kill(): Promise<void>;
  /** Calls back with the population each time it changes, and once at the start. */
  watch(callback: (populated: boolean) => void): () => void;
  /** Removes the group; its processes must be gone. No error if it is gone already. */
  remove(): Promise<void>;
}

/** Where cgroup2 is mounted; throws NO_CGROUP2. */
export function cgroupMount(mounts: string = readFileSync("/proc/self/mounts", "utf8")): string {
  const line = mounts.split("\n").find((text) => text.split(" ")[2] === "cgroup2");
  if (line) return line.split(" ")[1]!;
  throw new TsiliumError(
    "NO_CGROUP2",
    "no cgroup2 file system is mounted, and workloads need one; try: mount -t cgroup2 none /sys/fs/cgroup/unified",
  );
}

/** The group of that name below the instance's; made if it isn't there. */
export function openCgroup(root: string, name: string): Cgroup {
  const path = join(root, name);
  mkdirSync(path, { recursive: true });
  return handle(path);
}

/** Names of the groups below the instance's. */
export function listCgroups(root: string): string[] {
  if (!existsSync(root)) return [];
  return readdirSync(root, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name);
}

/** Removes the instance's group itself. */
export async function removeCgroupRoot(root: string): Promise<void> {
  if (existsSync(root)) await handle(root).remove();
}

function handle(path: string): Cgroup {
  const file = (name: string) => join(path, name);
  const read = (name: string): string => {
    try {
      return readFileSync(file(name), "utf8");
    } catch (error) {
      if (["ENOENT", "ENODEV"].includes(errorCode(error) ?? "")) return "";
      throw error;
    }
  };
  const populated = () => /^populated 1$/m.test(read("cgroup.events"));
  const pids = () => read("cgroup.procs").split("\n").filter(Boolean).map(Number);

  return {
    path,
    procsPath: file("cgroup.procs"),
    pids,
    populated,
    signal(name) {
      for (const pid of pids()) {
        try {
          process.kill(pid, name);
        } catch (error) {
          if (errorCode(error) !== "ESRCH") throw error;
        }
      }
    },
    async kill() {
      for (let waitedMs = 0; populated() && waitedMs < 5000; waitedMs += 5) {
        // cgroup.kill came with Linux 5.14 and takes processes that fork meanwhile, too.
        if (existsSync(file("cgroup.kill"))) writeFileSync(file("cgroup.kill"), "1");
        else this.signal("SIGKILL");
        await delay(5);
      }
    },
    watch(callback) {
      let last: boolean | undefined;
      const look = () => {
        const now = populated();
        if (now === last) return;
        last = now;
        callback(now);
      };
      const watcher = watch(file("cgroup.events"), { persistent: false }, look);
      // The group was removed by somebody else: it has no processes any more.
      watcher.on("error", look);
      look();
      return () => watcher.close();
    },
    async remove() {
      for (let attempt = 0; ; attempt++) {
        try {
          rmdirSync(path);
          return;
        } catch (error) {
          const code = errorCode(error);
          if (code === "ENOENT") return;
          // A process that was killed just now still counts for a moment.
          if (code !== "EBUSY" || attempt >= 200) throw error;
          await delay(5);
        }
      }
    },
  };
}
