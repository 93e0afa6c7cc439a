/**
 * The control plane of one node: how long from a write to the API until the kernel does as it says, with 100 endpoints and 1000
 * policies; how long endpoints and `tsilium run` take; start of the agent; memory of each process. Everything is seen from
 * outside: real writes over HTTPS, real connects, real processes.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import type { Workload } from "#contracts/agent";
import type { CiliumNetworkPolicy } from "#contracts/kube";
import { TestNode, worldAddresses } from "../e2e/node.ts";
import { type ApiWriter, startApiWriter } from "./api-writer.ts";
import { type Bench, type BenchContext, type Figure, limited, percentiles, quantile } from "./figure.ts";
import { type Memory, memoryOf, programsIn } from "./processes.ts";
import { type ReachabilityWatch, watchReachability } from "./reachability.ts";
import { loadGenerator, startServer } from "./routed-pair.ts";
import { rulesPolicy } from "./workload-policies.ts";

const root = join(import.meta.dirname, "../..");
const [endpoints, policies] = [100, 1000];
const [port, hostPort] = [5000, 5001];
/** Numbers of the workloads that are watched; the first is the one that connects. */
const [client, server, others] = [0, 1, [50, 99]];
/** How long a process may settle before its memory is read: it gives memory back when it has rested for some seconds. */
const settleMs = 6000;

/** The benchmark; about a minute. */
export const bench: Bench = {
  name: "control",
  async run(context: BenchContext): Promise<Figure[]> {
    const run = new ControlRun(context);
    try {
      return await run.measure();
    } finally {
      await run.close();
    }
  },
};

class ControlRun {
  readonly #context: BenchContext;
  readonly #figures: Figure[] = [];
  readonly #servers: ChildProcess[] = [];
  readonly #workloads: Workload[] = [];
  #openNode: TestNode | undefined;
  #writer: ApiWriter | undefined;
  #watch: ReachabilityWatch | undefined;

  constructor(context: BenchContext) {
    this.#context = context;
  }

  get #node(): TestNode {
    if (!this.#openNode) throw new Error("the node is not running");
    return this.#openNode;
  }

  async measure(): Promise<Figure[]> {
    this.#openNode = await TestNode.start();
    this.#writer = await startApiWriter(this.#node.netns, this.#node.paths.adminKubeconfig);
    this.#servers.push(await startServer(this.#inside(this.#node.netns, loadGenerator(), "server", String(hostPort))));
    const creations = await this.#createWorkloads(3);

    await this.#writeHttpPolicy();
    await this.#memory("idle with 3 pods", 120);
    await this.#runs("3 endpoints", 20, 150);
    await this.#agentStarts("3 endpoints");

    creations.push(...(await this.#createWorkloads(endpoints)));
    this.#summary("endpoint creation (POST /v1/workloads)", creations);
    for (const number of [server, ...others])
      this.#servers.push(
        await startServer(this.#inside(this.#workload(number).netnsName, loadGenerator(), "server", String(port))),
      );
    await this.#applies();
    await this.#memory(`idle with ${endpoints} endpoints, ${policies} policies`);
    await this.#runs(`${endpoints} endpoints, ${policies} policies`, 10);
    await this.#removals();
    await this.#agentStarts(`${endpoints} endpoints, ${policies} policies`, 1500);
    return this.#figures;
  }

  async close(): Promise<void> {
    this.#watch?.close();
    this.#writer?.close();
    for (const child of this.#servers) child.kill("SIGKILL");
    await this.#openNode?.close();
  }

  // ------------------------------------------------------------------------------------------------- from write to packet

  async #applies(): Promise<void> {
    const writer = this.#mustWrite();
    await this.#node.apply(JSON.stringify(allowEverywhere));
    this.#watch = this.#startWatch([server]);
    await this.#watch.change(true, 0);
    await this.#toggles(`one policy, ${endpoints} endpoints, no other policy`, denial(`w-${server}`), 10);
    const before = performance.now();
    await writer.write("create", ...Array.from({ length: policies }, (_, i) => background(i)));
    await this.#node.waitEnforced();
    this.#figures.push({
      name: `${policies} policies written and in force`,
      value: (performance.now() - before) / 1000,
      unit: "s",
    });
    await delay(1000);
    const situation = `${endpoints} endpoints, ${policies} policies`;
    await this.#toggles(`one policy, ${situation}`, denial(`w-${server}`), 40, true);
    await this.#oneMoreRule();
    this.#watch.close();
    this.#watch = this.#startWatch([server, ...others]);
    await this.#watch.change(true, 0);
    await this.#toggles(`one policy that selects all endpoints, ${situation}`, denial(undefined), 20, true);
    this.#watch.close();
  }

