/** Standalone workloads: a pod object, a network namespace, a cgroup and an endpoint under one name; made together, taken down together. */
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { CreateWorkload, Workload } from "#contracts/agent";
import type { KubeClient, Pod } from "#contracts/kube";
import type { Endpoint } from "#control/endpoint";
import { formatAddress } from "#core/model";
import { errorMessage, type Logger, TsiliumError } from "#core/runtime";
import type { NetworkNamespaces } from "#datapath/linux";
import { type Cgroup, listCgroups, openCgroup } from "./cgroup.ts";
import type { RecordFolder } from "./files.ts";

/** Says in the pod object that this program runs it, and which agent. */
const managedLabel = "tsilium.io/workload-of";
/** Of the namespace's file: instance, Kubernetes namespace and name. */
const longestName = 200;
/** How long a workload may wait for its first process. */
const firstProcessMs = 60_000;

/** What workloads need of the rest of the agent. */
export interface WorkloadHost {
  /** Throws AGENT_NOT_READY while the API server has not been seen. */
  readonly kube: () => KubeClient;
  /** Of a workload that has ended; possible from the moment the API server is known. Throws while it is not. */
  readonly deletePod: (namespace: string, name: string) => Promise<void>;
  readonly netns: NetworkNamespaces;
  readonly records: RecordFolder;
  readonly nodeName: string;
  /** Prefix of namespace names. */
  readonly instanceName: string;
  /** Path of the instance's cgroup. */
  readonly cgroupRoot: string;
  readonly log: Logger;
  /** Makes the endpoint and resolves when its policy is in force. */
  readonly connect: (wanted: { containerId: string; pod: Pod; netnsPath: string }) => Promise<Endpoint>;
  /** Takes the endpoint down; no error if there is none. */
  readonly disconnect: (containerId: string) => Promise<void>;
  readonly endpointOf: (containerId: string) => Endpoint | undefined;
}

/** The workloads of this node. */
export interface Workloads {
  create(wanted: CreateWorkload): Promise<Workload>;
  list(): readonly Workload[];
  /** Ends its processes and removes it. Throws NO_SUCH_WORKLOAD. */
  delete(namespace: string, name: string, graceMs: number): Promise<void>;
  /** Takes over what an earlier agent left: running ones are watched again, ended ones removed. */
  restore(): Promise<void>;
  /** Removes all, processes included. */
  deleteAll(): Promise<void>;
  close(): void;
}

interface WorkloadRecord {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly serviceAccount: string;
  readonly keep: boolean;
}

interface Running extends WorkloadRecord {
  readonly cgroup: Cgroup;
  stopWatching: () => void;
  /** Set while it is being taken down: a second one waits for the first. */
  ending?: Promise<void>;
}

/** The name under which files, namespaces and groups of a workload go. Kubernetes names hold no underscore, so it is unique. */
const fileName = (namespace: string, name: string) => `${namespace}_${name}`;
/** The endpoint's owner. */
export const containerIdOf = (namespace: string, name: string) => `workload:${namespace}/${name}`;

