/** The client of the local API: one method per operation, errors as the agent threw them. */
import { builtinHttp, errorCode, TsiliumError } from "#core/runtime";
import type * as api from "./api.ts";

/** Typed operations of a running agent; each throws TsiliumError (AGENT_NOT_RUNNING, AGENT_FORBIDDEN, AGENT_TIMEOUT, or the agent's own code). */
export interface AgentClient {
  status(): Promise<api.AgentStatus>;
  endpoints(): Promise<readonly api.EndpointSummary[]>;
  endpoint(id: number): Promise<api.EndpointDetail>;
  createEndpoint(wanted: api.CreateEndpoint): Promise<api.CreatedEndpoint>;
  deleteEndpoint(containerId: string): Promise<void>;
  identities(): Promise<readonly api.IdentityView[]>;
  ipcache(): Promise<readonly api.IpcacheView[]>;
  policies(): Promise<readonly api.PolicyView[]>;
  maps(): Promise<readonly api.MapSummary[]>;
  map(name: string): Promise<api.MapDump>;
  workloads(): Promise<readonly api.Workload[]>;
  createWorkload(wanted: api.CreateWorkload): Promise<api.Workload>;
  /** Asks the processes to end, kills what is left after `graceMs` (default 10 000), removes the workload. */
  deleteWorkload(namespace: string, name: string, graceMs?: number): Promise<void>;
  waitForPolicy(wait?: api.PolicyWait): Promise<api.PolicyWaitResult>;
  cleanup(): Promise<api.CleanupResult>;
  /** Prometheus text. */
  metrics(): Promise<string>;
  /** Closes idle connections. */
  close(): void;
}

/** A client for the agent behind a socket; connects at the first call. */
export function createAgentClient(socketPath: string): AgentClient {
  const { Agent, request } = builtinHttp();
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });

  async function call<T>(method: string, path: string, body?: unknown, timeoutMs = 30_000): Promise<T> {
    const { status, text, type } = await exchange(method, path, body, timeoutMs);
    if (status >= 400) throw refusal(status, text, `${method} ${path}`);
    return (type.startsWith("application/json") ? JSON.parse(text) : text) as T;
  }

  interface Answer {
    readonly status: number;
    readonly text: string;
    readonly type: string;
  }

  function exchange(method: string, path: string, body: unknown, timeoutMs: number): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const payload = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
      const outgoing = request(
        {
          socketPath,
          agent,
          method,
          path,
          headers: payload ? { "content-type": "application/json", "content-length": payload.length } : {},
          timeout: timeoutMs,
        },
        (incoming) => {
          const chunks: Buffer[] = [];
          incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
          incoming.on("error", (error) => reject(unreachable(error, socketPath)));
          incoming.on("end", () =>
            resolve({
              status: incoming.statusCode ?? 0,
              text: Buffer.concat(chunks).toString(),
              type: incoming.headers["content-type"] ?? "",
            }),
          );
        },
      );
      outgoing.on("timeout", () =>
        outgoing.destroy(
          new TsiliumError("AGENT_TIMEOUT", `the agent did not answer ${method} ${path} within ${timeoutMs} ms`),
        ),
      );
      outgoing.on("error", (error) => {
        // A kept-alive connection that the agent has closed meanwhile: nothing was processed, another will do. A new one is not reused.
        const stale = outgoing.reusedSocket && ["ECONNRESET", "EPIPE"].includes(errorCode(error) ?? "");
        if (stale) resolve(exchange(method, path, body, timeoutMs));
        else reject(unreachable(error, socketPath));
      });
      outgoing.end(payload);
    });
  }

  const segment = encodeURIComponent;
  return {
    status: () => call("GET", "/v1/status"),
    endpoints: () => call("GET", "/v1/endpoints"),
    endpoint: (id) => call("GET", `/v1/endpoints/${id}`),
    createEndpoint: (wanted) => call("POST", "/v1/endpoints", wanted),
    deleteEndpoint: (containerId) => call("DELETE", `/v1/endpoints/${segment(containerId)}`),
    identities: () => call("GET", "/v1/identities"),
    ipcache: () => call("GET", "/v1/ipcache"),
    policies: () => call("GET", "/v1/policies"),
    maps: () => call("GET", "/v1/maps"),
    map: (name) => call("GET", `/v1/maps/${segment(name)}`),
    workloads: () => call("GET", "/v1/workloads"),
    createWorkload: (wanted) => call("POST", "/v1/workloads", wanted),
    deleteWorkload: (namespace, name, graceMs = 10_000) =>
      call(
        "DELETE",
        `/v1/workloads/${segment(namespace)}/${segment(name)}?graceMs=${graceMs}`,
        undefined,
        graceMs + 30_000,
      ),
    waitForPolicy(wait = {}) {
      const query = new URLSearchParams();
      for (const [key, value] of Object.entries(wait)) if (value !== undefined) query.set(key, String(value));
      return call("GET", `/v1/policy/wait?${query}`, undefined, (wait.timeoutMs ?? 10_000) + 10_000);
    },
    cleanup: () => call("POST", "/v1/cleanup", {}, 60_000),
    metrics: () => call("GET", "/metrics"),
    close: () => agent.destroy(),
  };
}

function refusal(status: number, text: string, operation: string): TsiliumError {
  try {
    const error = JSON.parse(text) as api.ApiError;
    return new TsiliumError(error.code, error.message, { details: { ...error.details, status } });
  } catch (cause) {
    return new TsiliumError("AGENT_BAD_ANSWER", `${operation} was answered ${status} with: ${text.slice(0, 200)}`, {
      cause,
    });
  }
}

function unreachable(error: Error, socketPath: string): TsiliumError {
  if (error instanceof TsiliumError) return error;
  switch (errorCode(error)) {
    case "ENOENT":
    case "ECONNREFUSED":
      return new TsiliumError(
        "AGENT_NOT_RUNNING",
        `no agent is listening on ${socketPath}; start one with \`sudo tsilium up\` (or set TSILIUM_INSTANCE if it runs under another name)`,
        { details: { socketPath }, cause: error },
      );
    case "EACCES":
    case "EPERM":
      return new TsiliumError("AGENT_FORBIDDEN", `${socketPath} may be used by root only; run the command with sudo`, {
        details: { socketPath },
        cause: error,
      });
    default:
      return new TsiliumError(
        "AGENT_UNREACHABLE",
        `the connection to the agent on ${socketPath} broke; \`tsilium status\` says whether it is running`,
        { details: { socketPath }, cause: error },
      );
  }
}
