/** A whole proxy in the test's process, between real sockets: a client side of raw bytes, a server that records. */
import { createServer as createHttpServer, type Server as HttpServer } from "node:http";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import {
  type AccessLogRecord,
  expandRecordBatch,
  formatRecordBatch,
  type HttpRule,
  type PolicyFilter,
  type PolicyRef,
  type RecordBatch,
  type StateChange,
} from "#contracts/proxy";
import type { EndpointId, NumericIdentity, PolicySetId } from "#core/model";
import { PolicyStore } from "#proxy/policy";
import { AccessLog } from "./access-log.ts";
import { createListener, type Listener } from "./listener.ts";
import type { ListenerLimits } from "./options.ts";

/** The place that test rules come from. */
const testRef: PolicyRef = { kind: "CiliumNetworkPolicy", namespace: "default", name: "test", path: "spec" };

/** A state in which 127.0.0.1 is an endpoint with free egress, and ingress by the given filters. */
export function stateOf(...ingress: Partial<PolicyFilter>[]): StateChange[] {
  const base = { peers: "any", protocol: "TCP", port: 0, precedence: 1, refs: [testRef] } as const;
  const filters: PolicyFilter[] = [
    { ...base, direction: "egress", kind: "allow" },
    ...ingress.map((filter): PolicyFilter => ({ ...base, direction: "ingress", kind: "allow", ...filter })),
  ];
  const id = 1 as PolicySetId;
  return [
    { kind: "put-set", set: { id, filters } },
    {
      kind: "put-endpoint",
      endpoint: {
        id: 7 as EndpointId,
        ips: ["127.0.0.1"],
        identity: 1000 as NumericIdentity,
        policySet: id,
        labels: [],
        podName: "server",
        namespace: "default",
      },
    },
  ];
}

/** An HTTP filter of these rules. */
export function httpFilter(...rules: Omit<HttpRule, "ref">[]): Partial<PolicyFilter> {
  const placed = rules.map((rule, i) => ({ ...rule, ref: { ...testRef, path: `http[${i}]` } }));
  return { kind: "l7", l7: { protocol: "http", rules: placed } };
}

/** A running proxy in front of a server. */
export interface TestProxy {
  readonly port: number;
  readonly policy: PolicyStore;
  readonly listener: Listener;
  /** Replaces the policy. */
  apply(changes: readonly StateChange[]): void;
  /** The records since the last call. */
  records(): AccessLogRecord[];
  close(): Promise<void>;
}

/** Starts a proxy whose every connection goes to `serverPort`. */
export async function startProxy(
  serverPort: number,
  changes: readonly StateChange[] | undefined,
  limits: Partial<ListenerLimits> = {},
  logLimit = 1000,
): Promise<TestProxy> {
  const policy = new PolicyStore();
  const log = new AccessLog(logLimit);
  const apply = (next: readonly StateChange[]) => {
    const session = policy.session();
    for (const change of next) session.stage(change);
    const problems = session.commit((policy.revision ?? 0) + 1);
    if (problems.length > 0) throw new Error(JSON.stringify(problems));
  };
  if (changes) apply(changes);
  const listener = createListener({
    policy,
    log,
    limits,
    originalDestination: () => ({ address: "127.0.0.1", port: serverPort }),
    connectUpstream: ({ destination }, onread) =>
      connect({ host: destination.address, port: destination.port, allowHalfOpen: true, noDelay: true, onread }),
  });
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => listener.accept(socket));
  const port = await listening(server);
  return {
    port,
    policy,
    listener,
    apply,
    records: () => {
      const { entries, lost } = log.take(1e6);
      return expandRecordBatch(JSON.parse(formatRecordBatch(entries, lost)) as RecordBatch);
    },
    async close() {
      server.close();
      await listener.drain(0);
    },
  };
}

/** Binds a server to a free port of 127.0.0.1. */
export function listening(server: Server): Promise<number> {
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port)));
}

/** A server on node:http in its most lenient mode, which tells what it took for requests. */
export interface RecordingServer {
  readonly port: number;
  readonly http: HttpServer;
  /** `METHOD target` of each request, in order. */
  readonly requests: string[];
  /** Every byte that came in. */
  bytes(): string;
  clear(): void;
  close(): Promise<void>;
}

/**
 * Starts a recording server. It answers 200 with body `ok`, upgrades to an echo, and reads bodies to their end first. `listen`: how it
 * is bound; by default to a free port of 127.0.0.1.
 */
export async function startRecordingServer(
  listen: (server: HttpServer) => Promise<number> = listening,
): Promise<RecordingServer> {
  const requests: string[] = [];
  let received: Buffer[] = [];
  const http = createHttpServer(
    { insecureHTTPParser: true, requireHostHeader: false, keepAliveTimeout: 60_000 },
    (request, response) => {
      requests.push(`${request.method} ${request.url}`);
      request.resume();
      request.on("end", () => response.end("ok"));
      request.on("error", () => response.destroy());
    },
  );
  http.on("upgrade", (request, socket, head) => {
    requests.push(`${request.method} ${request.url}`);
    socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    socket.write(head);
    socket.on("data", (bytes: Buffer) => socket.write(bytes));
    socket.on("end", () => socket.end());
    socket.on("error", () => socket.destroy());
  });
  http.on("clientError", (_error, socket) => socket.destroy());
  http.prependListener("connection", (socket: Socket) => {
    // Node hands the descriptor to llhttp unless someone listens for data: this listener keeps the bytes visible.
    const push = socket.push.bind(socket);
    socket.push = (chunk: Buffer | null) => {
      if (chunk) received.push(Buffer.from(chunk));
      return push(chunk);
    };
  });
  const port = await listen(http);
  return {
    port,
    http,
    requests,
    bytes: () => Buffer.concat(received).toString("latin1"),
    clear() {
      requests.length = 0;
      received = [];
    },
    close() {
      http.closeAllConnections();
      return new Promise((resolve) => http.close(() => resolve()));
    },
  };
}

/** Sends pieces one by one, each in a segment of its own, then shuts its side; resolves to everything that came back. */
export function exchange(
  port: number,
  pieces: readonly (string | Buffer)[],
  options: { readonly end?: boolean } = {},
): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port, noDelay: true, allowHalfOpen: true });
    const parts: Buffer[] = [];
    socket.on("data", (bytes: Buffer) => parts.push(bytes));
    socket.on("error", () => socket.destroy());
    socket.on("end", () => socket.end());
    socket.on("close", () => resolve(Buffer.concat(parts).toString("latin1")));
    const send = (i: number) => {
      if (i === pieces.length) {
        if (options.end !== false) socket.end();
        return;
      }
      const piece = pieces[i]!;
      // Written and on its way before the next: loopback delivers at once.
      if (!socket.destroyed)
        socket.write(typeof piece === "string" ? Buffer.from(piece, "latin1") : piece, () => setImmediate(send, i + 1));
    };
    socket.on("connect", () => send(0));
  });
}

/** The status codes of the responses in a stream of bytes, in order. */
export function statusesOf(received: string): number[] {
  return [...received.matchAll(/HTTP\/1\.[01] (\d\d\d)/g)].map((match) => Number(match[1]));
}
