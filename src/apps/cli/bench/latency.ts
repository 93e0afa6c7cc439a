/** `tsilium bench latency`: what policy costs on this machine, by percentile, beside the proxies that are installed here. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, release, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type AgentClient, createAgentClient, type Workload } from "#contracts/agent";
import type { KubeClient } from "#contracts/kube";
import { errorCode, instancePaths, TsiliumError } from "#core/runtime";
import { withKube } from "../connect.ts";
import { ExitCode } from "../exit-codes.ts";
import { formatTable, note, print, printStructured } from "../output.ts";
import { type Contender, contenders, path, port } from "./contenders.ts";
import { type LoadResult, percentiles } from "./load.ts";
import { latencyPage, type Measured } from "./picture.ts";
import { type Inside, startInside } from "./processes.ts";

/** Flags of `bench latency`. */
export interface LatencyFlags {
  readonly connections: readonly number[];
  readonly seconds: number;
  readonly rounds: number;
  readonly output: "text" | "json";
  /** Where to put the picture. */
  readonly html?: string;
}

const namespace = "tsilium-bench";
/** On the namespace: the process that measures. */
const owner = "tsilium.io/bench-pid";
const launcher = resolve(import.meta.dirname, "../../../../bin/tsilium");
const policyMs = 10_000;

/** A contender that runs, and the client's workload for it. */
interface Running {
  readonly contender: Contender;
  readonly client: Workload;
  readonly address: string;
}

