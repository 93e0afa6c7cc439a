/** The demo's private node: a network namespace of its own, a supervisor in it, and the commands typed against it. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { resolve } from "node:path";
import { promisify } from "node:util";
import { createAgentClient } from "#contracts/agent";
import { errorCode, errorMessage, instancePaths, TsiliumError } from "#core/runtime";

/** The checkout or the installed package. */
const root = resolve(import.meta.dirname, "../../..");
const run = promisify(execFile);

/** What a command left behind. */
interface Outcome {
  readonly exitCode: number;
  /** stdout and stderr as they came. */
  readonly text: string;
}

/** The node that the demo runs on. */
export interface DemoNode {
  /** For people: how to get inside. */
  readonly enterCommand: string;
  /** Starts the supervisor; resolves with its report when the node is ready, rejects with its last words if it ends before. */
  start(): Promise<string>;
  /** Runs `tsilium ARGS` on the node, from the repository's root. */
  tsilium(args: readonly string[]): Promise<Outcome>;
  /** Whether the supervisor still runs. */
  readonly alive: boolean;
  /** Ends the supervisor, which cleans up, and removes the namespace. Resolves with what could not be removed. */
  end(): Promise<readonly string[]>;
}

const upTimeoutMs = 40_000;
const commandTimeoutMs = 30_000;

/**
 * A node of the given instance name in a network namespace `tsilium-NAME`: no interface, route or rule of the host is touched.
 * `nsenter` and not `ip netns exec`: the latter hides /sys/fs/bpf and the cgroups.
 */
export async function createDemoNode(instance: string): Promise<DemoNode> {
  const namespace = `tsilium-${instance}`;
  const path = `/run/netns/${namespace}`;
  const env: NodeJS.ProcessEnv = { ...process.env, TSILIUM_INSTANCE: instance };
  const launcher = resolve(root, "bin/tsilium");
  const inside = (command: string, args: readonly string[]): string[] => [`--net=${path}`, "--", command, ...args];
  // The commands write into pipes, but a person reads it.
  const colour: NodeJS.ProcessEnv = process.stdout.isTTY
    ? { FORCE_COLOR: "1", TSILIUM_COLUMNS: String(process.stdout.columns - 2) }
    : { NO_COLOR: "1" };
  let supervisor: ChildProcess | undefined;
  let ended: Promise<void> = Promise.resolve();

  async function command(args: readonly string[], more: NodeJS.ProcessEnv = {}): Promise<Outcome> {
    const child = spawn("nsenter", inside(launcher, args), {
      cwd: root,
      env: { ...env, ...more },
      stdio: ["ignore", "pipe", "pipe"],
      timeout: commandTimeoutMs,
    });
    let text = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8");
      stream.on("data", (part: string) => {
        text += part;
      });
    }
    const exitCode = await new Promise<number>((done, reject) => {
      child.once("error", reject);
      child.once("close", (code) => done(code ?? 128));
    });
    return { exitCode, text };
  }

  await refuseSecondDemo(instance);
  // What a demo left that was killed together with its node.
  await run("ip", ["netns", "delete", namespace]).catch(() => undefined);
  try {
    await run("ip", ["netns", "add", namespace]);
    await run("ip", ["-n", namespace, "link", "set", "lo", "up"]);
  } catch (cause) {
    throw new TsiliumError("DEMO_FAILED", `can't make the network namespace ${namespace}: ${errorMessage(cause)}`, {
      cause,
    });
  }

  return {
    enterCommand: `sudo nsenter --net=${path} env TSILIUM_INSTANCE=${instance} PATH=${root}/bin:$PATH bash`,
    get alive() {
      return supervisor !== undefined && supervisor.exitCode === null && supervisor.signalCode === null;
    },
    start() {
      // A demo that is killed takes its node along, which then cleans up by itself.
      const child = spawn("setpriv", ["--pdeathsig", "TERM", "--", "nsenter", ...inside(launcher, ["up"])], {
        cwd: root,
        env: { ...env, ...colour },
        stdio: ["ignore", "pipe", "pipe"],
        detached: true, // Ctrl-C is for the demo, which ends the node in order
      });
      supervisor = child;
      ended = new Promise((resolveEnded) => child.once("close", () => resolveEnded()));
      return new Promise<string>((ready, reject) => {
        let said = "";
        const fail = (why: string): void => reject(new TsiliumError("DEMO_FAILED", `the demo's node ${why}:\n${said}`));
        const timer = setTimeout(() => fail(`is not ready after ${upTimeoutMs / 1000} s`), upTimeoutMs);
        for (const stream of [child.stdout, child.stderr]) {
          stream.setEncoding("utf8");
          stream.on("data", (part: string) => {
            said += part;
            if (!said.includes("In another terminal:")) return;
            clearTimeout(timer);
            ready(said.slice(0, said.indexOf("In another terminal:")).trimEnd());
          });
        }
        child.once("error", (cause) => fail(`could not be started (${cause.message})`));
        child.once("close", () => {
          clearTimeout(timer);
          fail("ended before it was ready");
        });
      });
    },
    tsilium: (args) => command(args, colour),
    async end() {
      const left: string[] = [];
      if (supervisor !== undefined && supervisor.exitCode === null && supervisor.signalCode === null) {
        supervisor.kill("SIGTERM");
        const timer = setTimeout(() => supervisor?.kill("SIGKILL"), 30_000);
        await ended;
        clearTimeout(timer);
      }
      // The same command that people have; it also removes what a supervisor that was killed left, and the demo's objects.
      const cleaned = await command(["cleanup", "--objects"]);
      if (cleaned.exitCode !== 0) left.push(cleaned.text.trim());
      await run("ip", ["netns", "delete", namespace]).catch((error: unknown) => left.push(errorMessage(error)));
      return left;
    },
  };
}

/** Two demos of one name would take each other's node away. */
async function refuseSecondDemo(instance: string): Promise<void> {
  const client = createAgentClient(instancePaths({ TSILIUM_INSTANCE: instance }).agentSocket);
  try {
    const { pid } = await client.status();
    throw new TsiliumError(
      "AGENT_ALREADY_RUNNING",
      `a node named ${instance} is running already (its agent is process ${pid}): another demo? End that one, or remove it with \`TSILIUM_INSTANCE=${instance} tsilium cleanup --objects\``,
      { details: { pid } },
    );
  } catch (error) {
    if (errorCode(error) !== "AGENT_NOT_RUNNING") throw error;
  } finally {
    client.close();
  }
}
