/** The HTTPS server: connections, limits, answers, and what must exist before the first request. */
import { mkdirSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { resourceOf } from "#contracts/kube";
import { errorCode, errorMessage, type Logger, TsiliumError } from "#core/runtime";
import { type Credentials, loadCredentials, writeKubeconfig } from "./access.ts";
import { type ApiContext, answerRequest, statusOfError } from "./api.ts";
import { createServerCertificate, renewAfterMs, serverNames } from "./certificates.ts";
import { createDefinitions } from "./definitions.ts";
import { createObject } from "./objects.ts";
import { Refusal } from "./status.ts";
import { openStore, type Store } from "./store.ts";
import type { ObjectValidator } from "./write-request.ts";

/** How to start a server. */
export interface ApiServerOptions {
  /** Address to listen on, e.g. 127.0.0.1 or ::. */
  readonly address: string;
  /** 0: any free port. */
  readonly port: number;
  /** Directory of the store, the keys and the admin's kubeconfig. Made if missing. */
  readonly stateDir: string;
  /** Directory in which the agent's kubeconfig is written. */
  readonly runDir: string;
  /** Judges objects beyond their schema; default: everything is fine. */
  readonly validate?: ObjectValidator;
  readonly logger: Logger;
}

/** A running server. */
export interface ApiServer {
  /** `https://address:port`. */
  readonly url: string;
  readonly adminKubeconfig: string;
  readonly agentKubeconfig: string;
  /** Ends watches, answers what is under way, closes the store. */
  close(): Promise<void>;
}

const bodyTimeoutMs = 30_000;
const idleConnectionMs = 120_000;
const closeGraceMs = 2000;
const initialNamespaces = ["default", "kube-system"];

/**
 * Starts a server; it answers when this resolves. Throws STATE_UNUSABLE, STORE_LOCKED, STORE_CORRUPT, STORE_NEWER,
 * STORE_UNUSABLE, ADDRESS_IN_USE or LISTEN_FAILED.
 */
export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const { stateDir, address, logger } = options;
  prepareDirectory(stateDir);
  const credentials = loadCredentials(stateDir, Date.now());
  const store = openStore(stateDir);
  try {
    await createInitialObjects(store);
    const stopping = new AbortController();
    const context: ApiContext = {
      store,
      definitions: createDefinitions(`${new Date().toISOString().slice(0, 19)}Z`),
      credentials,
      validate: options.validate ?? (() => []),
      stopping: stopping.signal,
    };
    const server = createTlsServer(credentials, address);
    server.on("request", (request, response) => void serve(context, logger, request, response));
    const port = await listen(server, options);
    const host = address === "0.0.0.0" || address === "::" ? "127.0.0.1" : address;
    const url = `https://${host.includes(":") ? `[${host}]` : host}:${port}`;
    const adminKubeconfig = join(stateDir, "admin.kubeconfig");
    const agentKubeconfig = join(options.runDir, "agent.kubeconfig");
    writeKubeconfig(adminKubeconfig, "admin", url, credentials);
    writeKubeconfig(agentKubeconfig, "agent", url, credentials);
    return {
      url,
      adminKubeconfig,
      agentKubeconfig,
      async close() {
        stopping.abort();
        await closeServer(server);
        store.close();
      },
    };
  } catch (error) {
    store.close();
    throw error;
  }
}

function prepareDirectory(stateDir: string): void {
  try {
    mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new TsiliumError(
      "STATE_UNUSABLE",
      `can't make the state directory ${stateDir} (${errorMessage(cause)}); run as root, or give another with --state-dir`,
      { cause, details: { stateDir } },
    );
  }
}

function createTlsServer(credentials: Credentials, address: string): Server {
  const certificate = () => {
    const made = createServerCertificate(credentials.authority, serverNames(address), Date.now());
    return { cert: made.certificate + credentials.authority.certificate, key: made.key };
  };
  const server = createServer({ ...certificate(), minVersion: "TLSv1.2", keepAliveTimeout: idleConnectionMs });
  const renewal = setInterval(() => {
    renewIfDue();
  }, 3_600_000);
  let madeAtMs = Date.now();
  const renewIfDue = () => {
    if (Date.now() - madeAtMs < renewAfterMs) return;
    madeAtMs = Date.now();
    server.setSecureContext(certificate());
  };
  renewal.unref();
  server.on("close", () => clearInterval(renewal));
  server.requestTimeout = bodyTimeoutMs;
  server.headersTimeout = 10_000;
  server.maxHeadersCount = 100;
  server.maxConnections = 2000;
  server.on("clientError", (_error, socket) => {
    if (socket.writable) socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    else socket.destroy();
  });
  return server;
}

