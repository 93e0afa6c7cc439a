/** The local API's server: HTTP on a unix socket on one side, the agent's operations on the other. */
import { chmodSync, rmSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createConnection } from "node:net";
import type { AgentClient, CreateEndpoint, CreateWorkload, PolicyWait } from "#contracts/agent";
import { builtinHttp, errorMessage, TsiliumError } from "#core/runtime";

/** What the agent can do for others: the same operations that the client offers. */
export type AgentOperations = Omit<AgentClient, "close">;

/** The largest body; a workload's labels and command fit many times. */
const maxBodyBytes = 1 << 20;

/** HTTP status of the codes that are the caller's doing; all else is 500. */
const statusOf: Readonly<Record<string, number>> = {
  BAD_REQUEST: 400,
  BAD_ARGUMENT: 400,
  NO_SUCH_OPERATION: 404,
  NO_SUCH_ENDPOINT: 404,
  NO_SUCH_WORKLOAD: 404,
  NO_SUCH_MAP: 404,
  KUBE_NOT_FOUND: 404,
  KUBE_INVALID: 400,
  KUBE_BAD_REQUEST: 400,
  KUBE_CONFLICT: 409,
  KUBE_ALREADY_EXISTS: 409,
  WORKLOAD_EXISTS: 409,
  ENDPOINT_EXISTS: 409,
  AGENT_NOT_READY: 503,
  NO_FREE_ADDRESS: 507,
  RECORD_UNWRITABLE: 507,
  TOO_MANY_ENDPOINTS: 507,
};

interface Call {
  readonly parts: readonly string[];
  readonly query: URLSearchParams;
  readonly body: () => Promise<unknown>;
}

type Handler = (operations: AgentOperations, call: Call) => Promise<unknown>;

/** `METHOD pattern`; `*` is one path segment. */
const routes: readonly (readonly [string, string, Handler])[] = [
  ["GET", "/v1/status", (o) => o.status()],
  ["GET", "/v1/endpoints", (o) => o.endpoints()],
  ["GET", "/v1/endpoints/*", (o, { parts }) => o.endpoint(wholeNumber("the endpoint's number", parts[2]!))],
  ["POST", "/v1/endpoints", async (o, { body }) => o.createEndpoint(checkEndpoint(await body()))],
  ["DELETE", "/v1/endpoints/*", (o, { parts }) => o.deleteEndpoint(parts[2]!)],
  ["GET", "/v1/identities", (o) => o.identities()],
  ["GET", "/v1/ipcache", (o) => o.ipcache()],
  ["GET", "/v1/policies", (o) => o.policies()],
  ["GET", "/v1/policy/wait", (o, { query }) => o.waitForPolicy(checkWait(query))],
  ["GET", "/v1/maps", (o) => o.maps()],
  ["GET", "/v1/maps/*", (o, { parts }) => o.map(parts[2]!)],
  ["GET", "/v1/workloads", (o) => o.workloads()],
  ["POST", "/v1/workloads", async (o, { body }) => o.createWorkload(checkWorkload(await body()))],
  [
    "DELETE",
    "/v1/workloads/*/*",
    (o, { parts, query }) =>
      o.deleteWorkload(parts[2]!, parts[3]!, wholeNumber("graceMs", query.get("graceMs") ?? "10000")),
  ],
  ["POST", "/v1/cleanup", (o) => o.cleanup()],
  ["GET", "/metrics", (o) => o.metrics()],
];

