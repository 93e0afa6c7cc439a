/**
 * A process inside a workload that does as it is told: serves, asks, holds connections. One JSON object per line, in on stdin,
 * out on stdout; answers carry the order's `id`. One process per workload, so that a test waits for packets, not for starts.
 */
import { createSocket } from "node:dgram";
import { createServer as createHttpServer, request } from "node:http";
import { connect, createServer, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { parseAllDocuments } from "yaml";
import { createKubeClient, type Kind, type KubeClient, type KubeObject } from "#contracts/kube";

/** What a peer can be told. Times in milliseconds. */
export type Order =
  | { readonly op: "serve-http"; readonly port: number }
  /** Request lines that the HTTP servers of this peer saw. */
  | { readonly op: "seen" }
  /** Answers everything it gets with the same bytes. */
  | { readonly op: "serve-echo"; readonly port: number }
  /** Reads everything and throws it away; answers the count at the end of the stream. */
  | { readonly op: "serve-sink"; readonly port: number }
  /** Sends everything back, from `host` if the kernel would choose another address. */
  | { readonly op: "serve-udp"; readonly port: number; readonly host?: string }
  | {
      readonly op: "get";
      readonly url: string;
      readonly method?: string;
      readonly timeoutMs?: number;
      readonly localPort?: number;
    }
  /** Many requests, each on a new connection, one after the other. */
  | {
      readonly op: "burst";
      readonly url: string;
      readonly count: number;
      readonly pauseMs?: number;
      readonly timeoutMs?: number;
    }
  | { readonly op: "connect"; readonly host: string; readonly port: number; readonly timeoutMs?: number }
  /** Sends on a connection and waits for as many bytes. */
  | { readonly op: "echo"; readonly connection: number; readonly text: string; readonly timeoutMs?: number }
  | {
      readonly op: "transfer";
      readonly host: string;
      readonly port: number;
      readonly bytes: number;
      readonly bytesPerSecond?: number;
    }
  | {
      readonly op: "udp";
      readonly host: string;
      readonly port: number;
      readonly text: string;
      readonly source?: Source;
      readonly timeoutMs?: number;
    }
  /** Connects over TCP, sends the text if there is any, and answers the head of the reply: all up to an empty line. */
  | {
      readonly op: "exchange";
      readonly host: string;
      readonly port: number;
      readonly text: string;
      readonly source: Source;
      readonly timeoutMs: number;
    }
  /** Server-side apply of manifests; answers kind, name and version of each object. */
  | { readonly op: "apply"; readonly kubeconfig: string; readonly yaml: string }
  | ({ readonly op: "delete" | "object" } & KubeRef);

/** Where to send from, instead of what the kernel would choose. */
interface Source {
  readonly address?: string;
  readonly port: number;
}

/** An object of the API server. */
interface KubeRef {
  readonly kubeconfig: string;
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string;
}

type Result = Readonly<Record<string, unknown>>;

const seen: string[] = [];
const connections = new Map<number, Socket>();
let lastConnection = 0;

function listen(
  server: { listen(options: object, ready: () => void): unknown; once(event: "error", f: (e: Error) => void): unknown },
  port: number,
) {
  return new Promise<Result>((resolve, reject) => {
    server.once("error", reject);
    // "::" takes both families.
    server.listen({ host: "::", port }, () => resolve({}));
  });
}

function serveHttp(port: number): Promise<Result> {
  const server = createHttpServer((incoming, answer) => {
    seen.push(`${incoming.method} ${incoming.url}`);
    const from = incoming.socket.remoteAddress?.replace(/^::ffff:/, "");
    incoming.resume();
    answer.end(`hello ${from}`);
  });
  server.keepAliveTimeout = 60_000;
  return listen(server, port);
}

function get(url: string, method: string, timeoutMs: number, localPort?: number): Promise<Result> {
  return new Promise((resolve) => {
    const outgoing = request(
      url,
      { method, agent: false, timeout: timeoutMs, ...(localPort !== undefined && { localPort }) },
      (incoming) => {
        let body = "";
        incoming.on("data", (bytes) => {
          body += bytes;
        });
        incoming.on("end", () => {
          clearTimeout(timer);
          resolve({ status: incoming.statusCode, body });
        });
        incoming.on("error", (error) => resolve({ error: error.message }));
      },
    );
    // Where it stood when it failed, for the message: a lost SYN looks like an unanswered request otherwise.
    let stage = "not started";
    let port: number | undefined;
    outgoing.on("socket", (socket) => {
      stage = "connecting";
      socket.once("connect", () => {
        stage = "connected";
      });
    });
    const timer = setTimeout(() => {
      port = outgoing.socket?.localPort;
      outgoing.destroy(new Error("timeout"));
    }, timeoutMs);
    outgoing.on("error", (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      resolve({ error: error.code ?? error.message, stage: port === undefined ? stage : `${stage} from port ${port}` });
    });
    outgoing.end();
  });
}

async function burst(url: string, count: number, pauseMs: number, timeoutMs: number): Promise<Result> {
  const statuses: Record<string, number> = {};
  const failures: string[] = [];
  for (let i = 0; i < count; i++) {
    const { status, error, stage } = await get(url, "GET", timeoutMs);
    const key = String(status ?? error);
    statuses[key] = (statuses[key] ?? 0) + 1;
    if (error !== undefined) failures.push(`request ${i}: ${error}, ${stage}`);
    if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
  return { statuses, failures };
}

function open(host: string, port: number, timeoutMs: number): Promise<Result> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const timer = setTimeout(() => socket.destroy(new Error("timeout")), timeoutMs);
    socket.on("error", (error: NodeJS.ErrnoException) => resolve({ error: error.code ?? error.message }));
    socket.on("connect", () => {
      clearTimeout(timer);
      const connection = ++lastConnection;
      connections.set(connection, socket);
      resolve({ connection });
    });
  });
}

