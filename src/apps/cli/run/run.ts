/** `tsilium run`, `exec` and `stop`: processes as workloads. */
import { randomBytes } from "node:crypto";
import { mkdirSync } from "node:fs";
import { basename, join } from "node:path";
import { type AgentClient, createAgentClient, type Workload } from "#contracts/agent";
import { errorCode, errorMessage, instancePaths, TsiliumError } from "#core/runtime";
import { ExitCode } from "../exit-codes.ts";
import { reportFailure, usageError } from "../failure.ts";
import { note, print } from "../output.ts";
import { checkCommand, exitCodeBeforeCommand, runInBackground, runInForeground } from "./command.ts";

/** Flags of `run`. */
export interface RunFlags {
  readonly name?: string;
  readonly namespace: string;
  readonly label?: Readonly<Record<string, string>>;
  readonly annotation?: Readonly<Record<string, string>>;
  readonly serviceAccount: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly detach?: boolean;
  readonly keep?: boolean;
}

/** How long processes that the command left behind may take to end before they are killed. */
const leftBehindGraceMs = 2000;

/** Makes a workload, runs the command in it, removes it again. Yields the command's exit code. */
export async function run(command: readonly string[], flags: RunFlags): Promise<number> {
  const client = createAgentClient(instancePaths().agentSocket);
  try {
    let workload: Workload;
    try {
      checkCommand(command[0]!);
      workload = await client.createWorkload({
        name: flags.name ?? `${podName(command[0]!)}-${randomBytes(3).toString("hex")}`,
        namespace: flags.namespace,
        labels: flags.label ?? {},
        ...(flags.annotation === undefined ? {} : { annotations: flags.annotation }),
        serviceAccount: flags.serviceAccount,
        command,
        ...(flags.keep === true ? { keep: true } : {}),
      });
    } catch (error) {
      reportFailure(error);
      return exitCodeBeforeCommand(errorCode(error));
    }
    try {
      const options = { command, env: flags.env ?? {} };
      if (flags.detach !== true) return await runInForeground(workload, options);
      const log = logFile(workload);
      const pid = await runInBackground(workload, options, log);
      print(`${workload.namespace}/${workload.name}   ${workload.ips.join("   ")}   pid ${pid}   output in ${log}`);
      return ExitCode.ok;
    } catch (error) {
      reportFailure(error);
      return ExitCode.runFailed;
    } finally {
      if (flags.detach !== true && flags.keep !== true) await remove(client, workload);
    }
  } finally {
    client.close();
  }
}

/** The exit code is the command's; that the workload could not be removed is worth a remark only: the agent does it when it is back. */
async function remove(client: AgentClient, { namespace, name }: Workload): Promise<void> {
  try {
    await client.deleteWorkload(namespace, name, leftBehindGraceMs);
  } catch (error) {
    if (errorCode(error) === "NO_SUCH_WORKLOAD") return; // its last process had ended: the agent was faster
    note(`tsilium: ${namespace}/${name} is not removed yet, the agent will do it: ${errorMessage(error)}`);
  }
}

/** What remains of a command's name in the form of a pod's: lower-case letters, digits, dashes. */
function podName(command: string): string {
  const name = basename(command)
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-+|-+$/g, "");
  return name === "" ? "workload" : name.slice(0, 40);
}

function logFile({ namespace, name }: Workload): string {
  const directory = join(instancePaths().runDir, "output");
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  return join(directory, `${namespace}.${name}.log`);
}

/** Runs another command inside a running workload; yields its exit code. */
export async function exec(
  name: string,
  command: readonly string[],
  flags: { readonly namespace: string; readonly env?: Readonly<Record<string, string>> },
): Promise<number> {
  const client = createAgentClient(instancePaths().agentSocket);
  try {
    checkCommand(command[0]!);
    const workload = (await client.workloads()).find((one) => one.namespace === flags.namespace && one.name === name);
    if (workload === undefined) throw noWorkload(flags.namespace, name);
    return await runInForeground(workload, { command, env: flags.env ?? {} });
  } catch (error) {
    reportFailure(error);
    return exitCodeBeforeCommand(errorCode(error));
  } finally {
    client.close();
  }
}

/** Ends workloads by name, or all of them. */
export async function stop(
  names: readonly string[],
  flags: { readonly namespace: string; readonly all?: boolean; readonly grace: number },
): Promise<number> {
  if (flags.all === true ? names.length > 0 : names.length === 0) {
    throw usageError("stop takes either names of workloads or --all");
  }
  const client = createAgentClient(instancePaths().agentSocket);
  try {
    const wanted =
      flags.all === true ? await client.workloads() : names.map((name) => ({ namespace: flags.namespace, name }));
    let code: number = ExitCode.ok;
    // Side by side: each may take its whole grace time.
    const outcomes = await Promise.allSettled(
      wanted.map(({ namespace, name }) => client.deleteWorkload(namespace, name, flags.grace)),
    );
    for (const [i, outcome] of outcomes.entries()) {
      const { namespace, name } = wanted[i]!;
      if (outcome.status === "fulfilled") print(`${namespace}/${name} stopped`);
      else code = reportFailure(outcome.reason);
    }
    if (wanted.length === 0) note("no workload is running");
    return code;
  } finally {
    client.close();
  }
}

function noWorkload(namespace: string, name: string): TsiliumError {
  return new TsiliumError(
    "NO_SUCH_WORKLOAD",
    `no workload ${namespace}/${name} is running; \`tsilium endpoint list\` shows those that are`,
    { details: { namespace, name } },
  );
}