/** Serves until closed. Throws INSTANCE_IN_USE if another agent, in another network namespace, serves this socket. */
export async function serveLocalApi(
  socketPath: string,
  operations: AgentOperations,
  onProblem: (operation: string, error: unknown) => void,
): Promise<{ close(): Promise<void> }> {
  if (await isServed(socketPath)) {
    throw new TsiliumError(
      "INSTANCE_IN_USE",
      `an agent in another network namespace serves ${socketPath}; give this one a name of its own with TSILIUM_INSTANCE`,
    );
  }
  rmSync(socketPath, { force: true });
  const server = builtinHttp().createServer((incoming, answer) => {
    void handle(operations, incoming, answer, onProblem);
  });
  // A client that was busy with other things must not find its connection closed when it asks again.
  server.keepAliveTimeout = 0;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(socketPath, resolve);
  });
  chmodSync(socketPath, 0o600);
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function handle(
  operations: AgentOperations,
  incoming: IncomingMessage,
  answer: ServerResponse,
  onProblem: (operation: string, error: unknown) => void,
): Promise<void> {
  const operation = `${incoming.method} ${incoming.url}`;
  try {
    const url = new URL(incoming.url ?? "/", "http://agent");
    const parts = url.pathname.split("/").slice(1).map(decodeURIComponent);
    const handler = routes.find(([method, pattern]) => method === incoming.method && matches(pattern, parts))?.[2];
    if (!handler) throw new TsiliumError("NO_SUCH_OPERATION", `the agent has no operation ${operation}`);
    const result = await handler(operations, {
      parts,
      query: url.searchParams,
      body: () => readBody(incoming),
    });
    if (typeof result === "string") {
      answer.writeHead(200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" }).end(result);
    } else {
      answer.writeHead(200, { "content-type": "application/json" }).end(`${JSON.stringify(result ?? {})}\n`);
    }
  } catch (error) {
    const code = error instanceof TsiliumError ? error.code : error instanceof URIError ? "BAD_REQUEST" : "INTERNAL";
    const status = statusOf[code] ?? 500;
    if (status === 500) onProblem(operation, error);
    const details = error instanceof TsiliumError ? error.details : undefined;
    answer.writeHead(status, { "content-type": "application/json" });
    answer.end(`${JSON.stringify({ code, message: errorMessage(error), details })}\n`);
  }
}

function matches(pattern: string, parts: readonly string[]): boolean {
  const wanted = pattern.split("/").slice(1);
  return wanted.length === parts.length && wanted.every((word, i) => word === "*" || word === parts[i]);
}

async function readBody(incoming: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBodyBytes)
      throw new TsiliumError("BAD_REQUEST", `the request's body is larger than ${maxBodyBytes} bytes`);
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString());
  } catch (cause) {
    throw new TsiliumError("BAD_REQUEST", "the request's body is not JSON", { cause });
  }
}

type Fields = Readonly<Record<string, unknown>>;
const isObject = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isText = (value: unknown): value is string => typeof value === "string";
const isTextMap = (value: unknown): boolean => isObject(value) && Object.values(value).every(isText);
const isTextList = (value: unknown): boolean => Array.isArray(value) && value.every(isText);
const isBoolean = (value: unknown): boolean => typeof value === "boolean";

/** Checks fields against their tests; a `?` at the end of the name says that it may be missing. Unknown fields are refused. */
function checkFields(
  what: string,
  value: unknown,
  tests: Readonly<Record<string, (value: unknown) => boolean>>,
): Fields {
  const problems: string[] = [];
  if (!isObject(value)) throw new TsiliumError("BAD_REQUEST", `${what} must be a JSON object`);
  const names = new Set<string>();
  for (const [spelled, test] of Object.entries(tests)) {
    const name = spelled.replace(/\?$/, "");
    names.add(name);
    if (value[name] === undefined ? spelled === name : !test(value[name]))
      problems.push(`${name} is ${value[name] === undefined ? "missing" : "of the wrong type"}`);
  }
  for (const name of Object.keys(value)) if (!names.has(name)) problems.push(`${name} is not a field of it`);
  if (problems.length > 0)
    throw new TsiliumError("BAD_REQUEST", `${what}: ${problems.join("; ")}`, { details: { problems } });
  return value;
}

function checkWorkload(value: unknown): CreateWorkload {
  return checkFields("the workload", value, {
    name: isText,
    "namespace?": isText,
    "labels?": isTextMap,
    "annotations?": isTextMap,
    "serviceAccount?": isText,
    "command?": isTextList,
    "keep?": isBoolean,
  }) as unknown as CreateWorkload;
}

function checkEndpoint(value: unknown): CreateEndpoint {
  const fields = checkFields("the endpoint", value, {
    containerId: isText,
    netnsPath: isText,
    "interfaceName?": isText,
    pod: isObject,
  });
  checkFields("the endpoint's pod", fields.pod, { namespace: isText, name: isText, "uid?": isText });
  return fields as unknown as CreateEndpoint;
}

function checkWait(query: URLSearchParams): PolicyWait {
  const wait: Record<string, unknown> = {};
  for (const name of ["kind", "namespace", "name", "resourceVersion"] as const)
    if (query.has(name)) wait[name] = query.get(name);
  if (query.has("absent")) wait.absent = query.get("absent") === "true";
  if (query.has("timeoutMs")) wait.timeoutMs = wholeNumber("timeoutMs", query.get("timeoutMs")!);
  return wait;
}

function wholeNumber(what: string, text: string): number {
  if (!/^[0-9]{1,9}$/.test(text))
    throw new TsiliumError("BAD_REQUEST", `${what} must be a whole number, not "${text}"`);
  return Number(text);
}

function isServed(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(socketPath);
    socket.on("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}
