/** The local API's operations: questions answered from the agent's tables, orders handed to its parts. */
import { release } from "node:os";
import type {
  AgentStatus,
  ComponentStatus,
  EndpointDetail,
  EndpointSummary,
  ForeignProgram,
  HttpJudge,
  IdentityView,
  PolicyEntryView,
  PolicyRevision,
  PolicyView,
  PolicyWait,
  PolicyWaitResult,
  ReconcilerStatus,
  RuleReference,
} from "#contracts/agent";
import type { Problem } from "#contracts/manifest";
import { type Endpoint, hostInterfaceName } from "#control/endpoint";
import {
  type Entry,
  type EntryRequests,
  formatConflict,
  formatMaskedPort,
  type GroupPeer,
  type PolicyEngine,
  type PolicySet,
  type Rule,
  type RuleRef,
} from "#control/policy";
import {
  type EndpointId,
  formatAddress,
  formatLabels,
  formatPrefix,
  type NumericIdentity,
  protocolName,
  Reserved,
  type ReservedName,
  reservedLabels,
  reservedName,
} from "#core/model";
import { type Reconciler, TsiliumError } from "#core/runtime";
import { mapTypeName } from "#datapath/linux";
import { type MapName, mapDefinitions } from "#datapath/maps";
import { directionOf, foreignProtocols } from "./learnt-ports.ts";
import type { AgentOperations } from "./local-api.ts";
import type { NodeAgent } from "./node-agent.ts";
import type { JudgedPolicy } from "./policies.ts";
import { ownVersion } from "./version.ts";

/** What of the process itself the status tells. */
export interface ProcessFacts {
  readonly startedAt: Date;
  readonly readyAfterMs: number | undefined;
  /** Prometheus text. */
  readonly metrics: () => Promise<string>;
  /** Removes everything and ends the process. */
  readonly cleanup: AgentOperations["cleanup"];
  /** Components outside of the agent's core: observer. */
  readonly components: () => readonly ComponentStatus[];
}

const dumpLimit = 100_000;

