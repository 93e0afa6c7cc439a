/**
 * A whole node in network namespaces of its own, beside others: API server, agent, proxy, workloads, and a "world" behind the
 * node's device. Prints the line with which a person steps inside. Leaves nothing behind, and removes what dead runs left.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import {
  type AgentClient,
  type CreateWorkload,
  createAgentClient,
  type PolicyWait,
  type Workload,
} from "#contracts/agent";
import type { KubeObject } from "#contracts/kube";
import { instancePaths } from "#core/runtime";
import type { Order } from "./peer.ts";

const root = join(import.meta.dirname, "../..");
const launcher = join(root, "bin/tsilium");

/** Addresses of the node's device and of the host behind it; the networks have /24 and /64. */
export interface WorldAddresses {
  readonly node4: string;
  readonly node6: string;
  readonly world4: string;
  readonly world6: string;
}

/** The usual ones. */
export const worldAddresses: WorldAddresses = {
  node4: "192.0.2.1",
  node6: "2001:db8::1",
  world4: "192.0.2.2",
  world6: "2001:db8::2",
};

/** What a peer answered; which fields depends on the order. */
interface Answer {
  readonly status?: number;
  readonly body?: string;
  readonly error?: string;
  readonly connection?: number;
  readonly text?: string;
  readonly seen?: readonly string[];
  readonly objects?: readonly (PolicyWait & { readonly kind: string })[];
  readonly object?: KubeObject;
  readonly statuses?: Readonly<Record<string, number>>;
  /** What became of each failed request of a burst. */
  readonly failures?: readonly string[];
  readonly sent?: number;
  readonly received?: number;
  readonly longestPauseMs?: number;
}

/** A process in some namespace that carries out orders; see peer.ts. */
export interface Peer {
  readonly pid: number;
  tell(order: Order): Promise<Answer>;
  close(): void;
}

/** A workload with a peer in it. */
export interface TestWorkload extends Peer {
  readonly name: string;
  readonly workload: Workload;
  readonly ipv4: string;
  readonly ipv6: string;
  /** `http://ADDRESS:PORT/path` to this workload. */
  url(family: 4 | 6, port: number, path?: string): string;
  /** Runs a command inside and yields what it printed. */
  exec(...command: string[]): string;
}

let count = 0;

/** A running node. */
export class TestNode {
  readonly instance: string;
  readonly netns: string;
  readonly worldNetns: string;
  readonly client: AgentClient;
  /** Ready line of the agent that runs now. */
  agentReady: Readonly<Record<string, unknown>> = {};
  /** Log lines of all programs. */
  readonly log: string[] = [];
  readonly #peers: Peer[] = [];
  #apiserver: ChildProcess | undefined;
  #agent: ChildProcess | undefined;
  /** In the node's namespace: talks to the API server, which listens on loopback. */
  #hostPeer: Peer | undefined;

  private constructor() {
    const tag = `${process.pid}-${++count}`;
    this.instance = `t${tag}`;
    this.netns = `tsn-${tag}`;
    this.worldNetns = `tsw-${tag}`;
    this.client = createAgentClient(this.paths.agentSocket);
  }

  get paths() {
    return instancePaths({ TSILIUM_INSTANCE: this.instance });
  }

  /** Makes the namespaces and starts API server and agent. */
  static async start(addresses: WorldAddresses = worldAddresses, ...agentArgs: string[]): Promise<TestNode> {
    sweepLeftovers();
    const node = new TestNode();
    try {
      node.#makeNetwork(addresses);
      node.#hostPeer = await node.peer("node");
      await node.startApiServer();
      await node.startAgent(...agentArgs);
    } catch (error) {
      await node.close();
      throw error;
    }
    console.error(
      `# node ${node.instance}: TSILIUM_INSTANCE=${node.instance} nsenter --net=/run/netns/${node.netns} bash`,
    );
    return node;
  }

