/**
 * HTTP judged in the kernel, beside no policy at all, and nginx and haproxy as reverse proxies with the same rule where they are installed.
 * All between the same two workloads, on ordinary interfaces; rounds interleaved, medians of ratios within a round.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HttpNode, type Workload } from "../http/wire.ts";
import { type Bench, type BenchContext, compared, type Figure, quantile } from "./figure.ts";
import { type LoadResult, pin, startServer } from "./routed-pair.ts";

const root = join(import.meta.dirname, "../..");
const rounds = 7;
const ports = {
  direct: 8001,
  kernel: 8002,
  rules500: 8003,
  sinkDirect: 8004,
  sinkKernel: 8005,
  nginx: 8006,
  haproxy: 8007,
} as const;
const rule = { method: "GET|POST", path: "/public/.*" };
/** The one that matches is the last. */
const manyRules = [
  ...Array.from({ length: 499 }, (_, i) => ({ method: "GET", path: `/api/v${i}/items/[0-9]+` })),
  rule,
];

/** Path of the load generator, compiled when its source is newer. */
function generator(): string {
  const source = join(root, "test/bench/load/http.cc");
  const binary = join(root, "build/bench/http");
  const built = statSync(binary, { throwIfNoEntry: false });
  if (!built || built.mtimeMs < statSync(source).mtimeMs) {
    mkdirSync(join(root, "build/bench"), { recursive: true });
    execFileSync("g++", ["-O2", "-std=c++17", "-o", binary, source], { stdio: "inherit" });
  }
  return binary;
}