function echo(connection: number, text: string, timeoutMs: number): Promise<Result> {
  const socket = connections.get(connection);
  if (!socket || socket.destroyed) return Promise.resolve({ error: "closed" });
  return new Promise((resolve) => {
    let got = "";
    const end = (result: Result) => {
      clearTimeout(timer);
      socket.off("data", take);
      resolve(result);
    };
    const take = (bytes: Buffer) => {
      got += bytes.toString();
      if (got.length >= text.length) end({ text: got });
    };
    const timer = setTimeout(() => end({ error: "timeout" }), timeoutMs);
    socket.on("data", take);
    socket.once("close", () => end({ error: "closed" }));
    socket.write(text);
  });
}

function transfer(host: string, port: number, bytes: number, bytesPerSecond: number): Promise<Result> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const chunk = Buffer.alloc(65_536, 7);
    const begin = performance.now();
    let sent = 0;
    let longestMs = 0;
    let last = begin;
    let answer = "";
    socket.on("error", (error: NodeJS.ErrnoException) => resolve({ error: error.code ?? error.message, sent }));
    socket.on("data", (text) => {
      answer += text.toString();
    });
    socket.on("close", () => resolve({ sent, received: Number(answer), longestPauseMs: Math.round(longestMs) }));
    const push = () => {
      while (sent < bytes) {
        const now = performance.now();
        longestMs = Math.max(longestMs, now - last);
        last = now;
        if (bytesPerSecond > 0 && sent > ((now - begin) / 1000) * bytesPerSecond) {
          setTimeout(push, 5);
          return;
        }
        sent += chunk.length;
        if (!socket.write(chunk)) {
          socket.once("drain", push);
          return;
        }
      }
      socket.end();
    };
    socket.on("connect", push);
  });
}

function exchange(host: string, port: number, text: string, source: Source, timeoutMs: number): Promise<Result> {
  return new Promise((resolve) => {
    const local = { localPort: source.port, ...(source.address !== undefined && { localAddress: source.address }) };
    const socket = connect({ host, port, ...local });
    let got = "";
    const end = (result: Result) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(result);
    };
    const timer = setTimeout(() => end({ error: "timeout" }), timeoutMs);
    socket.on("error", (error: NodeJS.ErrnoException) => end({ error: error.code ?? error.message }));
    socket.on("connect", () => (text === "" ? end({ text: "" }) : socket.write(text)));
    socket.on("data", (bytes: Buffer) => {
      got += bytes.toString("latin1");
      const head = got.indexOf("\r\n\r\n");
      if (head >= 0) end({ text: got.slice(0, head) });
    });
    socket.on("close", () => end({ error: "closed" }));
  });
}