/** The operations of an agent. */
export function createOperations(agent: NodeAgent, facts: ProcessFacts): AgentOperations {
  const { store, engine, enforcement, datapath, policies, proxy, judges, workloads, options } = agent;
  const version = ownVersion();

  const revision = (): PolicyRevision => ({
    computed: enforcement.computed,
    realised: enforcement.realised,
    epoch: datapath.nodeConfig.epoch,
  });

  const nameOf = (id: NumericIdentity): string => {
    if (id === 0) return "any";
    const reserved = reservedName(id);
    if (reserved) return `reserved:${reserved}`;
    const identity = engine.identity(id);
    if (!identity) return String(id);
    return identity.prefix ?? formatLabels(identity.labels).join(",");
  };

  function summary(endpoint: Endpoint): EndpointSummary {
    const { state, ipv4, ipv6, labels, pod } = endpoint;
    const policy = enforcement.policyOf(endpoint);
    return {
      id: endpoint.id,
      namespace: pod.namespace,
      pod: pod.name,
      phase: state.kind,
      ...(state.kind === "failed" && { message: state.message }),
      identity: state.kind === "ready" ? state.identity : 0,
      labels: formatLabels(labels ?? []),
      ...(ipv4 && { ipv4: formatAddress(ipv4) }),
      ...(ipv6 && { ipv6: formatAddress(ipv6) }),
      policy: { ingress: policy?.enforced.ingress ?? false, egress: policy?.enforced.egress ?? false },
    };
  }

  const detail = (endpoint: Endpoint): EndpointDetail => {
    const policy = enforcement.policyOf(endpoint);
    const realised = datapath.endpointTarget.realised.get(endpoint.id);
    const status = agent.targets?.endpoints.status.get(endpoint.id);
    return {
      ...summary(endpoint),
      interfaceName: hostInterfaceName(endpoint.id),
      ifindex: endpoint.ifindex ?? 0,
      mac: endpoint.mac,
      hostMac: endpoint.hostMac,
      netnsPath: endpoint.netnsPath,
      ...(endpoint.containerId.startsWith("workload:") && { workload: endpoint.containerId.slice(9) }),
      createdAt: new Date(endpoint.createdAtMs).toISOString(),
      policyStatus: {
        set: realised?.policySet ?? 0,
        revision: enforcement.realised,
        realised: status?.kind === "done" && enforcement.realised === enforcement.computed,
        ...(status?.kind === "error" && { problem: status.message }),
        entries: policy?.entries.map((entry) => entryView(endpoint.id, entry, policy)) ?? [],
      },
    };
  };

  const entryView = (endpoint: EndpointId, entry: Entry, set: PolicySet): PolicyEntryView => ({
    direction: entry.direction,
    identity: entry.identity,
    peer: nameOf(entry.identity),
    protocol: protocolName(entry.protocol),
    port: entry.portPrefix === 0 ? "" : formatMaskedPort({ port: entry.port, prefix: entry.portPrefix }),
    action: entry.action,
    precedence: entry.precedence,
    ...(entry.action === "redirect" && { proxyPort: proxy.port }),
    ...(entry.requests !== undefined && { http: httpJudge(endpoint, entry, set.requests[entry.requests]!) }),
    unenforced: entry.unenforced ?? false,
    rules: (set.provenance[entry.cookie] ?? []).map(ruleReference),
  });

  function httpJudge(endpoint: EndpointId, entry: Entry, requests: EntryRequests): HttpJudge {
    const judge = judges.of(requests);
    if (judge.kind === "proxy") return { judge: "proxy", reason: judge.reason };
    const { programs } = datapath;
    const program = programs.numberOf(judge.program);
    if (program === undefined)
      return {
        judge: "proxy",
        reason: programs.problem ?? `the kernel holds ${programs.capacity} programs and no more`,
      };
    const last = entry.port + (0xffff >> entry.portPrefix);
    const learnt = [...datapath.loaded.maps.http_learnt.entries()]
      .filter(
        ([key]) =>
          key.subject === endpoint &&
          directionOf(key) === entry.direction &&
          (entry.identity === 0 || key.peer === entry.identity) &&
          key.dport >= entry.port &&
          key.dport <= last,
      )
      .map(([{ peer, dport }, { protocol }]) => ({
        identity: peer,
        peer: nameOf(peer),
        port: dport,
        protocol: foreignProtocols[protocol] ?? `protocol ${protocol}`,
      }));
    return { judge: "kernel", program, ...(learnt.length > 0 && { learnt }) };
  }

  function identities(): IdentityView[] {
    const uses = new Map<number, number>();
    for (const { state } of store.table.values())
      if (state.kind === "ready") uses.set(state.identity, (uses.get(state.identity) ?? 0) + 1);
    const reserved = (Object.keys(Reserved) as ReservedName[])
      .filter((name) => name !== "unknown")
      .map((name) => ({ id: Reserved[name], labels: reservedLabels(name), scope: "reserved" as const }));
    const cluster = [...(agent.connected?.identities.table.values() ?? [])].map((identity) => ({
      ...identity,
      scope: "cluster" as const,
    }));
    const local = enforcement.prefixIdentities().map((identity) => ({ ...identity, scope: "local" as const }));
    return [...reserved, ...cluster, ...local]
      .sort((a, b) => a.id - b.id)
      .map(({ id, labels, scope, ...rest }) => ({
        id,
        labels: formatLabels(labels),
        scope,
        ...("prefix" in rest && typeof rest.prefix === "string" && { prefix: rest.prefix }),
        endpoints: uses.get(id) ?? 0,
      }));
  }

  const reconcilers = (): Reconciler<unknown>[] =>
    [datapath.node, datapath.interfaces, agent.targets?.endpoints, agent.targets?.ipcache].filter(
      (one) => one !== undefined,
    ) as Reconciler<unknown>[];

  /** Rows by the names that people know them by. */
  const statusOf = (one: Reconciler<unknown>): ReconcilerStatus =>
    reconcilerStatus(one, (key) => {
      const pod = typeof key === "number" ? store.table.get(key as EndpointId)?.pod : undefined;
      const name = pod ? `${pod.namespace}/${pod.name} (endpoint ${key})` : String(key);
      return one === datapath.interfaces
        ? `interface of ${name}`
        : one === agent.targets?.ipcache
          ? `ipcache ${name}`
          : name;
    });

  function components(foreign: readonly ForeignProgram[]): ComponentStatus[] {
    const objects = agent.connected?.objects;
    const refused = [...policies.table.values()].filter((policy) => policy.state !== "valid");
    const problems: { readonly key: string; readonly message: string }[] = reconcilers().flatMap(
      (one) => statusOf(one).problems,
    );
    const overtaken = foreign.find(({ before }) => before);
    if (overtaken) {
      const { device, hook, name, programId } = overtaken;
      problems.push({
        key: `${device} ${hook}`,
        message: `another program, ${name} (program ${programId}), sees packets before ours; remove it there`,
      });
    }
    const missing = agent.connected?.identities.problem;
    return [
      objects === undefined
        ? { name: "api-server", state: "starting", message: `waiting for ${agent.waitingFor}` }
        : objects.problem === undefined
          ? { name: "api-server", state: "ok" }
          : { name: "api-server", state: "degraded", message: `${objects.problem}; what is known stays in force` },
      problems.length === 0
        ? { name: "datapath", state: "ok", message: `hooks: ${datapath.loaded.attachments.mode ?? "none yet"}` }
        : { name: "datapath", state: "degraded", message: firstOf(problems.map((p) => `${p.key}: ${p.message}`)) },
      missing === undefined
        ? { name: "identities", state: "ok" }
        : { name: "identities", state: "degraded", message: missing },
      refused.length === 0
        ? { name: "policy", state: agent.waitingFor === undefined ? "ok" : "starting" }
        : { name: "policy", state: "degraded", message: firstOf(refused.map(refusal)) },
      proxyComponent(),
      socketRedirectComponent(),
      httpComponent(),
      ...facts.components(),
    ];
  }

  function proxyComponent(): ComponentStatus {
    const { state, message } = proxy.status;
    const words = {
      off: "off",
      starting: "starting",
      connected: "ok",
      disconnected: "degraded",
      failed: "failed",
    } as const;
    return { name: "proxy", state: words[state], ...(message !== undefined && { message }) };
  }

  function socketRedirectComponent(): ComponentStatus {
    const { size } = datapath.socketRows;
    const name = "socket-redirect";
    const problem = datapath.socketRedirectProblem;
    if (problem !== undefined)
      return { name, state: "degraded", message: `not possible here, TCP is used: ${problem}` };
    return size === 0 ? { name, state: "off" } : { name, state: "ok", message: `for ${size} endpoints` };
  }

  /** HTTP rules in the kernel. */
  function httpComponent(): ComponentStatus {
    const name = "kernel-http";
    const { count, capacity, problem } = datapath.programs;
    if (judges.off !== undefined)
      return { name, state: options.kernelHttp ? "degraded" : "off", message: `${judges.off}; the proxy judges` };
    if (problem !== undefined) return { name, state: "degraded", message: `${problem}; the proxy judges in its place` };
    if (count >= capacity)
      return {
        name,
        state: "degraded",
        message: `all ${capacity} programs are in use; the proxy judges what has none`,
      };
    return { name, state: "ok" };
  }

  function status(): AgentStatus {
    const { plan } = agent;
    const all = [...store.table.values()];
    const foreignPrograms = datapath.loaded.attachments.foreign();
    return {
      ready: agent.waitingFor === undefined,
      nodeName: options.nodeName,
      instance: options.paths.instance,
      pid: process.pid,
      startedAt: facts.startedAt.toISOString(),
      ...(facts.readyAfterMs !== undefined && { readyAfterMs: facts.readyAfterMs }),
      residentBytes: process.memoryUsage.rss(),
      versions: { tsilium: version, node: process.versions.node, kernel: release() },
      addresses: {
        ...(plan.masquerade4 && { ipv4: formatAddress(plan.masquerade4) }),
        ...(plan.masquerade6 && { ipv6: formatAddress(plan.masquerade6) }),
        ...(plan.world && { worldDevice: plan.world.name }),
      },
      podCidrs: [options.podCidr4, options.podCidr6].map(formatPrefix),
      components: components(foreignPrograms),
      counts: {
        endpoints: all.length,
        endpointsReady: all.filter((endpoint) => endpoint.state.kind === "ready").length,
        identities: identities().length,
        ipcache: enforcement.ipcacheRows.size,
        policies: policies.table.size,
        policiesRefused: [...policies.table.values()].filter((policy) => policy.state !== "valid").length,
        policySets: datapath.sets.count,
        policyEntries: datapath.sets.used,
        policyEntriesCapacity: datapath.sets.capacity,
        httpPrograms: datapath.programs.count,
        httpProgramsCapacity: datapath.programs.capacity,
      },
      policy: revision(),
      reconcilers: reconcilers().map(statusOf),
      proxy: proxy.status,
      foreignPrograms,
      degraded:
        datapath.loaded.attachments.mode === "clsact"
          ? [
              {
                name: "tcx",
                cost: "programs are attached as tc filters: another program can get in front of them, and an upgrade leaves a gap of microseconds",
                since: "6.6",
              },
            ]
          : [],
    };
  }

  async function waitForPolicy(wait: PolicyWait): Promise<PolicyWaitResult> {
    const begin = performance.now();
    const timeoutMs = Math.min(wait.timeoutMs ?? 10_000, 60_000);
    const version = Number(wait.resourceVersion ?? 0);
    let missing: string | undefined;
    // What comes after the awaited object was seen is not waited for: on a busy node there is always something.
    let target: number | undefined;
    const seen = (): boolean => {
      missing = target === undefined ? notSeen(wait, version) : undefined;
      if (missing !== undefined) return false;
      target ??= enforcement.computed;
      if (enforcement.realised < target) missing = `revision ${target} (realised: ${enforcement.realised})`;
      return missing === undefined;
    };
    const done = await enforcement.waiting.until(seen, timeoutMs);
    const problems = reconcilers().flatMap((one) =>
      statusOf(one).problems.map((problem) => `${problem.key}: ${problem.message}`),
    );
    if (wait.name !== undefined) {
      const judged = policies.table.get(`${wait.kind ?? ""}/${wait.namespace ?? ""}/${wait.name}`);
      for (const problem of judged?.problems ?? [])
        if (problem.severity === "error") problems.push(`${problem.path}: ${problem.message}`);
    }
    return {
      enforced: done && problems.length === 0,
      revision: revision(),
      ...(missing !== undefined && { missing }),
      problems,
      waitedMs: Math.round((performance.now() - begin) * 10) / 10,
    };
  }

  /** What of the awaited objects has not reached the agent. */
  function notSeen(wait: PolicyWait, version: number): string | undefined {
    if (!agent.targets || !agent.connected) return agent.waitingFor ?? "the agent";
    if (wait.kind === undefined) return undefined;
    const { objects } = agent.connected;
    const followed = [objects.namespaces, objects.pods, objects.identities, objects.groups, ...objects.policies].find(
      (one) => one.kind === wait.kind,
    );
    if (!followed) return undefined;
    const what = `${wait.kind}${wait.name === undefined ? "" : ` ${wait.name}`}`;
    if (wait.name !== undefined) {
      const object = followed.table.get(wait.namespace ? `${wait.namespace}/${wait.name}` : wait.name);
      if (wait.absent === true) return object === undefined ? undefined : `the end of ${what}`;
      if (object && Number(object.metadata.resourceVersion) >= version) return undefined;
      return `version ${version} of ${what}`;
    }
    return followed.version >= version ? undefined : `version ${version} of ${what}`;
  }

  const mapOf = (name: string) => {
    if (!Object.hasOwn(mapDefinitions, name)) {
      throw new TsiliumError(
        "NO_SUCH_MAP",
        `there is no map "${name}"; there are: ${Object.keys(mapDefinitions).join(", ")}`,
      );
    }
    return name as MapName;
  };

  return {
    status: async () => status(),
    endpoints: async () => [...store.table.values()].map(summary),
    async endpoint(id) {
      const endpoint = store.table.get(id as EndpointId);
      if (!endpoint) throw new TsiliumError("NO_SUCH_ENDPOINT", `there is no endpoint ${id} on this node`);
      return detail(endpoint);
    },
    createEndpoint: (wanted) => agent.connect(wanted),
    deleteEndpoint: (containerId) => agent.disconnect(containerId),
    identities: async () => identities(),
    ipcache: async () =>
      [...enforcement.ipcacheRows.entries()]
        .map(([prefix, { identity, endpointId }]) => ({
          prefix,
          identity,
          labels: labelsOf(identity),
          ...(endpointId !== 0 && { endpoint: endpointId }),
          source:
            endpointId !== 0
              ? "endpoint"
              : identity === Reserved.host
                ? "node"
                : reservedName(identity)
                  ? "default"
                  : "policy",
        }))
        .sort((a, b) => (a.prefix < b.prefix ? -1 : 1)),
    policies: async () =>
      [...policies.table.values()].map(({ kind, namespace, name, resourceVersion, state, problems, rules }) => ({
        ...modeOf(rules),
        kind,
        namespace,
        name,
        resourceVersion,
        state,
        problems: [
          ...problems,
          ...unresolved(engine.unresolvedGroups(rules)),
          ...conflicting(engine, { kind, namespace, name }),
        ].map(({ path, code, message, hint, line, column }) => ({
          path,
          code,
          message,
          ...(hint !== "" && { hint }),
          ...(line !== undefined && { line }),
          ...(column !== undefined && { column }),
        })),
        selects: [...store.table.values()]
          .filter(
            ({ state: endpointState }) =>
              endpointState.kind === "ready" &&
              engine
                .rulesFor(endpointState.identity)
                .some((rule) => rule.kind === kind && rule.name === name && (rule.namespace ?? "") === namespace),
          )
          .map((endpoint) => ({ id: endpoint.id, pod: `${endpoint.pod.namespace}/${endpoint.pod.name}` })),
      })),
    maps: async () =>
      (Object.keys(mapDefinitions) as MapName[]).map((name) => ({
        name,
        type: mapTypeName(mapDefinitions[name].type),
        keyBytes: mapDefinitions[name].key.size,
        valueBytes: mapDefinitions[name].value.size,
        capacity: datapath.loaded.maps[name].capacity,
      })),
    map: async (name) => ({ name, ...datapath.loaded.maps[mapOf(name)].dump(dumpLimit) }),
    workloads: async () => workloads.list(),
    createWorkload: (wanted) => workloads.create(wanted),
    deleteWorkload: (namespace, name, graceMs = 10_000) => workloads.delete(namespace, name, graceMs),
    waitForPolicy: (wait = {}) => waitForPolicy(wait),
    cleanup: () => facts.cleanup(),
    metrics: () => facts.metrics(),
  };

  function labelsOf(identity: NumericIdentity): string[] {
    return formatLabels(engine.identity(identity)?.labels ?? []);
  }
}

