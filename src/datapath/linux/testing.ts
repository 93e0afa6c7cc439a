/**
 * For tests: an in-memory kernel that passes the real one's behaviour suite, names for namespaces that a crashed test can't
 * leave behind for long, and skips that have to prove themselves.
 * @module
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { release, tmpdir } from "node:os";
import { basename, join } from "node:path";
import type { TestContext } from "node:test";
import { createFakeBpf, type FakeObject } from "./fake-bpf.ts";
import { FakeNetwork } from "./fake-network.ts";
import type { Kernel, NetworkNamespace } from "./kernel.ts";
import { openNetlink } from "./netlink.ts";
import { networkNamespaces } from "./netns.ts";

export type { FakeObject } from "./fake-bpf.ts";
export { FAKE_CPUS } from "./fake-map.ts";

/** A kernel of maps and rows in memory. `objects`: what the paths given to `loadObject` hold. */
export function createFakeKernel(objects: Readonly<Record<string, FakeObject>> = {}): Kernel {
  const network = new FakeNetwork();
  return {
    bpf: createFakeBpf(network, objects),
    netns: network.namespaces,
    netlink: (netns) => ((netns as typeof network.here | undefined) ?? network.here).netlink(),
  };
}

let count = 0;

/** A name that no other test uses, with this process's number in it: `tsltest-<pid>-<n>`. */
export function testName(): string {
  return `tsltest-${process.pid}-${++count}`;
}

/** Deletes test namespaces whose process is dead. Returns their names. */
export function sweepTestNamespaces(): readonly string[] {
  return networkNamespaces.list().filter((name) => isLeftover(name) && networkNamespaces.delete(name));
}

/** Removes test directories below /sys/fs/bpf whose process is dead. */
export function sweepTestPins(): void {
  for (const name of readdirSync("/sys/fs/bpf"))
    if (isLeftover(name)) rmSync(`/sys/fs/bpf/${name}`, { recursive: true });
}

function isLeftover(name: string): boolean {
  const pid = /^tsltest-(\d+)-/.exec(name)?.[1];
  return pid !== undefined && !isAlive(Number(pid));
}

/** Compiles a BPF source for a test, which may include what lies in `directories`; the object is removed when the process ends. Needs clang. */
export function compileTestObject(source: string, directories: readonly string[] = []): string {
  const directory = mkdtempSync(join(tmpdir(), "tsltest-"));
  process.once("exit", () => rmSync(directory, { recursive: true, force: true }));
  const object = join(directory, basename(source).replace(/\.c$/, ".o"));
  const machine = process.arch === "arm64" ? "aarch64" : "x86_64";
  execFileSync("clang", ["-target", "bpf", "-mcpu=v3", "-g", "-O2", "-Wall", ...directories.map((path) => `-I${path}`), `-I/usr/include/${machine}-linux-gnu`, "-c", source, "-o", object]); // biome-ignore format: one command
  return object;
}

/** A fresh real namespace with loopback up; deleted when the test ends, also when it fails. Sweeps leftovers first. */
export function createTestNamespace(t: { after(action: () => void): void }): {
  readonly name: string;
  readonly netns: NetworkNamespace;
} {
  sweepTestNamespaces();
  const name = testName();
  const netns = networkNamespaces.create(name);
  const netlink = openNetlink(netns);
  netlink.apply([{ kind: "setLink", ifindex: 1, up: true }]);
  netlink.close();
  t.after(() => {
    netns.close();
    networkNamespaces.delete(name);
  });
  return { name, netns };
}

/**
 * Skips the test where the kernel is older than the version that brought the feature. On a kernel new enough the failure of
 * `attempt` is a failure of the test: silence has to show its papers.
 */
export function skipUnlessSupported(t: TestContext, feature: string, since: string, attempt: () => void): boolean {
  try {
    attempt();
    return true;
  } catch (error) {
    if (compareVersions(release(), since) >= 0) throw error;
    t.skip(`${feature} needs Linux ${since}; this is ${release()}`);
    return false;
  }
}

function compareVersions(a: string, b: string): number {
  const parts = (text: string) => text.split(/[.-]/).slice(0, 2).map(Number);
  const [left, right] = [parts(a), parts(b)];
  return left[0]! - right[0]! || left[1]! - (right[1] ?? 0);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false; // EPERM can't happen to root, ESRCH is the answer
  }
}
