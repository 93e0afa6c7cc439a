/** A real API server on a free port with a directory of its own, for tests. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { createKubeClient, type KubeClient } from "#contracts/kube";
import type { Logger } from "#core/runtime";
import type { ApiServerReady } from "./index.ts";
import { type ApiServer, type ApiServerOptions, startApiServer } from "./server.ts";

/** An answer as it came over the wire. */
interface RawAnswer {
  readonly httpStatus: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every form.
  readonly json: any;
}

/** A server under test. */
export interface TestServer extends ApiServer {
  readonly directory: string;
  /** With admin's rights. */
  readonly client: KubeClient;
  readonly ca: string;
  readonly tokens: { readonly admin: string; readonly agent: string };
  /** Sends one request; objects become JSON, texts go as they are. */
  request(method: string, path: string, options?: RawOptions): Promise<RawAnswer>;
  /** Opens a watch (or any answer) and yields its lines as they come. */
  lines(path: string, options?: RawOptions): Promise<LineReader>;
}

/** How to send a request. */
export interface RawOptions {
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** Default: admin's; empty: none. */
  readonly token?: string;
}

/** Lines of an answer, parsed. */
interface LineReader {
  readonly httpStatus: number;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into events of every form.
  next(): Promise<any>;
  close(): void;
}

const prefix = "tsilium-apiserver-";
const silent: Logger = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

/** A fresh directory; those of dead test processes are removed. */
export function createTestDirectory(): string {
  for (const name of readdirSync(tmpdir())) {
    const pid = name.startsWith(prefix) ? Number(name.slice(prefix.length).split("-")[0]) : Number.NaN;
    if (Number.isInteger(pid) && !isAlive(pid)) rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
  return mkdtempSync(join(tmpdir(), `${prefix}${process.pid}-`));
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: string }).code === "EPERM";
  }
}

/** Starts a server; `directory` of an earlier one brings its objects back. Without it, closing removes everything. */
export async function createTestServer(
  options: Partial<ApiServerOptions> & { readonly directory?: string } = {},
): Promise<TestServer> {
  const directory = options.directory ?? createTestDirectory();
  const stateDir = join(directory, "state");
  const server = await startApiServer({
    address: "127.0.0.1",
    port: 0,
    stateDir,
    runDir: join(directory, "run"),
    logger: silent,
    ...options,
  });
  const secret = (name: string) => readFileSync(join(stateDir, "pki", name), "utf8").trim();
  const ca = secret("ca.crt");
  const tokens = { admin: secret("admin.token"), agent: secret("agent.token") };
  const client = await createKubeClient({ kubeconfig: server.adminKubeconfig });

  function open(
    method: string,
    path: string,
    { body, headers = {}, token = tokens.admin }: RawOptions,
  ): Promise<IncomingMessage> {
    const payload = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const outgoing = httpsRequest(
        `${server.url}${path}`,
        {
          method,
          ca,
          agent: false,
          headers: {
            ...(token === "" ? {} : { authorization: `Bearer ${token}` }),
            ...(payload === undefined
              ? {}
              : { "content-type": "application/json", "content-length": String(Buffer.byteLength(payload)) }),
            ...headers,
          },
        },
        resolve,
      );
      outgoing.on("error", reject);
      outgoing.end(payload);
    });
  }

  return {
    ...server,
    directory,
    client,
    ca,
    tokens,
    async request(method, path, raw = {}) {
      const response = await open(method, path, raw);
      response.setEncoding("utf8");
      let text = "";
      for await (const chunk of response) text += chunk;
      const isJson = (response.headers["content-type"] ?? "").startsWith("application/json");
      return {
        httpStatus: response.statusCode ?? 0,
        headers: response.headers,
        text,
        json: isJson && text !== "" ? JSON.parse(text) : undefined,
      };
    },
    async lines(path, raw = {}) {
      const response = await open("GET", path, raw);
      response.setEncoding("utf8");
      const chunks = response[Symbol.asyncIterator]();
      let rest = "";
      return {
        httpStatus: response.statusCode ?? 0,
        async next() {
          for (;;) {
            const end = rest.indexOf("\n");
            if (end >= 0) {
              const line = rest.slice(0, end);
              rest = rest.slice(end + 1);
              return JSON.parse(line);
            }
            const { value, done } = await chunks.next();
            if (done) return undefined;
            rest += value;
          }
        },
        close: () => response.destroy(),
      };
    },
    async close() {
      client.close();
      await server.close();
      if (options.directory === undefined) rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** A server in a process of its own. */
export interface ServerProcess {
  readonly ready: ApiServerReady;
  readonly process: ChildProcess;
  /** Sends a signal and waits for the end; yields the exit code, or null if the signal ended it. */
  end(signal: NodeJS.Signals): Promise<number | null>;
}

/** Starts `tsilium apiserver` on a directory; rejects with what it wrote to stderr if it ends before it is ready. */
export function spawnServer(directory: string, args: readonly string[] = ["--port", "0"]): Promise<ServerProcess> {
  // Its stdin is a pipe from the test: when that is gone, however it ended, so is the server.
  const program = `
    import { runApiServer } from "#apps/apiserver";
    process.stdin.on("close", () => process.exit(9)).resume().unref();
    process.exitCode = await runApiServer(process.argv.slice(1), process.env);`;
  const child = spawn(
    process.execPath,
    [
      "--conditions=development",
      "--disable-warning=ExperimentalWarning",
      "--input-type=module",
      "--eval",
      program,
      "--",
      ...["--state-dir", join(directory, "state"), "--run-dir", join(directory, "run")],
      ...args,
    ],
    { cwd: join(import.meta.dirname, "../../.."), stdio: ["pipe", "pipe", "pipe"] },
  );
  const ended = new Promise<number | null>((resolve) => child.once("close", (code) => resolve(code)));
  let complaints = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaints += text;
  });
  return new Promise((resolve, reject) => {
    void ended.then((code) => reject(new Error(`the server ended with ${code}: ${complaints}`)));
    createInterface({ input: child.stdout }).once("line", (line) =>
      resolve({
        ready: JSON.parse(line) as ApiServerReady,
        process: child,
        end(signal) {
          child.kill(signal);
          return ended;
        },
      }),
    );
  });
}