function installed(tool: string): boolean {
  try {
    execFileSync("which", [tool], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

const inside = ({ netnsName }: Workload) => ["nsenter", `--net=/run/netns/${netnsName}`];

/** Starts nginx or haproxy in the server's namespace, in front of the plain port. Returns undefined where it is not installed. */
async function startPeer(tool: "nginx" | "haproxy", server: Workload, dir: string): Promise<ChildProcess | undefined> {
  if (!installed(tool)) return undefined;
  const file = join(dir, `${tool}.conf`);
  const to = `127.0.0.1:${ports.direct}`;
  if (tool === "nginx")
    writeFileSync(
      file,
      `daemon off; worker_processes 1; error_log /dev/null; pid ${dir}/nginx.pid; events { worker_connections 1024; }
http { access_log off; keepalive_requests 1000000000; large_client_header_buffers 8 32k; upstream s { server ${to}; keepalive 64; keepalive_requests 1000000000; }
server { listen ${ports.nginx}; location /public/ { proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://s; } location / { return 403; } } }`,
    );
  else
    writeFileSync(
      file,
      `global
  nbthread 1
  tune.bufsize 32768
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend f
  bind :${ports.haproxy}
  http-request deny unless { path_beg /public/ }
  default_backend b
backend b
  http-reuse always
  server s ${to}
`,
    );
  const [command, ...args] = [
    ...inside(server),
    ...pin,
    tool,
    ...(tool === "nginx" ? ["-c", file] : ["-db", "-q", "-f", file]),
  ];
  const child = spawn(command!, args, { stdio: "ignore" });
  await new Promise((done) => setTimeout(done, 500));
  return child;
}

/** The benchmark; about a minute with the default duration. */
export const bench: Bench = {
  name: "l7",
  async run(context: BenchContext): Promise<Figure[]> {
    const dir = mkdtempSync(join(tmpdir(), `tsilium-bench-${process.pid}-`));
    const children: ChildProcess[] = [];
    const node = new HttpNode(["client", "server"]);
    try {
      const [client, server] = node.workloads as readonly [Workload, Workload];
      node.policy(server.id, [
        { direction: "ingress", port: ports.kernel, rules: [rule] },
        { direction: "ingress", port: ports.sinkKernel, rules: [rule] },
        { direction: "ingress", port: ports.rules500, rules: manyRules },
      ]);
      const load = generator();
      for (const port of [ports.direct, ports.kernel, ports.rules500])
        children.push(await startServer([...inside(server), ...pin, load, "server", String(port)]));
      for (const port of [ports.sinkDirect, ports.sinkKernel])
        children.push(await startServer([...inside(server), ...pin, load, "sink", String(port)]));
      const ways: (keyof typeof ports)[] = ["direct", "kernel", "rules500"];
      for (const tool of ["nginx", "haproxy"] as const) {
        const peer = await startPeer(tool, server, dir);
        if (peer === undefined) context.log(`${tool} is not installed: not measured`);
        else {
          children.push(peer);
          ways.push(tool);
        }
      }
      const run = (...args: string[]): LoadResult => {
        const [command, ...rest] = [...inside(client), ...pin, load, ...args];
        return JSON.parse(execFileSync(command!, rest, { timeout: 60_000 }).toString()) as LoadResult;
      };

      const settings = [1, 32].flatMap((connections) => [82, 1024, 4096].map((head) => ({ connections, head })));
      const results = new Map<string, LoadResult[]>();
      const put = (key: string, result: LoadResult) => results.set(key, [...(results.get(key) ?? []), result]);
      for (let round = 0; round < rounds; round++) {
        for (const { connections, head } of settings)
          for (const way of ways)
            put(
              `${way} ${connections} ${head}`,
              run(
                "client",
                server.ip4,
                String(ports[way]),
                String(connections),
                String(head),
                String(context.seconds * 0.15),
              ),
            );
        for (const way of ["sinkDirect", "sinkKernel"] as const)
          put(way, run("upload", server.ip4, String(ports[way]), String(context.seconds * 0.15)));
        node.events();
        context.log(`round ${round + 1} of ${rounds}`);
      }

      const median = (key: string, field: keyof LoadResult) =>
        quantile(
          results.get(key)!.map((result) => result[field] ?? Number.NaN),
          0.5,
        );
      const figures: Figure[] = [];
      for (const { connections, head } of settings) {
        const what = `${connections === 1 ? "1 connection" : `${connections} connections`}, ${head} B of head`;
        const key = (way: string) => `${way} ${connections} ${head}`;
        const shown = (way: string) => ({
          p50: median(key(way), "p50"),
          p90: median(key(way), "p90"),
          p99: median(key(way), "p99"),
          p999: median(key(way), "p999"),
        });
        const direct = { name: "no policy", value: median(key("direct"), "perSecond") };
        figures.push(
          compared(
            {
              name: `${what}: kernel`,
              value: median(key("kernel"), "perSecond"),
              unit: "req/s",
              percentiles: shown("kernel"),
            },
            direct,
            connections === 32 ? { atLeast: head === 4096 ? 0.85 : 0.95 } : undefined,
          ),
          compared(
            { name: `${what}: 500 rules`, value: median(key("rules500"), "p50"), unit: "us" },
            { name: "1 rule", value: median(key("kernel"), "p50") },
            { atMost: 1.1 },
          ),
        );
        if (connections === 1)
          figures.push({
            name: `${what}: added to p50`,
            value: median(key("kernel"), "p50") - median(key("direct"), "p50"),
            unit: "us",
            ...(head === 82 && {
              goal: "<= 1.5 us",
              met: median(key("kernel"), "p50") - median(key("direct"), "p50") <= 1.5,
            }),
          });
        for (const tool of ["nginx", "haproxy"] as const)
          if (ways.includes(tool))
            figures.push(
              compared(
                {
                  name: `${what}: kernel, against ${tool}`,
                  value: median(key("kernel"), "perSecond"),
                  unit: "req/s",
                  percentiles: shown(tool),
                },
                { name: tool, value: median(key(tool), "perSecond") },
                { atLeast: 2 },
              ),
            );
      }
      figures.push(
        compared(
          { name: "upload: kernel", value: median("sinkKernel", "gbitPerSecond"), unit: "Gbit/s" },
          { name: "no policy", value: median("sinkDirect", "gbitPerSecond") },
          { atLeast: 0.98 },
        ),
      );
      return figures;
    } finally {
      for (const child of children) child.kill("SIGKILL");
      node.close();
      rmSync(dir, { recursive: true, force: true });
    }
  },
};