/** No workloads yet; call `restore`. */
export function createWorkloads(host: WorkloadHost): Workloads {
  const running = new Map<string, Running>();
  const starting = new Set<string>();
  const netnsName = (w: WorkloadRecord) => `${host.instanceName}_${fileName(w.namespace, w.name)}`;
  const netnsPath = (w: WorkloadRecord) => join("/run/netns", netnsName(w));

  function view(w: Running): Workload {
    const endpoint = host.endpointOf(containerIdOf(w.namespace, w.name));
    const addresses = [endpoint?.ipv4, endpoint?.ipv6].filter((address) => address !== undefined);
    return {
      id: endpoint?.id ?? 0,
      namespace: w.namespace,
      name: w.name,
      netnsName: netnsName(w),
      netnsPath: netnsPath(w),
      cgroupPath: w.cgroup.path,
      cgroupProcsPath: w.cgroup.procsPath,
      ips: addresses.map(formatAddress),
      identity: endpoint?.state.kind === "ready" ? endpoint.state.identity : 0,
      labels: w.labels,
      serviceAccount: w.serviceAccount,
      pids: w.cgroup.pids(),
      phase: endpoint?.state.kind ?? "failed",
    };
  }

  function start(record: WorkloadRecord): Running {
    const w: Running = {
      ...record,
      cgroup: openCgroup(host.cgroupRoot, fileName(record.namespace, record.name)),
      stopWatching: () => undefined,
    };
    running.set(fileName(w.namespace, w.name), w);
    return w;
  }

  /** Removes the workload when its last process has ended, or none came. */
  function watch(w: Running): void {
    if (w.keep) return;
    let seen = false;
    const idle = setTimeout(() => {
      if (!seen) endInBackground(w, "no process came");
    }, firstProcessMs).unref();
    const stop = w.cgroup.watch((populated) => {
      if (populated) seen = true;
      else if (seen) endInBackground(w, "its last process has ended");
    });
    w.stopWatching = () => {
      clearTimeout(idle);
      stop();
    };
  }

  function endInBackground(w: Running, why: string): void {
    host.log.info({ namespace: w.namespace, name: w.name, why }, "workload ends");
    end(w).catch((error: unknown) =>
      host.log.error({ namespace: w.namespace, name: w.name, error: errorMessage(error) }, "workload not removed"),
    );
  }

  function end(w: Running): Promise<void> {
    w.ending ??= takeDown(w).catch((error: unknown) => {
      // The next attempt starts from the top: every step may be repeated.
      delete w.ending;
      throw error;
    });
    return w.ending;
  }

  async function takeDown(w: Running): Promise<void> {
    w.stopWatching();
    await w.cgroup.kill();
    await host.disconnect(containerIdOf(w.namespace, w.name));
    host.netns.delete(netnsName(w));
    await w.cgroup.remove();
    host.records.delete(fileName(w.namespace, w.name));
    running.delete(fileName(w.namespace, w.name));
    try {
      await host.deletePod(w.namespace, w.name);
    } catch (error) {
      // Without the API server the object stays; the next start of an agent removes it.
      host.log.warn({ namespace: w.namespace, name: w.name, error: errorMessage(error) }, "pod object not deleted");
    }
  }

  async function createPod(wanted: CreateWorkload, record: WorkloadRecord): Promise<Pod> {
    try {
      return await host.kube().create("Pod", {
        metadata: {
          name: record.name,
          namespace: record.namespace,
          labels: record.labels,
          annotations: { ...wanted.annotations, [managedLabel]: host.nodeName },
        },
        spec: {
          nodeName: host.nodeName,
          serviceAccountName: record.serviceAccount,
          restartPolicy: "Never",
          containers: [{ name: "workload", image: "host", ...(wanted.command && { command: [...wanted.command] }) }],
        },
      });
    } catch (error) {
      if (error instanceof TsiliumError && error.code === "KUBE_ALREADY_EXISTS") throw exists(record);
      throw error;
    }
  }

  const exists = (record: WorkloadRecord) =>
    new TsiliumError(
      "WORKLOAD_EXISTS",
      `there is a pod ${record.namespace}/${record.name} already; stop it first (tsilium stop ${record.name} --namespace ${record.namespace}) or choose another name`,
    );

  return {
    async create(wanted) {
      const record: WorkloadRecord = {
        namespace: wanted.namespace ?? "default",
        name: wanted.name,
        labels: wanted.labels ?? {},
        serviceAccount: wanted.serviceAccount ?? "default",
        keep: wanted.keep ?? false,
      };
      const key = fileName(record.namespace, record.name);
      if (netnsName(record).length > longestName || !/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(record.name)) {
        throw new TsiliumError(
          "BAD_REQUEST",
          `"${record.name}" can't name a workload: a name has lower-case letters, digits, dashes and dots, begins and ends with a letter or digit, and leaves room for the namespace within ${longestName} characters`,
        );
      }
      if (running.has(key) || starting.has(key)) throw exists(record);
      starting.add(key);
      try {
        // First the object: the API server checks the names, and other nodes see who has this one.
        const pod = await createPod(wanted, record);
        const w = start(record);
        try {
          host.records.write(key, `${JSON.stringify(record)}\n`);
          host.netns.delete(netnsName(w));
          host.netns.create(netnsName(w)).close();
          await host.connect({ containerId: containerIdOf(w.namespace, w.name), pod, netnsPath: netnsPath(w) });
        } catch (error) {
          await end(w);
          throw error;
        }
        watch(w);
        return view(w);
      } finally {
        starting.delete(key);
      }
    },

    list: () => [...running.values()].map(view),

    async delete(namespace, name, graceMs) {
      const w = running.get(fileName(namespace, name));
      if (!w) throw new TsiliumError("NO_SUCH_WORKLOAD", `there is no workload ${namespace}/${name} on this node`);
      if (!w.ending && w.cgroup.populated()) {
        w.cgroup.signal("SIGTERM");
        for (let waitedMs = 0; waitedMs < graceMs && w.cgroup.populated(); waitedMs += 10) await delay(10);
      }
      await end(w);
    },

    async restore() {
      for (const [key, text] of host.records.readAll()) {
        const record = parseRecord(text);
        if (!record) {
          host.log.warn({ record: key }, "unreadable workload record dropped");
          host.records.delete(key);
          continue;
        }
        const w = start(record);
        const alive = host.netns.open(netnsName(w));
        alive?.close();
        if (alive && host.endpointOf(containerIdOf(w.namespace, w.name)) && (w.keep || w.cgroup.populated())) watch(w);
        else await end(w);
      }
      const known = new Set(running.keys());
      // What a crash between two steps left: groups and namespaces of ours without a record.
      for (const name of listCgroups(host.cgroupRoot)) {
        if (known.has(name)) continue;
        const group = openCgroup(host.cgroupRoot, name);
        await group.kill();
        await group.remove();
      }
      for (const name of host.netns.list())
        if (name.startsWith(`${host.instanceName}_`) && !known.has(name.slice(host.instanceName.length + 1)))
          host.netns.delete(name);
    },

    async deleteAll() {
      await Promise.all([...running.values()].map(end));
    },

    close() {
      for (const w of running.values()) w.stopWatching();
    },
  };
}

/** Whether a pod object is a standalone workload of that node. */
export function isWorkloadOf(pod: Pod, nodeName: string): boolean {
  return pod.metadata.annotations?.[managedLabel] === nodeName;
}

function parseRecord(text: string): WorkloadRecord | undefined {
  try {
    const record = JSON.parse(text) as Partial<WorkloadRecord>;
    const { namespace, name, labels, serviceAccount, keep } = record;
    if (typeof namespace !== "string" || typeof name !== "string" || typeof serviceAccount !== "string")
      return undefined;
    return { namespace, name, labels: labels ?? {}, serviceAccount, keep: keep === true };
  } catch {
    return undefined;
  }
}