/** Measures on the running node, in a namespace of its own; yields the exit code. Removes all that it made. */
export async function benchLatency(flags: LatencyFlags): Promise<number> {
  const { found, missing } = contenders();
  if (missing.length > 0) note(`not installed, and so not measured: ${missing.join(", ")}`);
  const directory = mkdtempSync(join(tmpdir(), "tsilium-bench-"));
  const client = createAgentClient(instancePaths().agentSocket);
  try {
    return await withKube(undefined, async (kube) => {
      const stage = new Stage(client, kube, directory);
      try {
        await stage.open();
        return await Promise.race([interrupted(), whole(stage, found, flags)]);
      } finally {
        await stage.close();
      }
    });
  } finally {
    client.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function whole(stage: Stage, found: readonly Contender[], flags: LatencyFlags): Promise<number> {
  const running: Running[] = [];
  for (const [i, contender] of found.entries()) running.push(await stage.start(contender, i));
  await tell(await measure(running, flags), flags);
  return ExitCode.ok;
}

/** Resolves with the exit code when somebody has had enough: what was made is still removed then. */
function interrupted(): Promise<number> {
  return new Promise((resolve) => {
    process.once("SIGINT", () => resolve(130));
    process.once("SIGTERM", () => resolve(143));
  });
}

/** Rounds of all contenders, interleaved; medians, so that a disturbance of one round is forgotten. */
async function measure(running: readonly Running[], flags: LatencyFlags): Promise<Measured[]> {
  const out: Measured[] = [];
  for (const connections of flags.connections) {
    const results = new Map<Running, LoadResult[]>(running.map((one) => [one, []]));
    for (let round = 0; round < flags.rounds; round++)
      for (const one of running) {
        const url = `http://${one.address}:${port}${path}`;
        const command = [launcher, "bench", "load", url, String(connections), String(flags.seconds)];
        results.get(one)!.push(JSON.parse(await startInside(one.client, command).output()) as LoadResult);
      }
    for (const [{ contender }, rounds] of results)
      out.push({
        name: contender.name,
        meaning: contender.meaning,
        connections,
        requestsPerSecond: median(rounds.map(({ requestsPerSecond }) => requestsPerSecond)),
        latencyUs: Object.fromEntries(
          percentiles.map((name) => [name, median(rounds.map(({ latencyUs }) => latencyUs[name]!))]),
        ),
      });
  }
  return out;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

async function tell(measured: readonly Measured[], flags: LatencyFlags): Promise<void> {
  const machine = `${cpus().length} x ${cpus()[0]?.model ?? "CPU"}, Linux ${release()}`;
  const about = `GET ${path} over keep-alive connections between two workloads of one node; medians of ${flags.rounds} rounds of ${flags.seconds} s each. Client and server are Node: what they need is part of every figure. ${machine}.`;
  if (flags.html !== undefined) {
    writeFileSync(flags.html, latencyPage(measured, about));
    note(`picture: ${flags.html}`);
  }
  if (flags.output === "json") return printStructured("json", { about, measured });
  for (const connections of flags.connections) {
    const rows = measured.filter((row) => row.connections === connections);
    const base = rows[0]!.requestsPerSecond;
    print(`${connections} connection${connections === 1 ? "" : "s"}, latency in µs`);
    print(
      formatTable<Measured>(
        [
          { title: "WAY", cell: ({ name }) => name },
          { title: "REQUESTS/S", cell: ({ requestsPerSecond }) => String(requestsPerSecond) },
          { title: "OF DIRECT", cell: ({ requestsPerSecond }) => `${Math.round((100 * requestsPerSecond) / base)} %` },
          ...percentiles.map((name) => ({
            title: `P${name}`,
            cell: ({ latencyUs }: Measured) => latencyUs[name]!.toFixed(0),
          })),
        ],
        rows,
      ),
    );
  }
}

/** What the measurement makes on the node. */
class Stage {
  readonly #agent: AgentClient;
  readonly #kube: KubeClient;
  readonly #directory: string;
  readonly #processes: Inside[] = [];
  readonly #workloads: string[] = [];

  constructor(agent: AgentClient, kube: KubeClient, directory: string) {
    this.#agent = agent;
    this.#kube = kube;
    this.#directory = directory;
  }

  /** Takes the namespace; what a measurement left that was killed is removed. */
  async open(): Promise<void> {
    const known = await this.#kube.get("Namespace", { name: namespace });
    const pid = Number(known?.metadata.annotations?.[owner]);
    if (known !== undefined && !(pid > 0 && !existsSync(`/proc/${pid}`)))
      throw new TsiliumError(
        "BENCH_RUNNING",
        `there is a namespace ${namespace} already, and the process that made it (${pid || "unknown"}) may still measure; wait for it, or remove it with \`tsilium delete namespace ${namespace}\``,
      );
    if (known !== undefined) {
      const left = (await this.#agent.workloads()).filter((one) => one.namespace === namespace);
      this.#workloads.push(...left.map(({ name }) => name));
      await this.close();
      this.#workloads.length = 0;
    }
    await this.#kube.create("Namespace", {
      metadata: { name: namespace, annotations: { [owner]: String(process.pid) } },
    });
  }

  async start(contender: Contender, number: number): Promise<Running> {
    const { rule, proxy, annotations = {} } = contender;
    const workload = (role: string) => this.#workload(`${role}-${number}`, annotations);
    const server = await workload("server");
    await this.#process(server, [launcher, "bench", "serve", String(port)], 10_000);
    if (rule !== undefined) await this.#policy(`server-${number}`, rule);
    const client = await workload("client");
    const address = server.ips[0] ?? "";
    if (proxy === undefined) return { contender, client, address };
    const middle = await workload("proxy");
    await this.#process(middle, proxy(address, this.#directory), 1000);
    return { contender, client, address: middle.ips[0] ?? "" };
  }

  async #workload(name: string, annotations: Readonly<Record<string, string>>): Promise<Workload> {
    const labels = { app: name };
    const made = await this.#agent.createWorkload({ name, namespace, labels, annotations, keep: true });
    this.#workloads.push(name);
    return made;
  }

  async #process(workload: Workload, command: readonly string[], readyMs: number): Promise<void> {
    const process = startInside(workload, command);
    this.#processes.push(process);
    await process.ready(readyMs);
  }

  async #policy(app: string, rule: string): Promise<void> {
    const ports = [{ port: String(port), protocol: "TCP" as const }];
    const { metadata } = await this.#kube.create("CiliumNetworkPolicy", {
      metadata: { name: app, namespace },
      spec: {
        endpointSelector: { matchLabels: { app } },
        ingress: [{ fromEndpoints: [{}], toPorts: [{ ports, rules: { http: [{ path: rule }] } }] }],
      },
    });
    const wanted = { kind: "CiliumNetworkPolicy", namespace, name: app, timeoutMs: policyMs };
    const { resourceVersion } = metadata;
    const { enforced, problems, missing } = await this.#agent.waitForPolicy({
      ...wanted,
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
    });
    if (!enforced) throw new TsiliumError("BENCH_FAILED", `the policy is not in force: ${problems[0] ?? missing}`);
  }

  /** Removes everything, whatever was made. */
  async close(): Promise<void> {
    for (const process of this.#processes) process.end();
    for (const name of this.#workloads)
      await this.#agent.deleteWorkload(namespace, name, 1000).catch((error: unknown) => {
        if (errorCode(error) !== "NO_SUCH_WORKLOAD") note(`not removed: workload ${namespace}/${name}`);
      });
    for (const { metadata } of (await this.#kube.list("CiliumNetworkPolicy", { namespace })).items)
      await this.#kube.delete("CiliumNetworkPolicy", { namespace, name: metadata.name! });
    await this.#kube.delete("Namespace", { name: namespace });
  }
}
