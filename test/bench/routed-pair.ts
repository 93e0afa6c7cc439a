/** The baseline of the datapath benchmarks: two namespaces, plain veth pairs, a routing namespace between them, no programs. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "../..");

/** One client run of the load generator. Latencies in microseconds. */
export interface LoadResult {
  readonly count?: number;
  readonly perSecond?: number;
  readonly p50?: number;
  readonly p90?: number;
  readonly p99?: number;
  readonly p999?: number;
  readonly gbitPerSecond?: number;
}

/** Mode of the load generator: request/response, connect-request-response, one stream. */
export type LoadMode = "rr" | "crr" | "stream";

/** Path of the load generator, compiled when its source is newer. */
export function loadGenerator(): string {
  const source = join(root, "test/bench/load/load.cc");
  const binary = join(root, "build/bench/load");
  const built = statSync(binary, { throwIfNoEntry: false });
  if (!built || built.mtimeMs < statSync(source).mtimeMs) {
    mkdirSync(join(root, "build/bench"), { recursive: true });
    execFileSync("g++", ["-O2", "-std=c++17", "-o", binary, source], { stdio: "inherit" });
  }
  return binary;
}

/** The last CPU: client and server share it, so that no run depends on where the scheduler put them. */
export const pin = ["taskset", "-c", String(Math.max(0, Number(execFileSync("nproc").toString()) - 1))] as const;

/** Connection churn leaves sockets in TIME_WAIT whose ports slow the next round; measuring namespaces keep none. */
export const churnSysctls = ["net.ipv4.tcp_max_tw_buckets=1", "net.ipv4.ip_local_port_range=1024 65535"] as const;

/** Starts the echo server in a namespace and waits until it listens. */
export async function startServer(command: readonly string[]): Promise<ChildProcess> {
  const child = spawn(command[0]!, command.slice(1), { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise<void>((resolve, reject) => {
    child.stdout?.once("data", () => resolve());
    child.once("exit", (code) => reject(new Error(`the load server ended with ${code}`)));
  });
  return child;
}

/** Runs one client and reads its line. */
export function runClient(command: readonly string[]): LoadResult {
  return JSON.parse(execFileSync(command[0]!, command.slice(1), { timeout: 60_000 }).toString()) as LoadResult;
}

/** Two routed namespaces with a server in the second. */
export class RoutedPair {
  readonly #names: { readonly client: string; readonly server: string; readonly router: string };
  #server: ChildProcess | undefined;

  constructor() {
    const tag = `tsb-${process.pid}`;
    this.#names = { client: `${tag}-c`, server: `${tag}-s`, router: `${tag}-r` };
  }

  /** Makes the namespaces and starts the server. */
  async open(): Promise<void> {
    const ip = (...args: string[]) => execFileSync("ip", args, { stdio: ["ignore", "ignore", "inherit"] });
    const { client, server, router } = this.#names;
    for (const name of [client, server, router]) {
      ip("netns", "add", name);
      ip("-n", name, "link", "set", "lo", "up");
    }
    const wire = (end: string, name: string, net: string) => {
      ip("link", "add", end, "netns", router, "type", "veth", "peer", "name", "eth0", "netns", name);
      ip("-n", router, "addr", "add", `10.9.${net}.1/24`, "dev", end);
      ip("-n", router, "addr", "add", `fd09:${net}::1/64`, "dev", end, "nodad");
      ip("-n", name, "addr", "add", `10.9.${net}.2/24`, "dev", "eth0");
      ip("-n", name, "addr", "add", `fd09:${net}::2/64`, "dev", "eth0", "nodad");
      ip("-n", router, "link", "set", end, "up");
      ip("-n", name, "link", "set", "eth0", "up");
      ip("-n", name, "route", "add", "default", "via", `10.9.${net}.1`);
      ip("-n", name, "-6", "route", "add", "default", "via", `fd09:${net}::1`);
      execFileSync("ip", ["netns", "exec", name, "sysctl", "-qw", ...churnSysctls]);
    };
    wire("vc", client, "1");
    wire("vs", server, "2");
    execFileSync("ip", [
      "netns",
      "exec",
      router,
      "sysctl",
      "-qw",
      "net.ipv4.ip_forward=1",
      "net.ipv6.conf.all.forwarding=1",
    ]);
    this.#server = await startServer(["ip", "netns", "exec", server, ...pin, loadGenerator(), "server", "5000"]);
  }

  /** One measurement from client to server. */
  measure(mode: LoadMode, seconds: number, family: 4 | 6 = 4): LoadResult {
    const address = family === 4 ? "10.9.2.2" : "fd09:2::2";
    return runClient([
      "ip",
      "netns",
      "exec",
      this.#names.client,
      ...pin,
      loadGenerator(),
      mode,
      address,
      "5000",
      String(seconds),
    ]);
  }

  close(): void {
    this.#server?.kill("SIGKILL");
    for (const name of Object.values(this.#names)) execFileSync("ip", ["netns", "del", name], { stdio: "ignore" });
  }
}
