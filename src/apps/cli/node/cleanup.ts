/** `tsilium cleanup`: removes every trace of the instance from the machine. */
import { existsSync, rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import colours from "picocolors";
import { type CleanupResult, createAgentClient } from "#contracts/agent";
import { errorCode, instancePaths, TsiliumError } from "#core/runtime";
import { ExitCode } from "../exit-codes.ts";
import { requireRoot } from "../failure.ts";
import { note, print } from "../output.ts";

/** How long the programs of `tsilium up` may take to follow an agent that cleaned up. */
const followMs = 10_000;

/** Has the agent clean up, or does it without one. Exit code 1 if something could not be removed. */
export async function cleanup(flags: { readonly objects?: boolean }): Promise<number> {
  requireRoot("remove programs, maps and interfaces from the kernel");
  const paths = instancePaths();
  const { removed, problems } = await cleanNode(paths.agentSocket);
  for (const one of removed) print(`removed ${one}`);
  for (const one of problems) note(`${colours.red("left behind:")} ${one}`);
  if (flags.objects === true && existsSync(paths.stateDir)) {
    await untilApiServerEnded(paths.adminKubeconfig);
    for (const directory of [paths.stateDir, paths.runDir]) rmSync(directory, { recursive: true, force: true });
    print(`removed ${paths.stateDir}`);
  }
  if (removed.length === 0 && problems.length === 0) note("there was nothing to remove");
  return problems.length === 0 ? ExitCode.ok : ExitCode.failed;
}

async function cleanNode(socket: string): Promise<CleanupResult> {
  const client = createAgentClient(socket);
  try {
    return await client.cleanup();
  } catch (error) {
    if (errorCode(error) !== "AGENT_NOT_RUNNING") throw error;
    return (await import("#apps/agent")).cleanupNode();
  } finally {
    client.close();
  }
}

/** Objects are not torn from under a server that serves them. */
async function untilApiServerEnded(kubeconfig: string): Promise<void> {
  if (!existsSync(kubeconfig)) return;
  const { createKubeClient } = await import("#contracts/kube");
  const deadline = performance.now() + followMs;
  for (;;) {
    const client = await createKubeClient({ kubeconfig });
    const serving = await client.ready().finally(() => client.close());
    if (!serving) return;
    if (performance.now() > deadline) {
      throw new TsiliumError(
        "API_RUNNING",
        "an API server still serves the objects, so they were not removed; stop `tsilium up` first",
      );
    }
    await sleep(100);
  }
}