  #makeNetwork({ node4, node6, world4, world6 }: WorldAddresses): void {
    const ip = (...args: string[]) => execFileSync("ip", args, { stdio: ["ignore", "ignore", "pipe"] });
    for (const name of [this.netns, this.worldNetns]) {
      ip("netns", "add", name);
      ip("-n", name, "link", "set", "lo", "up");
    }
    ip("link", "add", "eth0", "netns", this.netns, "type", "veth", "peer", "name", "eth0", "netns", this.worldNetns);
    for (const [name, v4, v6] of [
      [this.netns, node4, node6],
      [this.worldNetns, world4, world6],
    ] as const) {
      ip("-n", name, "addr", "add", `${v4}/24`, "dev", "eth0");
      ip("-n", name, "addr", "add", `${v6}/64`, "dev", "eth0", "nodad");
      ip("-n", name, "link", "set", "eth0", "up");
    }
    ip("-n", this.netns, "route", "add", "default", "via", world4);
    ip("-n", this.netns, "-6", "route", "add", "default", "via", world6);
  }

  /** Starts the API server; resolves when it serves. */
  async startApiServer(): Promise<void> {
    this.#apiserver = (await this.#startProgram(["apiserver"])).child;
  }

  /** Starts an agent; resolves when it is ready. Rejects with its log if it ends before. */
  async startAgent(...args: string[]): Promise<void> {
    const { child, ready } = await this.#startProgram(["agent", ...args]);
    this.#agent = child;
    this.agentReady = ready;
  }

  /** Kills the agent, as a crash would. */
  async killAgent(): Promise<void> {
    await end(this.#agent, "SIGKILL");
    this.#agent = undefined;
  }

  /** Ends the agent in an orderly way: enforcement stays. */
  async stopAgent(): Promise<number | null> {
    const agent = this.#agent;
    this.#agent = undefined;
    await end(agent, "SIGTERM");
    return agent?.exitCode ?? null;
  }

  async killApiServer(): Promise<void> {
    await end(this.#apiserver, "SIGKILL");
    this.#apiserver = undefined;
  }

  #startProgram(args: readonly string[]) {
    const child = spawn("nsenter", [`--net=/run/netns/${this.netns}`, launcher, ...args], {
      env: { ...process.env, TSILIUM_INSTANCE: this.instance },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const own: string[] = [];
    createInterface({ input: child.stderr }).on("line", (line) => {
      own.push(line);
      this.log.push(line);
    });
    return new Promise<{ child: ChildProcess; ready: Record<string, unknown> }>((resolve, reject) => {
      createInterface({ input: child.stdout }).once("line", (line) =>
        resolve({ child, ready: JSON.parse(line) as Record<string, unknown> }),
      );
      child.once("close", (code) =>
        reject(new Error(`tsilium ${args.join(" ")} ended with ${code}:\n${own.join("\n")}`)),
      );
    });
  }

  /** Runs a command in the node's namespace, as root. */
  exec(...command: string[]): string {
    return run(this.netns, command, this.instance);
  }

  /** Runs the CLI on this node. */
  cli(args: readonly string[], input?: string): string {
    return run(this.netns, [launcher, ...args], this.instance, input);
  }

  /** Applies manifests and waits until they are in force. Throws the server's refusal. */
  async apply(yaml: string): Promise<void> {
    const { objects = [], error } = await this.#server().tell({
      op: "apply",
      kubeconfig: this.paths.adminKubeconfig,
      yaml,
    });
    if (error !== undefined) throw new Error(error);
    for (const object of objects) await this.waitEnforced(object);
  }

  /** Deletes an object and waits until nothing of it is in force. */
  async delete(kind: string, name: string, namespace: string | undefined = "default"): Promise<void> {
    await this.deleteObject(kind, name, namespace);
    await this.waitEnforced({ kind, name, absent: true, ...(namespace !== undefined && { namespace }) });
  }

  /** Deletes an object, and no more. */
  async deleteObject(kind: string, name: string, namespace: string | undefined = "default"): Promise<void> {
    const ref = { kind, name, ...(namespace !== undefined && { namespace }) };
    const { error } = await this.#server().tell({ op: "delete", kubeconfig: this.paths.adminKubeconfig, ...ref });
    if (error !== undefined) throw new Error(error);
  }

  /** An object as the API server has it; undefined if there is none. */
  async object(kind: string, name: string, namespace: string | undefined = "default"): Promise<KubeObject | undefined> {
    const ref = { kind, name, ...(namespace !== undefined && { namespace }) };
    const { object, error } = await this.#server().tell({
      op: "object",
      kubeconfig: this.paths.adminKubeconfig,
      ...ref,
    });
    if (error !== undefined) throw new Error(error);
    return object;
  }

  #server(): Peer {
    if (!this.#hostPeer) throw new Error("the node is not running");
    return this.#hostPeer;
  }

  /** Waits until what was written is in force; throws if it is not to be. */
  async waitEnforced(wait: PolicyWait = {}): Promise<void> {
    const result = await this.client.waitForPolicy(wait);
    if (!result.enforced) throw new Error(`not enforced: ${result.missing ?? ""} ${result.problems.join("; ")}`);
  }

  /** Starts a workload with a peer in it. */
  async workload(
    name: string,
    labels: Readonly<Record<string, string>> = { app: name },
    more: Pick<CreateWorkload, "namespace" | "serviceAccount" | "annotations"> = {},
  ): Promise<TestWorkload> {
    const workload = await this.client.createWorkload({ name, labels, ...more, keep: true });
    const peer = await startPeer(workload.netnsName, workload.cgroupProcsPath);
    this.#peers.push(peer);
    const [ipv4 = "", ipv6 = ""] = workload.ips;
    return {
      ...peer,
      name,
      workload,
      ipv4,
      ipv6,
      url: (family, port, path = "/") => `http://${family === 4 ? ipv4 : `[${ipv6}]`}:${port}${path}`,
      exec: (...command) => run(workload.netnsName, command, this.instance),
    };
  }

  /** A peer on the node itself, or behind its device. */
  async peer(where: "node" | "world"): Promise<Peer> {
    const peer = await startPeer(where === "node" ? this.netns : this.worldNetns);
    this.#peers.push(peer);
    return peer;
  }

  /** Removes everything; returns what the agent could not remove. */
  async close(): Promise<readonly string[]> {
    for (const peer of this.#peers) peer.close();
    let problems: readonly string[] = [];
    if (this.#agent)
      problems = (await this.client.cleanup().catch((error: Error) => ({ problems: [error.message] }))).problems;
    this.client.close();
    await end(this.#agent, "SIGTERM");
    await end(this.#apiserver, "SIGTERM");
    removeInstance(this.instance);
    return problems;
  }
}

/** Starts a peer in a namespace and, if told, moves it into a cgroup before it does anything. */
async function startPeer(netns: string, cgroupProcs?: string): Promise<Peer> {
  const child = spawn(
    "nsenter",
    [`--net=/run/netns/${netns}`, join(root, "tools/node"), join(import.meta.dirname, "peer.ts")],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  if (cgroupProcs !== undefined) writeFileSync(cgroupProcs, String(child.pid));
  const waiting = new Map<number, (answer: Answer) => void>();
  let last = 0;
  await new Promise<void>((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`the peer in ${netns} ended with ${code}`)));
    createInterface({ input: child.stdout }).on("line", (line) => {
      const { id, ready, ...answer } = JSON.parse(line) as Answer & { id: number; ready?: boolean };
      if (ready) resolve();
      waiting.get(id)?.(answer);
      waiting.delete(id);
    });
  });
  child.on("exit", () => {
    for (const resolve of waiting.values()) resolve({ error: "the peer has ended" });
  });
  return {
    pid: child.pid ?? 0,
    tell(order) {
      const id = ++last;
      return new Promise((resolve) => {
        waiting.set(id, resolve);
        child.stdin.write(`${JSON.stringify({ id, ...order })}\n`);
      });
    },
    close() {
      child.stdin.end();
      child.kill("SIGKILL");
    },
  };
}

function run(netns: string, command: readonly string[], instance: string, input?: string): string {
  return execFileSync("nsenter", [`--net=/run/netns/${netns}`, ...command], {
    encoding: "utf8",
    env: { ...process.env, TSILIUM_INSTANCE: instance },
    timeout: 30_000,
    ...(input !== undefined && { input }),
  });
}

async function end(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  child.kill(signal);
  const hard = setTimeout(() => child.kill("SIGKILL"), 10_000);
  await ended;
  clearTimeout(hard);
}

/** What is left of an instance whose state directory is to stay: namespaces, pins, groups, records. */
export function tracesOf(instance: string): string[] {
  const { runDir, bpfDir, cgroup } = instancePaths({ TSILIUM_INSTANCE: instance });
  const names = existsSync("/run/netns")
    ? readdirSync("/run/netns").filter((name) => name.startsWith(`${cgroup}_`))
    : [];
  const paths = [bpfDir, cgroupPath(cgroup), join(runDir, "endpoints"), join(runDir, "workloads")];
  return [...names, ...paths.filter((path) => existsSync(path))];
}

function cgroupPath(name: string): string {
  const line = readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .find((text) => text.split(" ")[2] === "cgroup2");
  return join(line?.split(" ")[1] ?? "/sys/fs/cgroup", name);
}

/** Removes an instance by force. */
function removeInstance(instance: string): void {
  const paths = instancePaths({ TSILIUM_INSTANCE: instance });
  const tag = instance.slice(1);
  const group = cgroupPath(paths.cgroup);
  if (existsSync(join(group, "cgroup.kill"))) writeFileSync(join(group, "cgroup.kill"), "1");
  const names = existsSync("/run/netns") ? readdirSync("/run/netns") : [];
  for (const name of names) {
    if (name !== `tsn-${tag}` && name !== `tsw-${tag}` && !name.startsWith(`${paths.cgroup}_`)) continue;
    killInside(name);
    execFileSync("ip", ["netns", "del", name], { stdio: "ignore" });
  }
  rmSync(paths.bpfDir, { recursive: true, force: true });
  for (const directory of [paths.runDir, paths.stateDir]) rmSync(directory, { recursive: true, force: true });
  for (let attempt = 0; existsSync(group) && attempt < 100; attempt++) {
    for (const name of readdirSync(group, { withFileTypes: true }))
      if (name.isDirectory()) tryRemove(join(group, name.name));
    tryRemove(group);
    if (existsSync(group)) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
  }
}

function tryRemove(path: string): void {
  try {
    rmdirSync(path);
  } catch {
    // Its processes are not gone yet; the caller tries again.
  }
}

/** Ends every process whose network namespace it is: only programs of the node live there. */
function killInside(netns: string): void {
  const inode = statSync(join("/run/netns", netns)).ino;
  for (const pid of readdirSync("/proc").filter((name) => /^[0-9]+$/.test(name))) {
    try {
      if (readlinkSync(`/proc/${pid}/ns/net`) === `net:[${inode}]`) process.kill(Number(pid), "SIGKILL");
    } catch {
      // It ended while we looked.
    }
  }
}

/** Removes instances of test processes that are dead. */
function sweepLeftovers(): void {
  const tags = new Set<string>();
  for (const directory of ["/run/netns", "/run", "/var/lib", "/sys/fs/bpf"])
    for (const name of existsSync(directory) ? readdirSync(directory) : []) {
      const tag = /^(?:tsn-|tsw-|tsilium-t)([0-9]+-[0-9]+)(?:_|$)/.exec(name)?.[1];
      if (tag && !existsSync(`/proc/${tag.split("-")[0]}`)) tags.add(tag);
    }
  for (const tag of tags) removeInstance(`t${tag}`);
}