  /** Creates and deletes a policy that denies; the time until the first connect fails, and until the first succeeds again. */
  async #toggles(name: string, policy: CiliumNetworkPolicy, count: number, goal = false): Promise<void> {
    const writer = this.#mustWrite();
    const [denied, allowed, answered]: [number[], number[], number[]] = [[], [], []];
    for (let i = 0; i < count; i++) {
      for (const [op, open, times] of [
        ["create", false, denied],
        ["delete", true, allowed],
      ] as const) {
        const { sentNs, answeredNs } = await writer.write(op, policy);
        times.push(((await this.#mustWatch().change(open, sentNs)).atNs - sentNs) / 1e6);
        if (op === "create") answered.push((answeredNs - sentNs) / 1e6);
        await delay(30);
      }
    }
    this.#summary(`${name}: POST to first denied connect`, denied, goal ? 20 : undefined, goal ? 50 : undefined);
    this.#summary(`${name}: DELETE to first allowed connect`, allowed);
    this.#context.log(`${name}: POST answered after p50 ${percentiles(answered).p50} ms`);
  }

  /** A policy object with 1000 rules gets one more, which lets the client in; and loses it. */
  async #oneMoreRule(): Promise<void> {
    const writer = this.#mustWrite();
    // Without the general permission only the policy below decides.
    await writer.write("delete", allowEverywhere);
    const shape = { name: "large", selects: `w-${server}`, direction: "ingress", peer: `w-${client}` } as const;
    const without = rulesPolicy({ ...shape, port: 1, rules: 1000 });
    const ingress = without.spec?.ingress ?? [];
    const more = rulesPolicy({ ...shape, port, rules: 1 }).spec?.ingress ?? [];
    const withOne = { ...without, spec: { ...without.spec, ingress: [...ingress, ...more] } } as CiliumNetworkPolicy;
    const created = await writer.write("create", without);
    await this.#mustWatch().change(false, created.sentNs - 1e9);
    await this.#node.waitEnforced();
    const [added, removed]: [number[], number[]] = [[], []];
    for (let i = 0; i < 10; i++)
      for (const [object, open, times] of [
        [withOne, true, added],
        [without, false, removed],
      ] as const) {
        const { sentNs } = await writer.write("update", object);
        times.push(((await this.#mustWatch().change(open, sentNs)).atNs - sentNs) / 1e6);
        await delay(50);
      }
    this.#summary("one more rule in an object of 1000: PUT to first allowed connect", added, 20, 50);
    this.#summary("one rule less: PUT to first denied connect", removed);
    await writer.write("delete", without);
    await this.#node.apply(JSON.stringify(allowEverywhere));
  }

  #startWatch(numbers: readonly number[]): ReachabilityWatch {
    const addresses = numbers.map((number) => this.#workload(number).ips[0] ?? "");
    return watchReachability(this.#workload(client).netnsName, addresses, port);
  }

  // -------------------------------------------------------------------------------------------------- endpoints, processes

  /** Creates workloads, one after the other, until there are so many. */
  async #createWorkloads(total: number): Promise<number[]> {
    const times: number[] = [];
    for (let i = this.#workloads.length; i < total; i++) {
      const before = performance.now();
      this.#workloads.push(
        await this.#node.client.createWorkload({ name: `w-${i}`, labels: { app: `w-${i}` }, keep: true }),
      );
      times.push(performance.now() - before);
    }
    return times;
  }

  async #removals(): Promise<void> {
    const times: number[] = [];
    for (let i = 0; i < 20; i++) {
      const before = performance.now();
      await this.#node.client.deleteWorkload("default", `w-${10 + i}`, 0);
      times.push(performance.now() - before);
      await this.#node.client.createWorkload({ name: `w-${10 + i}`, labels: { app: `w-${10 + i}` }, keep: true });
    }
    this.#summary(`endpoint removal, ${endpoints} endpoints, ${policies} policies`, times);
  }

  /** The whole command: from its start to the answer to the first packet of what it runs, and to its end. */
  async #runs(situation: string, count: number, goal?: number): Promise<void> {
    const [first, whole]: [number[], number[]] = [[], []];
    const once = [loadGenerator(), "once", worldAddresses.node4, String(hostPort)];
    const [command = "", ...args] = this.#inside(this.#node.netns, join(root, "bin/tsilium"), "run", "--", ...once);
    for (let i = 0; i < count; i++) {
      const before = Number(process.hrtime.bigint());
      const { stdout } = await promisify(execFile)(command, args, {
        env: { ...process.env, TSILIUM_INSTANCE: this.#node.instance },
        timeout: 20_000,
      });
      whole.push((Number(process.hrtime.bigint()) - before) / 1e6);
      first.push(((JSON.parse(stdout) as { atNs: number }).atNs - before) / 1e6);
    }
    this.#summary(`tsilium run to the first packet's answer, ${situation}`, first, goal);
    this.#summary(`tsilium run from start to end, ${situation}`, whole);
  }

  /** Kills the agent and starts another. */
  async #agentStarts(situation: string, goal?: number): Promise<void> {
    const times: number[] = [];
    for (let i = 0; i < 5; i++) {
      await this.#node.killAgent();
      const before = performance.now();
      await this.#node.startAgent();
      times.push(performance.now() - before);
    }
    this.#summary(`agent, from spawn to ready after kill -9, ${situation}`, times, goal);
  }

  async #memory(situation: string, agentGoal?: number): Promise<void> {
    await delay(settleMs);
    const bare = await bareNode();
    for (const [name, pid] of programsIn(this.#node.netns)) {
      const { rss, pss } = memoryOf(pid);
      const figure = {
        name: `${name} ${situation}: resident (RSS)`,
        value: rss,
        unit: "MB",
        baseline: { name: "bare Node", value: bare.rss },
        ratio: Math.round((rss / bare.rss) * 100) / 100,
      };
      this.#figures.push(name === "agent" && agentGoal !== undefined ? limited(figure, agentGoal) : figure);
      this.#figures.push({ name: `${name} ${situation}: its share (PSS)`, value: pss, unit: "MB" });
    }
  }

  /** A rule with HTTP starts the proxy, so that its memory is seen, too. */
  async #writeHttpPolicy(): Promise<void> {
    const rule = rulesPolicy({ name: "http", selects: "w-2", direction: "ingress", peer: "w-0", port: 80, rules: 1 });
    const [ingress] = rule.spec?.ingress ?? [];
    const toPorts = [{ ports: [{ port: "80", protocol: "TCP" }], rules: { http: [{ method: "GET" }] } }];
    await this.#node.apply(JSON.stringify({ ...rule, spec: { ...rule.spec, ingress: [{ ...ingress, toPorts }] } }));
  }

