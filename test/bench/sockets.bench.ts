/** Socket redirect beside the usual way between two workloads of a node, neither under a policy; rounds interleaved, medians. */
import type { ChildProcess } from "node:child_process";
import { TestNode } from "../e2e/node.ts";
import { type Bench, type BenchContext, compared, type Figure, quantile } from "./figure.ts";
import type { LoadResult } from "./routed-pair.ts";
import { workloadPath } from "./workload-path.ts";

const rounds = 9;

/** The benchmark; about 20 seconds with the default duration. */
export const bench: Bench = {
  name: "sockets",
  async run(context: BenchContext): Promise<Figure[]> {
    const servers: ChildProcess[] = [];
    const node = await TestNode.start();
    try {
      const paths = [
        await workloadPath(node, { name: "by TCP", tag: "tcp", rules: 0 }, servers),
        await workloadPath(
          node,
          { name: "redirected", tag: "short", rules: 0, annotations: { "tsilium.io/socket-redirect": "true" } },
          servers,
        ),
      ];
      const results = new Map<string, LoadResult[]>();
      for (let round = 0; round < rounds; round++)
        for (const mode of ["rr", "stream"] as const)
          for (const { name, measure } of paths) {
            const key = `${mode} ${name}`;
            results.set(key, [...(results.get(key) ?? []), measure(mode, context.seconds * 0.2, 4)]);
          }
      const median = (key: string, field: keyof LoadResult) =>
        quantile(
          results.get(key)!.map((result) => result[field] ?? NaN),
          0.5,
        );
      const percentiles = {
        p50: median("rr redirected", "p50"),
        p90: median("rr redirected", "p90"),
        p99: median("rr redirected", "p99"),
      };
      return [
        compared(
          { name: "request/response, redirected", value: percentiles.p50, unit: "us", percentiles },
          { name: "by TCP", value: median("rr by TCP", "p50") },
          { atMost: 0.71 },
        ),
        compared(
          { name: "one stream, redirected", value: median("stream redirected", "gbitPerSecond"), unit: "Gbit/s" },
          { name: "by TCP", value: median("stream by TCP", "gbitPerSecond") },
        ),
      ];
    } finally {
      for (const server of servers) server.kill("SIGKILL");
      await node.close();
    }
  },
};
