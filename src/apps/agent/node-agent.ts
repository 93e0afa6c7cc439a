/** The agent of one node: everything wired together. What each part does stands in its own file; here stands who tells whom. */
import { join } from "node:path";
import { type CreatedEndpoint, type CreateEndpoint, createAgentClient } from "#contracts/agent";
import type { KubeClient, Pod } from "#contracts/kube";
import type { AccessLogRecord } from "#contracts/proxy";
import { type Endpoint, type EndpointFacts, hostInterfaceName } from "#control/endpoint";
import { createPrefixIdentities, filterLabels, podLabels } from "#control/identity";
import { type NodePlan, sameNodePlan } from "#control/node";
import { createPolicyEngine, type PolicyEngine, parseCidrGroup } from "#control/policy";
import { type EndpointId, formatAddress, type Labels, type NumericIdentity, type Prefix } from "#core/model";
import { errorMessage, type Logger, type Reconciler, Table, TsiliumError } from "#core/runtime";
import { ipcachePrefix } from "#datapath/maps";
import { type InterfaceRow, startSweeper } from "#datapath/reconcile";
import { cgroupMount } from "./cgroup.ts";
import { type NodeDatapath, openNodeDatapath } from "./datapath.ts";
import { createEndpointStore, type EndpointStore } from "./endpoint-store.ts";
import { createEnforcement, type Enforcement, type RowTargets } from "./enforcement.ts";
import { openRecordFolder } from "./files.ts";
import { testHttpOnce } from "./http-self-test.ts";
import { type ClusterIdentities, createClusterIdentities } from "./identities.ts";
import { sweepLearntPorts } from "./learnt-ports.ts";
import { observeNode } from "./node-watch.ts";
import { createObjectWriter, type ObjectWriter } from "./object-writer.ts";
import { type FollowedObjects, followObjects, waitForApiServer } from "./objects.ts";
import type { AgentOptions } from "./options.ts";
import { createJudgedPolicies, type JudgedPolicies, type PolicyObject, policyKey } from "./policies.ts";
import { createProxyLink, type ProxyLink } from "./proxy-link.ts";
import { startProxyProcess } from "./proxy-process.ts";
import { createRequestJudges, type RequestJudges } from "./request-judges.ts";
import { containerIdOf, createWorkloads, isWorkloadOf, type Workloads } from "./workloads.ts";

/** What exists only while the API server is known. */
interface Connected {
  readonly kube: KubeClient;
  readonly objects: FollowedObjects;
  readonly identities: ClusterIdentities;
  readonly writer: ObjectWriter;
}

/** The running agent, as its API and its reports see it. */
export interface NodeAgent {
  readonly options: AgentOptions;
  readonly datapath: NodeDatapath;
  readonly store: EndpointStore;
  readonly engine: PolicyEngine;
  readonly policies: JudgedPolicies;
  readonly enforcement: Enforcement;
  readonly proxy: ProxyLink;
  readonly judges: RequestJudges;
  readonly workloads: Workloads;
  readonly plan: NodePlan;
  readonly connected: Connected | undefined;
  readonly targets: RowTargets | undefined;
  /** Why it is not ready; undefined when it is. */
  readonly waitingFor: string | undefined;
  /** Connects to the API server, takes over what was left, enforces; resolves when all of that is done. */
  start(): Promise<void>;
  connect(wanted: CreateEndpoint): Promise<CreatedEndpoint>;
  disconnect(containerId: string): Promise<void>;
  /** Lets go; enforcement stays in the kernel. */
  close(): Promise<void>;
}

/** On a pod: its TCP connections to other such pods of the node are short-cut from socket to socket. */
const socketRedirectAnnotation = "tsilium.io/socket-redirect";
/** How often the node's own addresses and devices are looked at. */
const nodeWatchMs = 5000;
const sweepMs = 15_000;
/** Bounds the time that one look at the hooks takes on a node with many endpoints. */
const devicesPerLook = 128;
/** How long a new endpoint may take until its policy is in force. */
const connectMs = 10_000;

