/**
 * HTTP to an API server, over node:https: one kept-alive connection pool, JSON in and out, and streams of lines for watches.
 * (undici costs 23 MB more of resident memory than node:https, in every process that watches.)
 */
import { readFile } from "node:fs/promises";
import type { ClientRequest, IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { builtinHttp, TsiliumError } from "#core/runtime";
import { kubeError, unreachable } from "./errors.ts";
import type { KubeAccess } from "./kubeconfig.ts";
import type { Status } from "./meta.ts";

/** A request to the API. */
interface KubeRequest {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Path with query. */
  readonly path: string;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly signal?: AbortSignal;
}

/** Sends requests; made by `createTransport`. */
export interface Transport {
  /** Sends and yields the parsed answer. Throws a TsiliumError for any answer but 2xx, or if the server can't be reached. */
  send(request: KubeRequest): Promise<unknown>;
  /** Sends and hands over the answer's lines as they come, several at once; ends when the server ends the stream. `onOpen`: it has begun. */
  stream(request: KubeRequest, onLines: (lines: readonly string[]) => void, onOpen?: () => void): Promise<void>;
  close(): void;
}

const answerLimitBytes = 256 * 1024 * 1024;
const requestTimeoutMs = 30_000;
/** Tokens in files are renewed by the kubelet every hour or so. */
const tokenFreshMs = 60_000;

/** Opens no connection by itself. */
export function createTransport(access: KubeAccess): Transport {
  const server = new URL(access.server);
  const secure = server.protocol === "https:";
  const pool = { keepAlive: true, keepAliveMsecs: 30_000, maxSockets: 64, scheduling: "lifo" as const };
  const agent = secure
    ? new HttpsAgent({
        ...pool,
        ...(access.ca === undefined ? {} : { ca: access.ca }),
        ...(access.clientCertificate === undefined ? {} : { cert: access.clientCertificate }),
        ...(access.clientKey === undefined ? {} : { key: access.clientKey }),
        ...(access.serverName === undefined ? {} : { servername: access.serverName }),
        ...(access.insecureSkipTlsVerify ? { rejectUnauthorized: false } : {}),
      })
    : new (builtinHttp().Agent)(pool);
  const base = server.pathname.replace(/\/+$/, "");
  let fileToken: { readonly value: string; readonly readAtMs: number } | undefined;

  async function token(): Promise<string | undefined> {
    if (access.tokenFile === undefined) return access.token;
    if (fileToken === undefined || performance.now() - fileToken.readAtMs > tokenFreshMs) {
      fileToken = { value: (await readFile(access.tokenFile, "utf8")).trim(), readAtMs: performance.now() };
    }
    return fileToken.value;
  }

  async function open(request: KubeRequest): Promise<IncomingMessage> {
    const bearer = await token();
    const payload = request.body === undefined ? undefined : Buffer.from(JSON.stringify(request.body));
    let outgoing: ClientRequest | undefined;
    try {
      return await new Promise<IncomingMessage>((resolve, reject) => {
        outgoing = (secure ? httpsRequest : builtinHttp().request)(
          {
            agent,
            method: request.method,
            host: server.hostname.replace(/^\[|\]$/g, ""),
            port: server.port === "" ? (secure ? 443 : 80) : Number(server.port),
            path: base + request.path,
            ...(request.signal === undefined ? {} : { signal: request.signal }),
            headers: {
              accept: "application/json",
              "user-agent": "tsilium",
              ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }),
              ...(payload === undefined
                ? {}
                : { "content-type": request.contentType ?? "application/json", "content-length": payload.length }),
            },
          },
          resolve,
        );
        outgoing.on("error", reject);
        outgoing.setTimeout(requestTimeoutMs, () =>
          outgoing?.destroy(new Error(`no answer within ${requestTimeoutMs / 1000} s`)),
        );
        outgoing.end(payload);
      });
    } catch (cause) {
      // A kept-alive connection that the server has closed: nothing was processed, another will do. A new one is not reused.
      if (outgoing?.reusedSocket && !request.signal?.aborted && isReset(cause)) return open(request);
      throw unreachable(access.server, request, cause);
    }
  }

  async function body(request: KubeRequest, response: IncomingMessage): Promise<string> {
    const chunks: Buffer[] = [];
    let size = 0;
    try {
      for await (const chunk of response as AsyncIterable<Buffer>) {
        size += chunk.length;
        if (size > answerLimitBytes) throw new Error(`the answer is larger than ${answerLimitBytes} bytes`);
        chunks.push(chunk);
      }
    } catch (cause) {
      throw unreachable(access.server, request, cause);
    }
    return Buffer.concat(chunks).toString("utf8");
  }

  async function refused(request: KubeRequest, response: IncomingMessage): Promise<TsiliumError> {
    const text = await body(request, response);
    return kubeError(request, response.statusCode ?? 0, statusOf(text), text);
  }

  const succeeded = (response: IncomingMessage) =>
    (response.statusCode ?? 0) >= 200 && (response.statusCode ?? 0) < 300;

  return {
    async send(request) {
      const response = await open(request);
      if (!succeeded(response)) throw await refused(request, response);
      const text = await body(request, response);
      try {
        return JSON.parse(text);
      } catch (cause) {
        throw unreachable(access.server, request, cause);
      }
    },
    async stream(request, onLines, onOpen) {
      const response = await open(request);
      if (!succeeded(response)) throw await refused(request, response);
      onOpen?.();
      response.setEncoding("utf8");
      response.socket?.setTimeout(0);
      response.socket?.setKeepAlive(true, 30_000);
      let rest = "";
      try {
        for await (const chunk of response as AsyncIterable<string>) {
          const end = chunk.lastIndexOf("\n");
          if (end < 0) {
            rest += chunk;
            continue;
          }
          const lines = (rest + chunk.slice(0, end)).split("\n");
          rest = chunk.slice(end + 1);
          onLines(lines.filter((line) => line !== ""));
        }
      } catch (cause) {
        if (cause instanceof TsiliumError) throw cause;
        throw unreachable(access.server, request, cause);
      }
    },
    close: () => agent.destroy(),
  };
}

function isReset(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  return code === "ECONNRESET" || code === "EPIPE";
}

function statusOf(text: string): Status | undefined {
  try {
    const value = JSON.parse(text) as Status;
    return value.kind === "Status" ? value : undefined;
  } catch {
    return undefined; // A proxy's error page: the caller shows the text.
  }
}
