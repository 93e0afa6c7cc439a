/** Removing every trace of an instance from the machine: with an agent's help, or, when none runs, without. */
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { CleanupResult } from "#contracts/agent";
import { connectProxy } from "#contracts/proxy";
import { endpointOfInterface } from "#control/endpoint";
import type { IpAddress } from "#core/model";
import { errorMessage, type InstancePaths } from "#core/runtime";
import { type Kernel, openKernel } from "#datapath/linux";
import { cleanupDatapath } from "#datapath/loader";
import { removeNodeTraces } from "#datapath/reconcile";
import { cgroupMount, listCgroups, openCgroup, removeCgroupRoot } from "./cgroup.ts";

/**
 * Ends workloads and the proxy; removes interfaces, programs, maps, routes, rules, namespaces, groups and run directory. Objects
 * in the state directory stay. Every step is tried whatever became of the others; what failed is in `problems`.
 */
export async function removeNode(
  paths: InstancePaths,
  routers: readonly IpAddress[],
  /** False where the network namespace belongs to an agent of another instance: its interfaces and routes are not ours. */
  ownsNamespace = true,
): Promise<CleanupResult> {
  const removed: string[] = [];
  const problems: string[] = [];
  const step = async (what: string, action: () => readonly string[] | Promise<readonly string[]>) => {
    try {
      removed.push(...(await action()));
    } catch (error) {
      problems.push(`${what}: ${errorMessage(error)}`);
    }
  };
  const kernel = openKernel();
  const groups = join(cgroupMount(), paths.cgroup);

  await step("workloads", async () => {
    const names = listCgroups(groups);
    for (const name of names) {
      const group = openCgroup(groups, name);
      await group.kill();
      await group.remove();
    }
    await removeCgroupRoot(groups);
    return names.map((name) => `workload ${name.replace("_", "/")}`);
  });
  await step("proxy", () => stopProxy(paths.proxySocket));
  await step("interfaces", () => (ownsNamespace ? removeInterfaces(kernel) : []));
  await step("datapath", () => {
    if (!existsSync(paths.bpfDir)) return [];
    const report = cleanupDatapath(kernel, paths.bpfDir);
    return [
      ...report.devices.map((name) => `programs of ${name}`),
      ...report.programs.map((name) => `program ${name}`),
      ...report.maps.map((name) => `map ${name}`),
    ];
  });
  await step("routes", () => {
    if (ownsNamespace) removeNodeTraces(kernel, routers);
    return [];
  });
  await step("network namespaces", () => {
    const names = kernel.netns.list().filter((name) => name.startsWith(`${paths.cgroup}_`));
    return names.filter((name) => kernel.netns.delete(name)).map((name) => `network namespace ${name}`);
  });
  await step("run directory", () => {
    // The sockets of programs that still run belong to them; what is left are records.
    for (const name of existsSync(paths.runDir) ? readdirSync(paths.runDir) : [])
      if (!name.endsWith(".kubeconfig")) rmSync(join(paths.runDir, name), { recursive: true, force: true });
    return [];
  });
  return { removed, problems };
}

function removeInterfaces(kernel: Kernel): string[] {
  const netlink = kernel.netlink();
  try {
    const ours = netlink.links().filter((link) => endpointOfInterface(link.name) !== undefined);
    netlink.apply(ours.map((link) => ({ kind: "deleteLink", ifindex: link.index })));
    return ours.map((link) => `interface ${link.name}`);
  } finally {
    netlink.close();
  }
}

/** Ends the proxy that serves the socket, if one does; it says its pid when it is connected to. */
async function stopProxy(socketPath: string): Promise<string[]> {
  if (!existsSync(socketPath)) return [];
  const pid = await new Promise<number | undefined>((resolve) => {
    const client = connectProxy({
      path: socketPath,
      onRecords: () => undefined,
      onSession(welcome) {
        resolve(welcome?.pid);
        client.close();
      },
    });
    setTimeout(() => {
      resolve(undefined);
      client.close();
    }, 1000).unref();
  });
  if (pid === undefined) return [];
  const alive = () => {
    try {
      process.kill(pid, 0);
      return true;
    } catch {
      return false; // ESRCH: it has ended
    }
  };
  process.kill(pid, "SIGTERM");
  for (let waitedMs = 0; waitedMs < 2000 && alive(); waitedMs += 20) await delay(20);
  if (alive()) process.kill(pid, "SIGKILL");
  return [`proxy (process ${pid})`];
}