/** Whether the rules are in force, or only report what they would deny. */
function modeOf(rules: readonly Rule[]): Pick<PolicyView, "mode" | "auditUntil"> {
  const audit = rules.find((rule) => rule.audit !== undefined)?.audit;
  if (audit === undefined) return { mode: "enforced" };
  const { untilMs } = audit;
  if (untilMs === undefined) return { mode: "staged" };
  return { mode: untilMs > Date.now() ? "staged" : "enforced", auditUntil: new Date(untilMs).toISOString() };
}

/** Items of a policy that are left out because they can't be joined with those of another one. */
function conflicting(
  engine: PolicyEngine,
  object: { readonly kind: string; readonly namespace: string; readonly name: string },
): Problem[] {
  return engine
    .conflicts()
    .filter(
      ({ ref }) => ref.kind === object.kind && ref.name === object.name && (ref.namespace ?? "") === object.namespace,
    )
    .map((conflict) => ({
      path: conflict.path,
      code: "conflict",
      severity: "warning",
      message: formatConflict(conflict),
      hint: "let both say the same there, or give them different ports or peers",
    }));
}

/** Peers that select nothing now because their CIDR group is not there. */
function unresolved(peers: readonly GroupPeer[]): Problem[] {
  return peers.map(({ group, cloud, path }) => ({
    path,
    code: "unresolved-group",
    severity: "warning",
    message: cloud
      ? `nobody tells the addresses of this ${cloud.provider.toUpperCase()} group: nothing is selected`
      : `there is no CiliumCIDRGroup ${typeof group === "string" ? `"${group}"` : "that the selector selects"}: nothing is selected`,
    hint: cloud ? "name the addresses in a CiliumCIDRGroup" : "create it; the policy then follows by itself",
  }));
}