function listen(server: Server, { address, port }: ApiServerOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause) => {
      reject(
        errorCode(cause) === "EADDRINUSE"
          ? new TsiliumError(
              "ADDRESS_IN_USE",
              `${address} port ${port} is in use by another program; stop it, or choose another with --port (0: any free one)`,
              { cause, details: { address, port } },
            )
          : new TsiliumError(
              "LISTEN_FAILED",
              `can't listen on ${address} port ${port}: ${errorMessage(cause)}; choose others with --address and --port`,
              { cause, details: { address, port } },
            ),
      );
    });
    server.listen({ host: address, port }, () => resolve((server.address() as AddressInfo).port));
  });
}

async function createInitialObjects(store: Store): Promise<void> {
  const resource = resourceOf("Namespace");
  for (const name of initialNamespaces) {
    if (store.get({ kind: "namespaces", namespace: "", name }) !== undefined) continue;
    await store.transact((transaction) =>
      createObject(
        transaction,
        {
          resource,
          namespace: "",
          name: "",
          subresource: undefined,
          manager: "apiserver",
          managerGiven: true,
          fieldValidation: "Strict",
          force: false,
          nowMs: Date.now(),
          validate: () => [],
          warn: () => undefined,
        },
        { apiVersion: "v1", kind: "Namespace", metadata: { name } },
      ),
    );
  }
}

async function serve(
  context: ApiContext,
  logger: Logger,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  request.on("error", () => response.destroy());
  response.on("error", () => response.destroy());
  try {
    const answer = await answerRequest(context, request, response);
    if (answer === undefined) return;
    for (const text of answer.warnings) response.appendHeader("warning", `299 - ${quoteWarning(text)}`);
    send(request, response, answer.httpStatus, answer.contentType, answer.text);
  } catch (error) {
    if (response.headersSent || response.destroyed) {
      response.destroy();
      return;
    }
    if (error instanceof Refusal) {
      send(request, response, error.status.code ?? 500, "application/json", JSON.stringify(error.status));
      return;
    }
    const failure =
      error instanceof TsiliumError
        ? error
        : new TsiliumError("INTERNAL", `internal error: ${errorMessage(error)}`, { cause: error });
    logger.error(
      {
        method: request.method,
        path: request.url?.split("?")[0],
        code: failure.code,
        error: errorMessage(error),
        stack: error instanceof Error ? error.stack : undefined,
      },
      "a request failed",
    );
    const status = statusOfError(failure);
    send(request, response, status.code, "application/json", JSON.stringify(status));
  }
}

function send(
  request: IncomingMessage,
  response: ServerResponse,
  httpStatus: number,
  contentType: string,
  text: string,
): void {
  const body = Buffer.from(text, "utf8");
  response.statusCode = httpStatus;
  response.setHeader("content-type", contentType);
  response.setHeader("content-length", body.length);
  response.setHeader("cache-control", "no-cache, private");
  if (httpStatus === 401) response.setHeader("www-authenticate", "Bearer");
  // An unread body would be taken for the next request, or keep the connection busy for nothing.
  if (!request.complete) response.setHeader("connection", "close");
  response.end(request.method === "HEAD" ? undefined : body);
}

/** A quoted-string that HTTP can carry: printable ASCII. */
const quoteWarning = (text: string) =>
  `"${text
    .slice(0, 1000)
    .replace(/[^\x20-\x7e]/g, "?")
    .replace(/["\\]/g, "\\$&")}"`;

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const force = setTimeout(() => server.closeAllConnections(), closeGraceMs);
    server.close(() => {
      clearTimeout(force);
      resolve();
    });
    server.closeIdleConnections();
  });
}
