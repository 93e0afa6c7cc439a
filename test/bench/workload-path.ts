/** Two workloads of a node as something to measure through. */
import type { ChildProcess } from "node:child_process";
import type { TestNode } from "../e2e/node.ts";
import {
  churnSysctls,
  type LoadMode,
  type LoadResult,
  loadGenerator,
  pin,
  runClient,
  startServer,
} from "./routed-pair.ts";
import { rulesPolicy } from "./workload-policies.ts";

const port = 5000;

/** Something to measure through: the plain pair, or a pair of workloads. */
export interface Path {
  readonly name: string;
  measure(mode: LoadMode, seconds: number, family: 4 | 6): LoadResult;
}

/** Two workloads with as many rules at each end; the rule that lets them talk is the last one. `servers` gets a process to end. */
export async function workloadPath(
  node: TestNode,
  wanted: { name: string; tag: string; rules: number; annotations?: Readonly<Record<string, string>> },
  servers: ChildProcess[],
): Promise<Path> {
  const { tag, rules, annotations = {} } = wanted;
  const [client, server] = await Promise.all(
    ["client", "server"].map((name) =>
      node.client.createWorkload({
        name: `${name}-${tag}`,
        labels: { app: `${name}-${tag}` },
        annotations,
        keep: true,
      }),
    ),
  );
  if (!client || !server) throw new Error("a workload is missing");
  const inside = (netns: string) => ["nsenter", `--net=/run/netns/${netns}`];
  for (const { netnsName } of [client, server])
    node.exec("nsenter", `--net=/run/netns/${netnsName}`, "sysctl", "-qw", ...churnSysctls);
  if (rules > 0)
    for (const [selects, direction, peer] of [
      [`server-${tag}`, "ingress", `client-${tag}`],
      [`client-${tag}`, "egress", `server-${tag}`],
    ] as const)
      await node.apply(JSON.stringify(rulesPolicy({ name: selects, selects, direction, peer, port, rules })));
  servers.push(await startServer([...inside(server.netnsName), ...pin, loadGenerator(), "server", String(port)]));
  return {
    name: wanted.name,
    measure(mode, seconds, family) {
      const address = server.ips[family === 4 ? 0 : 1] ?? "";
      return runClient([
        ...inside(client.netnsName),
        ...pin,
        loadGenerator(),
        mode,
        address,
        String(port),
        String(seconds),
      ]);
    },
  };
}
