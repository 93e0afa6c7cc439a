/**
 * Pod to pod through a whole node (API server, agent, observer: every verdict is exported and read), beside two namespaces with
 * plain routed veth. Without policy, with 10 and with 1000 rules at each end; rounds of all four are interleaved and the median
 * of the rounds counts, so that a machine which is busy with other things disturbs all of them alike.
 */
import type { ChildProcess } from "node:child_process";
import { TestNode } from "../e2e/node.ts";
import { type Bench, type BenchContext, compared, type Figure, quantile } from "./figure.ts";
import { type LoadResult, RoutedPair } from "./routed-pair.ts";
import { type Path, workloadPath } from "./workload-path.ts";

/** Many short rounds: a disturbance spoils one round of one path, and the median forgets it. */
const rounds = 9;

/** The benchmark; about 80 seconds with the default duration. */
export const bench: Bench = {
  name: "datapath",
  async run(context: BenchContext): Promise<Figure[]> {
    const servers: ChildProcess[] = [];
    const routed = new RoutedPair();
    let node: TestNode | undefined;
    try {
      await routed.open();
      node = await TestNode.start();
      const paths: Path[] = [{ name: "routed veth", measure: (mode, s, family) => routed.measure(mode, s, family) }];
      for (const rules of [0, 10, 1000]) {
        const name = rules === 0 ? "tsilium without policy" : `tsilium with ${rules} rules`;
        paths.push(await workloadPath(node, { name, tag: String(rules), rules }, servers));
      }
      return [...measureAll(paths, context), await exported(node)];
    } finally {
      for (const server of servers) server.kill("SIGKILL");
      await node?.close();
      routed.close();
    }
  },
};

function measureAll(paths: readonly Path[], context: BenchContext): Figure[] {
  const seconds = context.seconds * 0.2;
  const figures: Figure[] = [];
  for (const { mode, family, title, goal } of [
    { mode: "rr", family: 4, title: "request/response", goal: { atMost: 0.95 } },
    { mode: "rr", family: 6, title: "request/response IPv6", goal: { atMost: 0.95 } },
    { mode: "crr", family: 4, title: "connect-request-response", goal: { atMost: 1.1 } },
    { mode: "stream", family: 4, title: "one stream", goal: { atLeast: 1.05 } },
  ] as const) {
    const results = new Map<string, LoadResult[]>(paths.map(({ name }) => [name, []]));
    for (let round = 0; round < rounds; round++)
      for (const path of paths) {
        results.get(path.name)!.push(path.measure(mode, seconds, family));
      }
    const values = (name: string, field: keyof LoadResult) => results.get(name)!.map((result) => result[field] ?? NaN);
    const median = (name: string, field: keyof LoadResult) => quantile(values(name, field), 0.5);
    const field = mode === "stream" ? "gbitPerSecond" : "p50";
    const unit = mode === "stream" ? "Gbit/s" : "us";
    const baseline = paths[0]!.name;
    const of = (name: string) => ({
      name: `${title}, ${name}`,
      value: median(name, field),
      unit,
      ...(mode !== "stream" && {
        percentiles: { p50: median(name, "p50"), p90: median(name, "p90"), p99: median(name, "p99") },
      }),
    });
    figures.push(of(baseline));
    for (const { name } of paths.slice(1))
      figures.push(compared(of(name), { name: baseline, value: median(baseline, field) }, goal));
    const [ten, thousand] = [paths[2]!.name, paths[3]!.name];
    const flat = mode === "stream" ? { atLeast: 0.95 } : { atMost: 1.05 };
    figures.push(
      compared(
        { name: `${title}, 1000 rules beside 10`, value: median(thousand, field), unit },
        { name: ten, value: median(ten, field) },
        flat,
      ),
    );
    for (const { name } of paths)
      context.log(
        `${title}, ${name}: ${values(name, field)
          .map((value) => value.toFixed(2))
          .join(" ")} ${unit}`,
      );
  }
  return figures;
}

/** How many of the verdicts that the kernel reported were read by the observer. */
async function exported(node: TestNode): Promise<Figure> {
  const metrics = await node.client.metrics();
  const sum = (name: string) =>
    [...metrics.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\d+)$`, "gm"))].reduce(
      (total, [, n]) => total + Number(n),
      0,
    );
  const [seen, lost] = [sum("hubble_flows_processed_total"), sum("hubble_lost_events_total")];
  const share = (100 * seen) / (seen + lost);
  return { name: "verdicts that reached the observer", value: share, unit: "%", goal: ">= 100 %", met: lost === 0 };
}
