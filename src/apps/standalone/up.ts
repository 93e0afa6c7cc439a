/** `tsilium up`: starts API server and agent, tells what runs, keeps them running, and takes everything down again. */
import { existsSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import colours from "picocolors";
import { type AgentClient, createAgentClient } from "#contracts/agent";
import { errorCode, errorMessage, instancePaths, TsiliumError } from "#core/runtime";
import { type Child, createChild } from "./child.ts";
import { formatLogLine, type LogLevel } from "./log-line.ts";
import { formatReport } from "./report.ts";

/** Flags of `up`, named as the programs name them. */
export interface UpFlags {
  readonly apiPort: number;
  readonly podCidrIpv4?: string;
  readonly podCidrIpv6?: string;
  readonly worldDevice?: string;
  readonly nodeName?: string;
  readonly policyEnforcement?: string;
  readonly policyAudit?: boolean;
  readonly policyMapMax?: string;
  readonly attach?: string;
  readonly socketRedirect?: boolean;
  readonly masquerade: boolean;
  readonly keep?: boolean;
  readonly verbose?: boolean;
}

/** The launcher lies three folders up both in a checkout (src/apps/standalone) and in the npm package (dist/apps/standalone). */
const launcher = resolve(import.meta.dirname, "../../../bin/tsilium");
const readyTimeoutMs = 30_000;
const stopGraceMs = 10_000;
const forcedExitCode = 130;

/**
 * Runs the node until SIGINT or SIGTERM; yields the exit code. Throws the error of the program that could not start
 * (ADDRESS_IN_USE, AGENT_ALREADY_RUNNING, ...), with nothing left running.
 */
export async function up(flags: UpFlags): Promise<number> {
  if (process.getuid?.() !== 0) {
    throw new TsiliumError("NEEDS_ROOT", "root is needed to load programs into the kernel; run it with sudo");
  }
  const paths = instancePaths();
  await refuseSecondAgent(paths.agentSocket);
  const fresh = [paths.runDir, paths.stateDir].filter((directory) => !existsSync(directory));

  const stopSignal = waitForSignal();
  let endedOnRequest = false;
  const least: LogLevel = flags.verbose === true ? "info" : "warn";
  const say = (text: string): void => void process.stdout.write(`${text}\n`);
  const children = {
    onLog(name: string, line: string): void {
      // Whoever collects logs wants them as they are; a person wants them readable.
      const shown = process.stderr.isTTY ? formatLogLine(name, line, least) : line;
      if (shown !== undefined) process.stderr.write(`${shown}\n`);
    },
    onEnd(name: string): void {
      endedOnRequest = true;
      say(`the ${name} has ended on request; stopping the rest`);
      stopSignal.raise();
    },
    onDeath(name: string, how: string, restartInMs: number): void {
      const effect = name === "agent" ? "; what the kernel enforces stays in force" : "";
      say(`${colours.yellow("!")} the ${name} ${how}${effect}; starting it again in ${restartInMs} ms`);
    },
    onRecovered(name: string): void {
      say(`${colours.green("✓")} the ${name} is back`);
    },
  };
  const child = (name: string, args: readonly string[]): Child =>
    createChild({
      name,
      ...underParent(launcher, [name, ...args]),
      env: process.env,
      readyTimeoutMs,
      firstPauseMs: 200,
      maxPauseMs: 10_000,
      ...children,
    });
  const apiserver = child("apiserver", ["--port", String(flags.apiPort)]);
  const agent = child("agent", agentArguments(flags));

  const startedAt = performance.now();
  try {
    await start(apiserver, stopSignal);
    await start(agent, stopSignal);
  } catch (error) {
    await Promise.all([agent.stop(stopGraceMs), apiserver.stop(stopGraceMs)]);
    for (const directory of fresh) removeDirectory(directory);
    throw inOurWords(error, flags.apiPort);
  }
  if (!stopSignal.seen) {
    const client = createAgentClient(paths.agentSocket);
    try {
      const status = await client.status();
      say(
        formatReport({
          status,
          paths,
          apiPort: flags.apiPort,
          apiserverPid: apiserver.pid,
          tookMs: performance.now() - startedAt,
        }),
      );
    } finally {
      client.close();
    }
    await stopSignal.promise;
  }
  return takeDown({
    cleaned: endedOnRequest,
    agent,
    apiserver,
    agentSocket: paths.agentSocket,
    runDir: paths.runDir,
    keep: flags.keep === true,
    say,
  });
}

/** With all that is in it. One that something is mounted on is only emptied. */
function removeDirectory(path: string): void {
  if (!existsSync(path)) return;
  for (const name of readdirSync(path)) rmSync(join(path, name), { recursive: true, force: true });
  try {
    rmdirSync(path);
  } catch (error) {
    if (errorCode(error) !== "EBUSY") throw error;
  }
}

/** The API server speaks of its own flags. */
function inOurWords(error: unknown, apiPort: number): unknown {
  if (errorCode(error) !== "ADDRESS_IN_USE") return error;
  return new TsiliumError(
    "ADDRESS_IN_USE",
    `port ${apiPort} of 127.0.0.1, meant for the API server, is in use by another program; stop that one, or choose another port with --api-port`,
    { details: { port: apiPort } },
  );
}

function agentArguments(flags: UpFlags): string[] {
  const given: readonly (readonly [flag: string, value: string | undefined])[] = [
    ["--pod-cidr-ipv4", flags.podCidrIpv4],
    ["--pod-cidr-ipv6", flags.podCidrIpv6],
    ["--world-device", flags.worldDevice],
    ["--node-name", flags.nodeName],
    ["--policy-enforcement", flags.policyEnforcement],
    ["--policy-map-max", flags.policyMapMax],
    ["--attach", flags.attach],
  ];
  const args = given.flatMap(([flag, value]) => (value === undefined ? [] : [flag, value]));
  if (flags.policyAudit) args.push("--policy-audit");
  if (flags.socketRedirect) args.push("--socket-redirect");
  if (!flags.masquerade) args.push("--no-masquerade");
  return args;
}

/**
 * The programs end with the supervisor, however it ends: a killed supervisor leaves no agent behind that would bar the way to
 * the next one. (Enforcement is in the kernel and stays.)
 */
function underParent(command: string, args: readonly string[]): { readonly command: string; readonly args: string[] } {
  return { command: "setpriv", args: ["--pdeathsig", "TERM", "--", command, ...args] };
}

async function refuseSecondAgent(socket: string): Promise<void> {
  const client = createAgentClient(socket);
  try {
    const { pid } = await client.status();
    throw new TsiliumError(
      "AGENT_ALREADY_RUNNING",
      `this instance is running already: its agent is process ${pid}; \`tsilium status\` shows it. For a second node use a network namespace and a TSILIUM_INSTANCE of its own`,
      { details: { pid } },
    );
  } catch (error) {
    if (errorCode(error) !== "AGENT_NOT_RUNNING") throw error;
  } finally {
    client.close();
  }
}

/** The wish to end: said by SIGINT, SIGTERM or SIGHUP, or raised by us. */
interface StopSignal {
  readonly promise: Promise<void>;
  readonly seen: boolean;
  raise(): void;
}

function waitForSignal(): StopSignal {
  let seen = false;
  const { promise, resolve: heard } = Promise.withResolvers<void>();
  const raise = (): void => {
    seen = true;
    heard();
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, raise);
  return {
    promise,
    raise,
    get seen() {
      return seen;
    },
  };
}

/** Starts a program and waits until it is ready, but no longer than until the signal. */
async function start(program: Child, signal: StopSignal): Promise<void> {
  if (signal.seen) return;
  const ready = program.start();
  await Promise.race([ready, signal.promise]);
  if (signal.seen) ready.catch(() => undefined); // it is about to be stopped
}

/** The agent cleans up what it made; then the programs end. Yields the exit code. */
async function takeDown(running: {
  /** Somebody had the agent clean up already. */
  readonly cleaned: boolean;
  readonly agent: Child;
  readonly apiserver: Child;
  readonly agentSocket: string;
  readonly runDir: string;
  readonly keep: boolean;
  say(text: string): void;
}): Promise<number> {
  const { agent, apiserver, say } = running;
  // Not SIGTERM: the kernel may send it more than once for the death of one parent, which has threads (prctl(2), PR_SET_PDEATHSIG).
  process.on("SIGINT", () => {
    say(`${colours.red("forced:")} not everything is cleaned up; \`tsilium cleanup\` does the rest`);
    for (const { pid } of [agent, apiserver]) if (pid !== undefined) process.kill(pid, "SIGKILL");
    process.exit(forcedExitCode);
  });
  let code = 0;
  if (running.cleaned) {
    await agent.stop(stopGraceMs);
  } else if (running.keep) {
    say(
      "\nstopping; what the kernel enforces stays in force (`tsilium up` takes it over, `tsilium cleanup` removes it)",
    );
    await agent.stop(stopGraceMs);
  } else {
    say("\nstopping workloads and removing everything from the kernel; Ctrl-C again to force");
    code = await cleanUp(running, createAgentClient(running.agentSocket));
  }
  await apiserver.stop(stopGraceMs);
  if (code === 0 && (running.cleaned || !running.keep)) removeDirectory(running.runDir);
  if (code === 0) say(running.keep && !running.cleaned ? "stopped" : "stopped; nothing is left behind");
  return code;
}

async function cleanUp(
  running: { readonly agent: Child; say(text: string): void },
  client: AgentClient,
): Promise<number> {
  const { agent, say } = running;
  try {
    const ended = agent.expectEnd(60_000 + stopGraceMs);
    const { problems } = await client.cleanup();
    for (const problem of problems) say(`${colours.red("left behind:")} ${problem}`);
    if (!(await ended)) await agent.stop(stopGraceMs);
    return problems.length === 0 ? 0 : 1;
  } catch (error) {
    say(`${colours.red("error:")} the agent could not clean up: ${errorMessage(error)}; \`tsilium cleanup\` does it`);
    await agent.stop(stopGraceMs);
    return 1;
  } finally {
    client.close();
  }
}