/** Opens the datapath and takes over interfaces and endpoints of an earlier agent; policy waits for `start`. */
export async function openNodeAgent(
  options: AgentOptions,
  log: Logger,
  onAccessLog: (records: readonly AccessLogRecord[], lost: number) => void,
): Promise<NodeAgent> {
  const { paths } = options;
  const interfaceRows = new Table<EndpointId, InterfaceRow>("interfaces");
  const store = createEndpointStore({
    records: openRecordFolder(join(paths.runDir, "endpoints")),
    podCidr4: options.podCidr4,
    podCidr6: options.podCidr6,
    capacity: 4096,
    nowMs: Date.now,
  });
  for (const name of store.unreadable) {
    const file = join(paths.runDir, "endpoints", `${name}.json`);
    log.error({ file }, "unreadable endpoint record; its interface is taken down, and a workload that had it is ended");
  }
  for (const endpoint of store.table.values()) interfaceRows.set(endpoint.id, interfaceRow(endpoint));

  let plan!: NodePlan;
  const datapath = await openNodeDatapath({
    bpfDir: paths.bpfDir,
    cgroupMount: cgroupMount(),
    interfaceRows,
    ...(options.policyMapMax !== undefined && { policyMapMax: options.policyMapMax }),
    ...(options.attach !== undefined && { attach: options.attach }),
    plan(kernel) {
      plan = observeNode(kernel, options);
      return plan;
    },
  });
  for (const warning of plan.warnings) log.warn({ warning }, "node");
  if (datapath.loaded.recreated.length > 0)
    log.warn({ maps: datapath.loaded.recreated }, "maps of another version replaced; their contents are lost");

  const engine = createPolicyEngine({ enforcement: options.enforcement, audit: options.audit });
  const lastGood = openRecordFolder(join(paths.stateDir, "last-good-policies"));
  const policies = createJudgedPolicies({
    ...lastGood,
    write(name, text) {
      try {
        lastGood.write(name, text);
      } catch (error) {
        // It stays in force all the same: only a restart of the agent would lose it.
        log.error({ error: errorMessage(error) }, "last good version of a refused policy not kept");
      }
    },
  });
  const stopping = new AbortController();
  let connected: Connected | undefined;
  let targets: RowTargets | undefined;
  let waitingFor: string | undefined = "the API server";

  const proxy = createProxyLink({
    socketPath: paths.proxySocket,
    enabled: options.proxy,
    start: () => startProxyProcess(join(paths.runDir, "proxy.log")),
    onRecords: onAccessLog,
    onConnected: () => enforcement.touch(),
    log,
  });
  const judges = createRequestJudges(() => {
    if (!options.kernelHttp) return "switched off by --no-kernel-http";
    return datapath.httpRefused === undefined
      ? testHttpOnce(datapath.kernel, paths.runDir, log)
      : `this kernel refuses the programs: ${datapath.httpRefused}`;
  });
  const enforcement: Enforcement = createEnforcement({
    engine,
    prefixes: createPrefixIdentities(adoptedPrefixes(datapath)),
    endpoints: store.table,
    nodeAddresses: () => plan.ownAddresses,
    proxy,
    judges,
    refresh: refreshEndpoints,
    onRound: report,
    log,
  });
  const workloads = createWorkloads({
    kube: () => mustBeConnected().kube,
    async deletePod(namespace, name) {
      if (!connected) throw notReady();
      await connected.kube.delete("Pod", { namespace, name });
    },
    netns: datapath.kernel.netns,
    records: openRecordFolder(join(paths.runDir, "workloads")),
    nodeName: options.nodeName,
    instanceName: paths.cgroup,
    cgroupRoot: join(cgroupMount(), paths.cgroup),
    log,
    connect: async ({ containerId, pod, netnsPath }) => {
      const endpoint = store.create({ containerId, pod: podRef(pod), netnsPath, interfaceName: "eth0" });
      return bringUp(endpoint, pod);
    },
    disconnect,
    endpointOf: (containerId) => store.find(containerId),
  });

  function mustBeConnected(): Connected {
    if (connected && targets) return connected;
    throw notReady();
  }

  function notReady(): TsiliumError {
    return new TsiliumError("AGENT_NOT_READY", `the agent is not ready yet: it waits for ${waitingFor}`);
  }

  /** Objects of workloads that ended while no agent, or no API server, was there to say so. */
  async function removeEndedPods({ kube, objects }: Connected): Promise<void> {
    const alive = new Set(workloads.list().map((one) => containerIdOf(one.namespace, one.name)));
    for (const pod of [...objects.pods.table.values()]) {
      const { namespace = "default", name = "" } = pod.metadata;
      if (!isWorkloadOf(pod, options.nodeName) || alive.has(containerIdOf(namespace, name))) continue;
      log.info({ namespace, name }, "pod object of a workload that has ended removed");
      await kube.delete("Pod", { namespace, name }).catch((error: unknown) => {
        // The next start tries again; enforcement must not wait for it.
        log.warn({ namespace, name, error: errorMessage(error) }, "pod object not deleted");
      });
    }
  }

  // ------------------------------------------------------------------ endpoints: labels, identities, interfaces

  /** Pods by endpoint where the informer has not brought them yet: they were made a moment ago. */
  const newPods = new Map<EndpointId, Pod>();
  const podOf = (endpoint: EndpointFacts): Pod | undefined => {
    const { namespace, name, uid } = endpoint.pod;
    const pod = connected?.objects.pods.table.get(`${namespace}/${name}`);
    return pod && (uid === "" || pod.metadata.uid === uid) ? pod : newPods.get(endpoint.id);
  };
  const labelCache = new WeakMap<Pod, { readonly namespace: unknown; readonly labels: Labels }>();
  function identityLabels(pod: Pod): Labels {
    const namespace = connected?.objects.namespaces.table.get(pod.metadata.namespace ?? "default");
    const known = labelCache.get(pod);
    if (known && known.namespace === namespace) return known.labels;
    const labels = filterLabels(podLabels(pod, namespace));
    labelCache.set(pod, { namespace, labels });
    return labels;
  }

  /** Labels -> identities, for every endpoint; called at the start of each round. */
  function refreshEndpoints(): void {
    if (!connected) return;
    const { identities } = connected;
    const wanted: Labels[] = [];
    for (const endpoint of [...store.table.values()]) {
      const pod = podOf(endpoint);
      if (pod) {
        store.advance(endpoint.id, { kind: "labelled", labels: identityLabels(pod) });
        wantSocketRedirect(endpoint, pod);
      }
      const { labels } = store.table.get(endpoint.id)!;
      if (labels) wanted.push(labels);
    }
    identities.want(wanted);
    for (const { id, labels } of [...store.table.values()]) {
      const identity = labels && identities.find(labels);
      if (labels && identity) store.advance(id, { kind: "identified", labels, identity: identity.id });
    }
  }

  function wantSocketRedirect({ id, netnsPath }: Endpoint, pod: Pod): void {
    const wanted = options.socketRedirect || pod.metadata.annotations?.[socketRedirectAnnotation] === "true";
    if (wanted === (datapath.socketRows.get(id) !== undefined)) return;
    if (wanted) datapath.socketRows.set(id, { netnsPath });
    else datapath.socketRows.delete(id);
  }

  datapath.interfacesUp.watch((changes) => {
    for (const { key, current } of changes)
      if (current !== undefined) store.advance(key, { kind: "interface-up", ifindex: current });
    enforcement.touch();
  });
  datapath.interfaces.status.watch((changes) => {
    for (const { key, current } of changes)
      if (current?.kind === "error") store.advance(key, { kind: "interface-failed", message: current.message });
  });

  async function bringUp(endpoint: Endpoint, pod: Pod): Promise<Endpoint> {
    const { id } = endpoint;
    newPods.set(id, pod);
    try {
      interfaceRows.set(id, interfaceRow(endpoint));
      enforcement.touch();
      await datapath.interfaces.settled();
      const problem = problemOf(datapath.interfaces, id);
      if (problem) throw new TsiliumError("INTERFACE_FAILED", `the endpoint's interface could not be made: ${problem}`);
      const done = () => {
        const now = store.table.get(id);
        return now === undefined || (now.state.kind === "ready" && enforcement.isCarried(now));
      };
      if (!(await enforcement.waiting.until(done, connectMs))) {
        throw new TsiliumError(
          "ENDPOINT_NOT_READY",
          `the endpoint of ${endpoint.pod.namespace}/${endpoint.pod.name} has not become ready within ${connectMs / 1000} s: ${connected?.identities.problem ?? store.table.get(id)?.state.kind ?? "it is gone"}`,
        );
      }
      const refused = targets && problemOf(targets.endpoints, id);
      if (refused) throw new TsiliumError("POLICY_NOT_ENFORCED", `the endpoint's policy is not in force: ${refused}`);
      const now = store.table.get(id);
      if (!now) throw new TsiliumError("ENDPOINT_GONE", "the endpoint was removed while it was being made");
      return now;
    } finally {
      newPods.delete(id);
      // The informer may not have caught up: the pod is remembered until it has.
      if (store.table.get(id) && !podOf(endpoint)) newPods.set(id, pod);
    }
  }

  async function disconnect(containerId: string): Promise<void> {
    const endpoint = store.find(containerId);
    if (!endpoint) return;
    const { id } = endpoint;
    store.advance(id, { kind: "disconnected" });
    enforcement.touch();
    if (targets) await enforcement.settled(connectMs);
    interfaceRows.delete(id);
    datapath.socketRows.delete(id);
    await datapath.interfaces.settled();
    const problem = problemOf(datapath.interfaces, id);
    if (problem)
      throw new TsiliumError("INTERFACE_FAILED", `the endpoint's interface could not be removed: ${problem}`);
    // Its addresses may be given out again from here on.
    await sweeper.forget([endpoint.ipv4, endpoint.ipv6].filter((address) => address !== undefined));
    newPods.delete(id);
    reported.delete(id);
    store.remove(id);
    connected?.writer.endpointGone(endpoint);
  }

  // ------------------------------------------------------------------------------------ objects of the API server

  function watchObjects({ objects, identities, writer }: Connected): void {
    objects.identities.table.watch((changes) => {
      for (const { current, previous } of changes) {
        if (current) identities.put(current);
        else if (previous) identities.remove(previous);
      }
    });
    objects.groups.table.watch((changes) =>
      enforcement.tell(
        changes.map(({ key, current }) => ({
          kind: "group",
          name: key,
          group: current && parseCidrGroup(current)?.group,
        })),
      ),
    );
    for (const { table } of objects.policies)
      table.watch((changes) => {
        for (const { current, previous } of changes) {
          if (current) policies.put(current as PolicyObject);
          else if (previous) policies.remove(previous as PolicyObject);
          const object = current ?? previous;
          if (!object) continue;
          const key = policyKey(object);
          const judged = policies.table.get(key);
          if (!current) writer.policyGone(object);
          if (judged && current) writer.policy(current as PolicyObject, judged);
          if (judged?.rules !== inForce.get(key)) {
            if (judged) inForce.set(key, judged.rules);
            else inForce.delete(key);
            enforcement.tell([{ kind: "rules", key, rules: judged?.rules }]);
          }
        }
      });
    objects.pods.table.watch((changes) => {
      for (const { current, previous } of changes) {
        if (current || !previous || !isWorkloadOf(previous, options.nodeName)) continue;
        const { namespace = "default", name = "" } = previous.metadata;
        const endpoint = store.find(containerIdOf(namespace, name));
        if (endpoint?.pod.uid === previous.metadata.uid) stopWorkload(namespace, name);
      }
    });
  }
  const inForce = new Map<string, unknown>();

  /** Its pod object was deleted: that is how Kubernetes asks for a workload's end. */
  function stopWorkload(namespace: string, name: string): void {
    workloads.delete(namespace, name, 10_000).catch((error: unknown) => {
      if (error instanceof TsiliumError && error.code === "NO_SUCH_WORKLOAD") return;
      log.error({ namespace, name, error: errorMessage(error) }, "workload not stopped");
    });
  }

  /** Says in the API what holds now, of endpoints of which something changed. */
  function report(): void {
    if (!connected) return;
    for (const endpoint of store.table.values()) {
      if (endpoint.state.kind === "disconnecting") continue;
      const policy = enforcement.policyOf(endpoint);
      const pod = podOf(endpoint);
      const last = reported.get(endpoint.id);
      if (last?.endpoint === endpoint && last.policy === policy && last.pod === pod) continue;
      reported.set(endpoint.id, { endpoint, policy, pod });
      connected.writer.endpoint(endpoint, policy, pod);
    }
  }
  const reported = new Map<EndpointId, { endpoint: Endpoint; policy: unknown; pod: Pod | undefined }>();

  const nodeTimer = setInterval(() => {
    reclaimHooks();
    repairInterfaces();
    const next = observeNode(datapath.kernel, options);
    if (sameNodePlan(plan, next)) return;
    plan = next;
    log.info({ world: plan.world?.name }, "the node's addresses or devices changed");
    datapath.setNode(plan);
    connected?.writer.node(masqueradeTexts(plan));
    enforcement.touch();
  }, nodeWatchMs).unref();
  function reclaimHooks(): void {
    try {
      const devices = datapath.loaded.attachments.reclaim(devicesPerLook);
      if (devices.length > 0)
        log.warn({ devices }, "our programs were taken off these devices or overtaken there; put back");
    } catch (error) {
      log.warn({ error: errorMessage(error) }, "hooks not looked at");
    }
  }
  function repairInterfaces(): void {
    try {
      const endpoints = datapath.repair();
      if (endpoints.length > 0)
        log.warn({ endpoints }, "interfaces or routes of these endpoints were changed; made again");
    } catch (error) {
      log.warn({ error: errorMessage(error) }, "interfaces not looked at");
    }
  }
  const { ct4, ct6, nat } = datapath.loaded.maps;
  const sweeper = startSweeper({
    ct4,
    ct6,
    nat,
    intervalMs: sweepMs,
    report(results) {
      log.debug({ results }, "conntrack swept");
      datapath.programs.sweep(Date.now());
      sweepLearntPorts(datapath.loaded.maps.http_learnt, datapath.endpointTarget.realised);
    },
    onProblem: (error) => log.warn({ error }, "conntrack not swept"),
  });

  const agent: NodeAgent = {
    options,
    datapath,
    store,
    engine,
    policies,
    enforcement,
    proxy,
    judges,
    workloads,
    get plan() {
      return plan;
    },
    get connected() {
      return connected;
    },
    get targets() {
      return targets;
    },
    get waitingFor() {
      return waitingFor;
    },

    async start() {
      const kube = await waitForApiServer(options.kubeconfig, log, stopping.signal, (message) => {
        waitingFor = `the API server (${message})`;
      });
      waitingFor = "the first complete state of all objects";
      const objects = followObjects(kube, options.nodeName, log, () => enforcement.touch());
      const identities = createClusterIdentities(kube, log, {
        onKnown: (identity) => enforcement.tell([{ kind: "identity", identity }]),
        onGone: (id: NumericIdentity) => enforcement.tell([{ kind: "identity-gone", id }]),
      });
      await objects.synced;
      connected = { kube, objects, identities, writer: createObjectWriter(kube, options, log) };
      connected.writer.node(masqueradeTexts(plan));
      watchObjects(connected);
      // Watchers hear of the first state in a microtask.
      await new Promise((resolve) => setImmediate(resolve));
      waitingFor = "workloads of an earlier agent";
      await workloads.restore();
      await removeEndedPods(connected);
      for (const endpoint of [...store.table.values()]) {
        if (podOf(endpoint)) continue;
        log.info({ endpoint: endpoint.id, pod: endpoint.pod }, "endpoint without a pod removed");
        if (endpoint.containerId.startsWith("workload:")) stopWorkload(endpoint.pod.namespace, endpoint.pod.name);
        await disconnect(endpoint.containerId);
      }
      await connected.writer.pruneEndpoints((namespace, name) => store.ofPod(namespace, name) !== undefined);
      waitingFor = "identities of endpoints";
      // Until each has one, the first round would take away what is in force for it.
      for (let waitedMs = 0; waitedMs < connectMs; waitedMs += 10) {
        refreshEndpoints();
        if ([...store.table.values()].every(({ state }) => state.kind === "ready" || state.kind === "failed")) break;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      waitingFor = "policy";
      enforcement.begin(() => {
        targets = datapath.startPolicy(enforcement.endpointRows, enforcement.ipcacheRows);
        return targets;
      });
      await enforcement.settled(60_000);
      waitingFor = undefined;
    },

    async connect(wanted) {
      const { kube } = mustBeConnected();
      const { namespace, name } = wanted.pod;
      const pod = await kube.get("Pod", { namespace, name });
      if (!pod) throw new TsiliumError("KUBE_NOT_FOUND", `the API server has no pod ${namespace}/${name} to connect`);
      const created = store.create({
        containerId: wanted.containerId,
        pod: podRef(pod),
        netnsPath: wanted.netnsPath,
        interfaceName: wanted.interfaceName ?? "eth0",
      });
      try {
        return createdEndpoint(await bringUp(created, pod));
      } catch (error) {
        await disconnect(wanted.containerId);
        throw error;
      }
    },
    disconnect,

    async close() {
      if (stopping.signal.aborted) return;
      stopping.abort();
      clearInterval(nodeTimer);
      sweeper.close();
      workloads.close();
      proxy.close();
      connected?.kube.close();
      datapath.close();
    },
  };
  return agent;
}

/** Whether an agent answers on that socket; for `cleanup`, which leaves a living one its things. */
export async function agentAnswers(socketPath: string): Promise<boolean> {
  const client = createAgentClient(socketPath);
  try {
    await client.status();
    return true;
  } catch (error) {
    if (error instanceof TsiliumError && error.code === "AGENT_NOT_RUNNING") return false;
    throw error;
  } finally {
    client.close();
  }
}

function interfaceRow(endpoint: EndpointFacts): InterfaceRow {
  const { id, netnsPath, interfaceName, mac, hostMac, ipv4, ipv6 } = endpoint;
  return {
    hostName: hostInterfaceName(id),
    netnsPath,
    name: interfaceName,
    mac,
    hostMac,
    ...(ipv4 && { ipv4 }),
    ...(ipv6 && { ipv6 }),
  };
}

function podRef(pod: Pod): EndpointFacts["pod"] {
  const { namespace = "default", name = "", uid = "" } = pod.metadata;
  return { namespace, name, uid };
}

function problemOf<K>(reconciler: Reconciler<K>, key: K): string | undefined {
  const status = reconciler.status.get(key);
  return status?.kind === "error" ? status.message : undefined;
}

function createdEndpoint(endpoint: Endpoint): CreatedEndpoint {
  const { ipv4, ipv6 } = endpoint;
  return {
    id: endpoint.id,
    interfaceName: endpoint.interfaceName,
    hostInterfaceName: hostInterfaceName(endpoint.id),
    mac: endpoint.mac,
    hostMac: endpoint.hostMac,
    addresses: [...(ipv4 ? [`${formatAddress(ipv4)}/32`] : []), ...(ipv6 ? [`${formatAddress(ipv6)}/128`] : [])],
    gateways: [...(ipv4 ? ["169.254.1.1"] : []), ...(ipv6 ? ["fe80::1"] : [])],
    identity: endpoint.state.kind === "ready" ? endpoint.state.identity : 0,
  };
}

/** Addresses under which the node is known to others. */
function masqueradeTexts(plan: NodePlan): { ipv4?: string; ipv6?: string } {
  const { masquerade4, masquerade6 } = plan;
  return {
    ...(masquerade4 && { ipv4: formatAddress(masquerade4) }),
    ...(masquerade6 && { ipv6: formatAddress(masquerade6) }),
  };
}

/** Numbers that prefixes had under an earlier agent: kept, so that what is pinned and what is computed agree. */
function* adoptedPrefixes(datapath: NodeDatapath): Iterable<readonly [Prefix, NumericIdentity]> {
  for (const [key, { identity }] of datapath.loaded.maps.ipcache.entries()) yield [ipcachePrefix(key), identity];
}
