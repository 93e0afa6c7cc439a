/**
 * The embedded API server: Kubernetes objects over HTTPS, kept in one SQLite file. kubectl and the agent talk to it as they
 * would to a cluster's.
 * @module
 */
import { parseArgs } from "node:util";
import { createLogger, errorCode, errorMessage, instancePaths, returnIdleMemory } from "#core/runtime";
import { startApiServer } from "./server.ts";
import type { ObjectValidator } from "./write-request.ts";

export { type ApiServer, type ApiServerOptions, startApiServer } from "./server.ts";
export type { ObjectProblem, ObjectValidator } from "./write-request.ts";

/** The line on stdout that says that requests are answered. */
export interface ApiServerReady {
  readonly ready: true;
  readonly pid: number;
  readonly url: string;
  readonly adminKubeconfig: string;
  readonly agentKubeconfig: string;
  /** Since the start of the process. */
  readonly startMs: number;
}

const usage = `usage: tsilium apiserver [options]
  --address ADDRESS   address to listen on (default 127.0.0.1)
  --port PORT         port to listen on; 0: any free one (default 6443)
  --state-dir DIR     store, keys, admin.kubeconfig (default: the instance's state directory)
  --run-dir DIR       agent.kubeconfig (default: the instance's run directory)`;

interface Settings {
  readonly address: string;
  readonly port: number;
  readonly stateDir: string;
  readonly runDir: string;
}

/**
 * Runs until SIGTERM or SIGINT. Prints one JSON line (`ApiServerReady`) when requests are answered. Resolves to the exit code:
 * 0 after a shutdown, 1 if it could not start (the reason is on stderr as a log line with `code` and `error`), 2 for bad arguments.
 */
export async function runApiServer(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  validate: ObjectValidator = () => [],
): Promise<number> {
  const settings = readSettings(argv, env);
  if (typeof settings === "string") {
    process.stderr.write(`${settings}\n${usage}\n`);
    return 2;
  }
  const logger = createLogger("apiserver");
  // Listened for from the start: a signal during it must not leave a half-started server.
  const stopped = new Promise<void>((resolve) => {
    process.once("SIGTERM", () => resolve());
    process.once("SIGINT", () => resolve());
  });
  try {
    const server = await startApiServer({ ...settings, validate, logger });
    const ready: ApiServerReady = {
      ready: true,
      pid: process.pid,
      url: server.url,
      adminKubeconfig: server.adminKubeconfig,
      agentKubeconfig: server.agentKubeconfig,
      startMs: Math.round(performance.now()),
    };
    process.stdout.write(`${JSON.stringify(ready)}\n`);
    returnIdleMemory();
    await stopped;
    await server.close();
    return 0;
  } catch (error) {
    logger.error({ code: errorCode(error), error: errorMessage(error) }, "the API server could not start");
    return 1;
  }
}

function readSettings(argv: readonly string[], env: Readonly<Record<string, string | undefined>>): Settings | string {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        address: { type: "string", default: "127.0.0.1" },
        port: { type: "string", default: "6443" },
        "state-dir": { type: "string" },
        "run-dir": { type: "string" },
      },
    });
    if (!/^[0-9]{1,5}$/.test(values.port) || Number(values.port) > 65535) {
      return `--port must be a number from 0 to 65535, is ${JSON.stringify(values.port)}`;
    }
    const paths = instancePaths(env);
    return {
      address: values.address,
      port: Number(values.port),
      stateDir: values["state-dir"] ?? paths.stateDir,
      runDir: values["run-dir"] ?? paths.runDir,
    };
  } catch (error) {
    return errorMessage(error);
  }
}
