/**
 * The L7 proxy on small keep-alive GETs, beside haproxy (one thread) and nginx (one worker) with the same rule. Ordinary
 * sockets on loopback: no redirection, so that only the proxies differ. Proxy on one CPU, load and server on another.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer } from "node:net";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { connectProxy, type ProxyClient } from "#contracts/proxy";
import { httpFilter, stateOf } from "#proxy/listener/testing";
import { type Bench, type BenchContext, compared, type Figure, quantile } from "./figure.ts";

const root = join(import.meta.dirname, "../..");
const rounds = 3;
const connections = 32;

interface Contender {
  readonly name: string;
  readonly port: number;
  readonly process: ChildProcess;
}

interface Run {
  readonly perSecond: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  /** CPU time of the proxy per request: what stays comparable when the machine is busy with other things. */
  readonly cpuUs: number;
}

/** The benchmark; skips with a line on the console where haproxy, nginx or wrk is not installed. */
export const bench: Bench = {
  name: "proxy",
  async run(context: BenchContext): Promise<Figure[]> {
    const missing = ["haproxy", "nginx", "wrk"].filter((tool) => !installed(tool));
    if (missing.length > 0) {
      context.log(`not installed: ${missing.join(", ")}; nothing measured`);
      return [];
    }
    const dir = mkdtempSync(join(tmpdir(), `tsilium-bench-${process.pid}-`));
    const children: ChildProcess[] = [];
    let agent: ProxyClient | undefined;
    try {
      const serverPort = await startNginxServer(dir, children);
      const contenders = [await startHaproxy(dir, serverPort, children), await startNginx(dir, serverPort, children)];
      const ours = await startOurs(dir, serverPort, children);
      let records = 0;
      let lost = 0;
      agent = connectProxy({
        path: join(dir, "proxy.sock"),
        onRecords: (more, lostMore) => {
          records += more.length;
          lost += lostMore;
        },
      });
      await agent.commit(stateOf(httpFilter({ method: "GET", path: "/public/.*" })));
      const all = [...contenders, ours];
      const runs = new Map<string, Run[]>(all.map(({ name }) => [name, []]));
      for (let round = 0; round < rounds; round++) {
        for (const contender of all) {
          const run = await load(contender, Math.min(5, Math.max(1, Math.round(context.seconds))));
          runs.get(contender.name)!.push(run);
          context.log(
            `round ${round + 1} ${contender.name}: ${run.perSecond.toFixed(0)} requests/s, ${run.cpuUs.toFixed(1)} us CPU each`,
          );
        }
      }
      const best = (name: string) => runs.get(name)!.reduce((a, b) => (b.perSecond > a.perSecond ? b : a));
      const median = (name: string) =>
        quantile(
          runs.get(name)!.map((run) => run.perSecond),
          0.5,
        );
      const cpu = (name: string) =>
        quantile(
          runs.get(name)!.map((run) => run.cpuUs),
          0.5,
        );
      const mine = best(ours.name);
      const status = await agent.status();
      const figures: Figure[] = [];
      for (const { name } of contenders) {
        const what = `GET, ${connections} connections, against ${name}`;
        // The median carries the goal: the best of a few rounds on a busy machine flatters whoever was left alone.
        figures.push(
          compared(
            { name: `${what} (median of ${rounds})`, value: median(ours.name), unit: "requests/s" },
            { name, value: median(name) },
            name === "haproxy" ? { atLeast: 0.7 } : undefined,
          ),
          compared(
            {
              name: `${what} (best of ${rounds})`,
              value: mine.perSecond,
              unit: "requests/s",
              percentiles: { p50: mine.p50, p90: mine.p90, p99: mine.p99 },
            },
            { name, value: best(name).perSecond },
          ),
        );
      }
      for (const { name } of contenders)
        figures.push(
          compared(
            { name: `CPU time per request, against ${name} (median)`, value: cpu(ours.name), unit: "us" },
            { name, value: cpu(name) },
          ),
        );
      figures.push({
        name: "resident memory of the proxy after the load",
        value: (status?.rssBytes ?? 0) / 1e6,
        unit: "MB",
      });
      figures.push({
        name: "access-log records that reached the agent",
        value: (records / Math.max(1, records + lost)) * 100,
        unit: "%",
      });
      return figures;
    } finally {
      agent?.close();
      await Promise.all(children.map(stop));
      rmSync(dir, { recursive: true, force: true });
    }
  },
};

