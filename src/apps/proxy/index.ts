/**
 * The node's L7 proxy as a process: listeners for redirected connections, a control socket for the agent. Outlives the agent.
 * @module
 */
import { mkdirSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import type { ListenerAddress } from "#contracts/proxy";
import { createLogger, errorMessage, instancePaths, returnIdleMemory, TsiliumError } from "#core/runtime";
import { AccessLog, createListener, type SocketAddress } from "#proxy/listener";
import { PolicyStore } from "#proxy/policy";
import { serveControl } from "./control.ts";
import { connectPlain, connectTransparent, listenTransparent } from "./sockets.ts";

/** The first line on stdout: the proxy is ready. */
export interface ProxyReady {
  readonly kind: "ready";
  readonly pid: number;
  readonly listeners: readonly ListenerAddress[];
  readonly controlSocket: string;
}

const usage = `usage: tsilium proxy [options]
  --port N              port of the listeners on 127.0.0.1 and ::1 (default: any free one)
  --control PATH        control socket (default: proxy.sock in the instance's run directory)
  --drain-ms N          how long SIGTERM waits for requests under way (default 5000)
  --destination IP:PORT not transparent: ordinary sockets, every connection goes there (tests, benchmarks)`;

interface Settings {
  readonly port: number;
  readonly controlSocket: string;
  readonly drainMs: number;
  readonly destination: SocketAddress | undefined;
}

/**
 * Runs until SIGTERM or SIGINT, then drains. Prints one JSON line (`ProxyReady`) when it is ready. Until the agent has committed
 * a state every request is answered with 503. Resolves to the exit code: 0 after a drain, 1 if it could not start, 2 for bad arguments.
 */
export async function runProxy(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  const settings = readSettings(argv, env);
  if (typeof settings === "string") {
    process.stderr.write(`${settings}\n${usage}\n`);
    return 2;
  }
  const logger = createLogger("proxy");
  try {
    return await serve(settings, logger);
  } catch (error) {
    logger.error(
      { error: errorMessage(error), ...(error instanceof TsiliumError && { code: error.code }) },
      "the proxy could not start",
    );
    return 1;
  }
}

async function serve(settings: Settings, logger: ReturnType<typeof createLogger>): Promise<number> {
  const { destination } = settings;
  const policy = new PolicyStore();
  const log = new AccessLog();
  const ownPorts = new Set<number>();
  const listener = createListener({
    policy,
    log,
    originalDestination: (socket) => destination ?? redirectedFrom(socket, ownPorts),
    connectUpstream: destination ? connectPlain : connectTransparent,
  });
  const servers: Server[] = [];
  const listeners: ListenerAddress[] = [];
  let port = settings.port;
  for (const address of destination ? ["127.0.0.1"] : ["127.0.0.1", "::1"]) {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => listener.accept(socket));
    port = await (destination ? listenPlain(server, address, port) : listenOn(server, address, port));
    server.on("error", (error) => logger.error({ address, error: errorMessage(error) }, "accepting failed"));
    ownPorts.add(port);
    servers.push(server);
    listeners.push({ family: address.includes(":") ? 6 : 4, address, port });
  }
  mkdirSync(dirname(settings.controlSocket), { recursive: true });
  const control = await serveControl({ path: settings.controlSocket, policy, listener, log, listeners, logger });
  const stopped = new Promise<NodeJS.Signals>((resolve) => {
    process.once("SIGTERM", resolve);
    process.once("SIGINT", resolve);
  });
  const ready: ProxyReady = { kind: "ready", pid: process.pid, listeners, controlSocket: settings.controlSocket };
  process.stdout.write(`${JSON.stringify(ready)}\n`);
  returnIdleMemory();
  const signal = await stopped;
  logger.info({ signal, connections: listener.status().connections }, "draining");
  for (const server of servers) server.close();
  await listener.drain(settings.drainMs);
  await control.close();
  return 0;
}

/** An accepted socket's own address is the original destination. Aimed at the proxy itself, it was redirected by nobody. */
function redirectedFrom(socket: Socket, ownPorts: ReadonlySet<number>): SocketAddress | undefined {
  const { localAddress, localPort } = socket;
  if (localAddress === undefined || localPort === undefined) return undefined;
  const direct = ownPorts.has(localPort) && (localAddress === "127.0.0.1" || localAddress === "::1");
  return direct ? undefined : { address: localAddress, port: localPort };
}

function listenOn(server: Server, address: string, port: number): Promise<number> {
  const listening = listenTransparent({ address, port });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ fd: listening.fd }, () => resolve(listening.port));
  });
}

function listenPlain(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, backlog: 4096 }, () => resolve((server.address() as { port: number }).port));
  });
}

function readSettings(argv: readonly string[], env: Readonly<Record<string, string | undefined>>): Settings | string {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        port: { type: "string", default: "0" },
        control: { type: "string" },
        "drain-ms": { type: "string", default: "5000" },
        destination: { type: "string" },
      },
    });
    const port = Number(values.port);
    const drainMs = Number(values["drain-ms"]);
    if (!(Number.isInteger(port) && port >= 0 && port <= 65535)) return `--port ${values.port}: not a port`;
    if (!(Number.isInteger(drainMs) && drainMs >= 0))
      return `--drain-ms ${values["drain-ms"]}: not a number of milliseconds`;
    const colon = values.destination?.lastIndexOf(":") ?? -1;
    const destination =
      values.destination === undefined
        ? undefined
        : { address: values.destination.slice(0, colon), port: Number(values.destination.slice(colon + 1)) };
    return { port, drainMs, destination, controlSocket: values.control ?? instancePaths(env).proxySocket };
  } catch (error) {
    return errorMessage(error);
  }
}
