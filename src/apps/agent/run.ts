/** `tsilium agent`: from arguments to a running agent, and to its end. */
import { mkdirSync } from "node:fs";
import type { CleanupResult, ComponentStatus } from "#contracts/agent";
import { routerAddress } from "#control/endpoint";
import { createLogger, errorCode, errorMessage, returnIdleMemory, TsiliumError } from "#core/runtime";
import type { Observer } from "#observer/server";
import { removeNode } from "./cleanup.ts";
import { serveLocalApi } from "./local-api.ts";
import { askHolder, takeAgentLock } from "./lock.ts";
import { agentMetrics } from "./metrics.ts";
import { agentAnswers, openNodeAgent } from "./node-agent.ts";
import { type Observation, startObservation } from "./observation.ts";
import { createOperations } from "./operations.ts";
import { type AgentOptions, agentUsage, parseAgentOptions } from "./options.ts";
import { ownVersion } from "./version.ts";

/** The line on stdout that says that workloads can be created and policy is enforced. */
export interface AgentReady {
  readonly ready: true;
  readonly pid: number;
  readonly nodeName: string;
  readonly socket: string;
  /** Since the start of the process. */
  readonly startMs: number;
  /** Endpoints of an earlier agent that were taken over. */
  readonly restoredEndpoints: number;
}

/** How long a clean-up waits for the API server to take the last states. */
const lastWritesMs = 3000;

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Runs until SIGTERM or SIGINT; enforcement stays in the kernel. Prints one JSON line (`AgentReady`) when it is ready. Resolves
 * to the exit code: 0 at the end, 1 if it could not start (a log line on stderr has `code` and `error`), 2 for bad arguments.
 */
export async function runAgent(argv: readonly string[], env: Environment): Promise<number> {
  if (argv.includes("--help")) {
    process.stdout.write(agentUsage);
    return 0;
  }
  const log = createLogger("agent");
  let options: AgentOptions;
  try {
    options = parseAgentOptions(argv, env);
  } catch (error) {
    process.stderr.write(`${errorMessage(error)}\n`);
    return 2;
  }
  try {
    if (process.getuid?.() !== 0)
      throw new TsiliumError("NEEDS_ROOT", "root is needed to load programs into the kernel; run it with sudo");
    await run(options, log);
    return 0;
  } catch (error) {
    log.error({ code: errorCode(error), error: errorMessage(error) }, "the agent could not start");
    return 1;
  }
}

async function run(options: AgentOptions, log: ReturnType<typeof createLogger>): Promise<void> {
  const { paths } = options;
  const startedAt = new Date(Date.now() - performance.now());
  let stop!: () => void;
  const stopped = new Promise<void>((resolve) => {
    stop = resolve;
  });
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, stop);

  const unlock = await takeAgentLock(paths.instance);
  mkdirSync(paths.runDir, { recursive: true, mode: 0o755 });
  mkdirSync(paths.stateDir, { recursive: true, mode: 0o700 });
  let observation: Observation | undefined;
  const agent = await openNodeAgent(options, log, (records, lost) => observation?.onAccessLog(records, lost));
  observation = startObservation(agent, ownVersion());
  const restored = agent.store.table.size;
  let readyAfterMs: number | undefined;

  const api = await serveLocalApi(
    paths.agentSocket,
    createOperations(agent, {
      startedAt,
      get readyAfterMs() {
        return readyAfterMs;
      },
      metrics: async () => `${agentMetrics(agent)}${await observation.observer.metricsText()}`,
      components: () => [observerComponent(observation.observer, paths.hubbleSocket)],
      async cleanup() {
        // Workloads first and by the book: their pod objects go with them.
        await agent.workloads.deleteAll();
        await agent.connected?.writer.idle(lastWritesMs);
        await observation.close();
        await agent.close();
        const result = await removeNode(paths, [agent.plan.router4, agent.plan.router6]);
        // The answer goes out first.
        setTimeout(stop, 50);
        return result;
      },
    }),
    (operation, error) => log.error({ operation, error: errorMessage(error) }, "operation failed"),
  );

  const serving = observation.observer.serve({ path: paths.hubbleSocket });
  // Flows are for people: a socket that can't be served must not keep policy from being enforced.
  serving.catch((error: unknown) => log.error({ error: errorMessage(error) }, "flows can't be asked for"));
  const started = agent.start().then(() => {
    readyAfterMs = Math.round(performance.now());
    const ready: AgentReady = {
      ready: true,
      pid: process.pid,
      nodeName: options.nodeName,
      socket: paths.agentSocket,
      startMs: readyAfterMs,
      restoredEndpoints: restored,
    };
    process.stdout.write(`${JSON.stringify(ready)}\n`);
    returnIdleMemory();
  });
  // Waiting for the API server ends with the agent, too.
  started.catch(() => undefined);
  await Promise.race([stopped, started.then(() => stopped)]);
  await api.close();
  await observation.close();
  await agent.close();
  unlock();
}

function observerComponent(observer: Observer, socket: string): ComponentStatus {
  const { flowsSeen, flowsPerSecond } = observer.status();
  return { name: "observer", state: "ok", message: `${flowsSeen} flows, ${flowsPerSecond.toFixed(1)}/s, ${socket}` };
}

/** Removes every trace of an instance for which no agent runs. Throws AGENT_RUNNING if one does: ask that one (`POST /v1/cleanup`). */
export async function cleanupNode(env: Environment = process.env): Promise<CleanupResult> {
  const options = parseAgentOptions([], env);
  const { paths } = options;
  if (await agentAnswers(paths.agentSocket))
    throw new TsiliumError("AGENT_RUNNING", `an agent serves ${paths.agentSocket}; it has to clean up itself`);
  const holder = await askHolder();
  const ours = holder === undefined || holder.instance === paths.instance;
  return removeNode(paths, [routerAddress(options.podCidr4), routerAddress(options.podCidr6)], ours);
}
