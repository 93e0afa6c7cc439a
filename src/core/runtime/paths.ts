/** Where an instance keeps its things. TSILIUM_INSTANCE names it, so that several nodes can live on one machine (each in its own network namespace). */
import { join } from "node:path";
import { TsiliumError } from "./errors.ts";

/** Absolute paths of one instance. */
export interface InstancePaths {
  /** Name given by TSILIUM_INSTANCE; empty for the default one. */
  readonly instance: string;
  /** Sockets, records of running workloads: gone after a reboot. */
  readonly runDir: string;
  /** Objects, keys, certificates: durable. */
  readonly stateDir: string;
  /** Pinned maps, programs, links. */
  readonly bpfDir: string;
  /** Name of the instance's group below the cgroup2 mount. */
  readonly cgroup: string;
  /** The agent's local API. */
  readonly agentSocket: string;
  /** Hubble observer. */
  readonly hubbleSocket: string;
  /** Control of the L7 proxy. */
  readonly proxySocket: string;
  /** Kubeconfig of a person (admin rights) and of the agent. */
  readonly adminKubeconfig: string;
  readonly agentKubeconfig: string;
}

/** The paths for an environment; throws BAD_INSTANCE if the name is not of lower-case letters, digits and dashes. */
export function instancePaths(env: Readonly<Record<string, string | undefined>> = process.env): InstancePaths {
  const instance = env.TSILIUM_INSTANCE ?? "";
  if (!/^[a-z0-9-]{0,32}$/.test(instance)) {
    throw new TsiliumError(
      "BAD_INSTANCE",
      `TSILIUM_INSTANCE is "${instance}"; it may hold at most 32 lower-case letters, digits and dashes`,
    );
  }
  const name = instance === "" ? "tsilium" : `tsilium-${instance}`;
  const runDir = join("/run", name);
  const stateDir = join("/var/lib", name);
  return {
    instance,
    runDir,
    stateDir,
    bpfDir: join("/sys/fs/bpf", name),
    cgroup: name,
    agentSocket: join(runDir, "agent.sock"),
    hubbleSocket: join(runDir, "hubble.sock"),
    proxySocket: join(runDir, "proxy.sock"),
    adminKubeconfig: join(stateDir, "admin.kubeconfig"),
    agentKubeconfig: join(runDir, "agent.kubeconfig"),
  };
}