function ruleReference(ref: RuleRef): RuleReference {
  return { kind: ref.kind, namespace: ref.namespace ?? "", name: ref.name, path: ref.path };
}

function reconcilerStatus(reconciler: Reconciler<unknown>, nameOf: (key: unknown) => string): ReconcilerStatus {
  let done = 0;
  let pending = 0;
  const problems: ReconcilerStatus["problems"][number][] = [];
  for (const [key, status] of reconciler.status.entries()) {
    if (status.kind === "done") done++;
    else if (status.kind === "pending") pending++;
    else
      problems.push({
        key: nameOf(key),
        message: status.message,
        attempts: status.attempts,
        retryAt: new Date(status.retryAtMs).toISOString(),
      });
  }
  const { name, pruneProblem } = reconciler;
  return {
    name: name.replace(/-status$/, ""),
    rows: done + pending + problems.length,
    done,
    pending,
    problems,
    ...(pruneProblem !== undefined && { pruneProblem }),
  };
}

/** Which policy was refused, where it is wrong, and what holds in its place. */
function refusal({ kind, namespace, name, state, problems }: JudgedPolicy): string {
  const { path, message } = problems.find(({ severity }) => severity === "error") ?? { path: "", message: "refused" };
  const what = `${kind} ${namespace === "" ? name : `${namespace}/${name}`}`;
  const holds = state === "last-good" ? "its last good version stays in force" : "nothing of it is in force";
  return `${what} refused: ${path === "" ? "" : `${path}: `}${message}; ${holds}`;
}

function firstOf(messages: readonly string[]): string {
  return messages.length === 1 ? messages[0]! : `${messages[0]} (and ${messages.length - 1} more)`;
}