function udp(host: string, port: number, text: string, source: Source, timeoutMs: number): Promise<Result> {
  return new Promise((resolve) => {
    const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
    const end = (result: Result) => {
      clearTimeout(timer);
      socket.close();
      resolve(result);
    };
    const timer = setTimeout(() => end({ error: "timeout" }), timeoutMs);
    socket.on("error", (error: NodeJS.ErrnoException) => end({ error: error.code ?? error.message }));
    socket.on("message", (bytes) => end({ text: bytes.toString() }));
    socket.bind(source.port, source.address, () => socket.send(text, port, host));
  });
}

function refOf({ name, namespace }: KubeRef) {
  return namespace === undefined ? { name } : { name, namespace };
}

const clients = new Map<string, Promise<KubeClient>>();
function kube(kubeconfig: string): Promise<KubeClient> {
  let client = clients.get(kubeconfig);
  if (!client) {
    client = createKubeClient({ kubeconfig });
    clients.set(kubeconfig, client);
  }
  return client;
}

async function apply(kubeconfig: string, yaml: string): Promise<Result> {
  const client = await kube(kubeconfig);
  const objects: object[] = [];
  for (const document of parseAllDocuments(yaml)) {
    const object = document.toJS() as KubeObject;
    const { name = "", namespace } = object.metadata;
    const ref = namespace === undefined ? { name } : { name, namespace };
    const stored = await client.patch(object.kind as Kind, ref, object, {
      type: "apply",
      fieldManager: "e2e",
      force: true,
    });
    objects.push({ kind: object.kind, ...ref, resourceVersion: stored.metadata.resourceVersion });
  }
  return { objects };
}

function carryOut(order: Order): Promise<Result> | Result {
  switch (order.op) {
    case "serve-http":
      return serveHttp(order.port);
    case "seen":
      return { seen };
    case "serve-echo":
      return listen(
        createServer((socket) => {
          socket.on("error", () => socket.destroy());
          socket.pipe(socket);
        }),
        order.port,
      );
    case "serve-sink":
      return listen(
        createServer({ allowHalfOpen: true }, (socket) => {
          let count = 0;
          socket.on("error", () => socket.destroy());
          socket.on("data", (bytes) => {
            count += bytes.length;
          });
          socket.on("end", () => socket.end(String(count)));
        }),
        order.port,
      );
    case "serve-udp":
      return new Promise((resolve, reject) => {
        const { port, host = "::" } = order;
        const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
        socket.on("error", reject);
        socket.on("message", (bytes, from) => socket.send(bytes, from.port, from.address));
        socket.bind(port, host, () => resolve({}));
      });
    case "get":
      return get(order.url, order.method ?? "GET", order.timeoutMs ?? 3000, order.localPort);
    case "burst":
      return burst(order.url, order.count, order.pauseMs ?? 0, order.timeoutMs ?? 3000);
    case "connect":
      return open(order.host, order.port, order.timeoutMs ?? 1000);
    case "echo":
      return echo(order.connection, order.text, order.timeoutMs ?? 1000);
    case "transfer":
      return transfer(order.host, order.port, order.bytes, order.bytesPerSecond ?? 0);
    case "apply":
      return apply(order.kubeconfig, order.yaml);
    case "delete":
      return kube(order.kubeconfig).then(async (client) => ({
        deleted: await client.delete(order.kind as Kind, refOf(order)),
      }));
    case "object":
      return kube(order.kubeconfig).then(async (client) => ({
        object: await client.get(order.kind as Kind, refOf(order)),
      }));
    case "udp":
      return udp(order.host, order.port, order.text, order.source ?? { port: 0 }, order.timeoutMs ?? 1000);
    case "exchange":
      return exchange(order.host, order.port, order.text, order.source, order.timeoutMs);
  }
}

if (import.meta.main) {
  const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`);
  const lines = createInterface({ input: process.stdin });
  lines.on("line", async (line) => {
    const { id, ...order } = JSON.parse(line) as Order & { id: number };
    try {
      say({ id, ...(await carryOut(order as Order)) });
    } catch (error) {
      say({ id, error: error instanceof Error ? error.message : String(error) });
    }
  });
  // Without its test it has no purpose.
  lines.on("close", () => process.exit(0));
  say({ ready: true });
}