async function load({ port, process: child }: Contender, seconds: number): Promise<Run> {
  const before = cpuTicks(child.pid!);
  const args = [
    "-c",
    loadCpu,
    "wrk",
    "-t1",
    `-c${connections}`,
    `-d${seconds}`,
    "--latency",
    `http://127.0.0.1:${port}/public/x`,
  ];
  const { stdout } = await promisify(execFile)("taskset", args);
  const ticks = cpuTicks(child.pid!) - before;
  if (stdout.includes("Non-2xx")) throw new Error(`not every answer was 200:\n${stdout}`);
  const number = (pattern: RegExp) => Number(pattern.exec(stdout)?.[1]);
  const us = (percent: number) => {
    const [, value, unit] = new RegExp(`${percent}%\\s+([0-9.]+)(us|ms|s)`).exec(stdout) ?? [];
    return Number(value) * { us: 1, ms: 1000, s: 1e6 }[unit as "us" | "ms" | "s"];
  };
  const requests = number(/(\d+) requests in/);
  return {
    perSecond: number(/Requests\/sec:\s+([0-9.]+)/),
    p50: us(50),
    p90: us(90),
    p99: us(99),
    cpuUs: (ticks * 1e4) / requests,
  };
}

const proxyCpu = "0";
const loadCpu = String(Math.max(0, cpus().length - 1));

/** User and system time in hundredths of a second. */
function cpuTicks(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return Number(fields[11]) + Number(fields[12]);
}

function installed(tool: string): boolean {
  try {
    execFileSync("sh", ["-c", `command -v ${tool}`], { stdio: "ignore" });
    return true;
  } catch (error) {
    return (error as { status?: number }).status === 0;
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function run(cpu: string, command: string, args: readonly string[], children: ChildProcess[]): ChildProcess {
  const child = spawn("taskset", ["-c", cpu, command, ...args], { cwd: root, stdio: ["ignore", "pipe", "ignore"] });
  children.push(child);
  return child;
}

async function ready(port: number): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect({ host: "127.0.0.1", port });
      socket.once("connect", () => resolve(true));
      socket.once("error", () => resolve(false));
      socket.once("connect", () => socket.destroy());
    });
    if (open) return;
    await sleep(50);
  }
  throw new Error(`nothing listens on port ${port} after 5 s`);
}

/** One process, so that its CPU time is the pid's. */
const nginxConfig = (dir: string, name: string, http: string) =>
  `master_process off; daemon off; error_log ${dir}/${name}.log; pid ${dir}/${name}.pid; events { worker_connections 1024; }
http { access_log off; keepalive_requests 100000000; client_body_temp_path ${dir}; proxy_temp_path ${dir}; fastcgi_temp_path ${dir}; uwsgi_temp_path ${dir}; scgi_temp_path ${dir}; ${http} }`;

async function startNginxServer(dir: string, children: ChildProcess[]): Promise<number> {
  const port = await freePort();
  writeFileSync(
    join(dir, "server.conf"),
    nginxConfig(dir, "server", `server { listen 127.0.0.1:${port}; location / { return 200 "ok\\n"; } }`),
  );
  run(loadCpu, "nginx", ["-c", join(dir, "server.conf")], children);
  await ready(port);
  return port;
}

async function startNginx(dir: string, serverPort: number, children: ChildProcess[]): Promise<Contender> {
  const port = await freePort();
  const http = `upstream b { server 127.0.0.1:${serverPort}; keepalive 64; keepalive_requests 100000000; }
server { listen 127.0.0.1:${port}; location ~ ^/public/.* { limit_except GET { deny all; } proxy_pass http://b; proxy_http_version 1.1; proxy_set_header Connection ""; } location / { return 403; } }`;
  writeFileSync(join(dir, "proxy.conf"), nginxConfig(dir, "proxy", http));
  const child = run(proxyCpu, "nginx", ["-c", join(dir, "proxy.conf")], children);
  await ready(port);
  return { name: "nginx", port, process: child };
}

async function startHaproxy(dir: string, serverPort: number, children: ChildProcess[]): Promise<Contender> {
  const port = await freePort();
  writeFileSync(
    join(dir, "haproxy.cfg"),
    `global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend f
  bind 127.0.0.1:${port}
  http-request deny unless { path_reg ^/public/.* } { method GET }
  default_backend b
backend b
  http-reuse always
  server s 127.0.0.1:${serverPort}
`,
  );
  const child = run(proxyCpu, "haproxy", ["-db", "-q", "-f", join(dir, "haproxy.cfg")], children);
  await ready(port);
  return { name: "haproxy", port, process: child };
}

async function startOurs(dir: string, serverPort: number, children: ChildProcess[]): Promise<Contender> {
  const program =
    'import { runProxy } from "#apps/proxy"; process.exitCode = await runProxy(process.argv.slice(1), process.env);';
  const args = [
    "--conditions=development",
    "--input-type=module",
    "-e",
    program,
    "--",
    "--destination",
    `127.0.0.1:${serverPort}`,
    "--control",
    join(dir, "proxy.sock"),
  ];
  const child = run(proxyCpu, process.execPath, args, children);
  const [line] = (await once(createInterface(child.stdout!), "line")) as [string];
  const { listeners } = JSON.parse(line) as { listeners: { port: number }[] };
  return { name: "tsilium", port: listeners[0]!.port, process: child };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGKILL");
  await once(child, "exit");
}