  // ----------------------------------------------------------------------------------------------------------------- small

  #summary(name: string, times: readonly number[], p50Goal?: number, p99Goal?: number): void {
    const figure = { name, value: quantile(times, 0.5), unit: "ms", percentiles: percentiles(times) };
    this.#figures.push(p50Goal === undefined ? figure : limited(figure, p50Goal));
    if (p99Goal === undefined) return;
    this.#figures.push(limited({ name: `${name}, p99`, value: figure.percentiles.p99, unit: "ms" }, p99Goal));
  }

  #inside(netns: string, ...command: readonly string[]): string[] {
    return ["nsenter", `--net=/run/netns/${netns}`, ...command];
  }

  #workload(number: number): Workload {
    const workload = this.#workloads[number];
    if (!workload) throw new Error(`there is no workload ${number}`);
    return workload;
  }

  #mustWrite(): ApiWriter {
    if (!this.#writer) throw new Error("there is no writer");
    return this.#writer;
  }

  #mustWatch(): ReachabilityWatch {
    if (!this.#watch) throw new Error("nothing is watched");
    return this.#watch;
  }
}

function policyNamed(name: string, spec: CiliumNetworkPolicy["spec"]): CiliumNetworkPolicy {
  return {
    apiVersion: "cilium.io/v2",
    kind: "CiliumNetworkPolicy",
    metadata: { name, namespace: "default" },
    ...(spec && { spec }),
  };
}

const fromClient = [{ matchLabels: { app: `w-${client}` } }];
const onPort = [{ ports: [{ port: String(port), protocol: "TCP" as const }] }];

/** The client may connect to everybody. */
const allowEverywhere = policyNamed("allow-everywhere", {
  endpointSelector: {},
  ingress: [{ fromEndpoints: fromClient, toPorts: onPort }],
});

/** The client may not connect to a workload; undefined: to any. */
function denial(app: string | undefined): CiliumNetworkPolicy {
  const endpointSelector = app === undefined ? {} : { matchLabels: { app } };
  return policyNamed("denial", { endpointSelector, ingressDeny: [{ fromEndpoints: fromClient, toPorts: onPort }] });
}

/** One of many policies: ten for each workload, each for another peer and port. */
function background(i: number): CiliumNetworkPolicy {
  return rulesPolicy({
    name: `background-${i}`,
    selects: `w-${i % endpoints}`,
    direction: "ingress",
    peer: `w-${(i * 7 + 3) % endpoints}`,
    port: 1000 + i,
    rules: 1,
  });
}

/** What a Node process takes that does nothing: below that nothing written for Node can be. */
async function bareNode(): Promise<Memory> {
  const child = spawn(join(root, "tools/node"), ["-e", "setTimeout(() => {}, 60_000); console.log(1)"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    await new Promise((resolve) => child.stdout.once("data", resolve));
    await delay(200);
    return memoryOf(child.pid ?? 0);
  } finally {
    child.kill("SIGKILL");
  }
}
