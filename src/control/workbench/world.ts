/** Manifests -> a world: workloads with their identities, and the policies about them, ready to be asked. */
import type { Namespace, Service } from "#contracts/kube";
import type { Problem } from "#contracts/manifest";
import { createPrefixIdentities, filterLabels, planIdentities, podLabelKeys, podLabels } from "#control/identity";
import {
  createPolicyEngine,
  isPolicyKind,
  type ObjectRef,
  type ParseOptions,
  type PolicyEngine,
  parseCidrGroup,
  parsePolicy,
  type Rule,
  type RuleRef,
  tellingLabels,
} from "#control/policy";
import {
  createLabels,
  type Identity,
  identityRanges,
  type Labels,
  labelsKey,
  type NumericIdentity,
  type Prefix,
} from "#core/model";
import { type ExposedPort, fieldsOf, namespaceOf, readWorkload, type Workload } from "./workload.ts";

/** An object as it comes from YAML, JSON or the API; kinds that say nothing about policy are passed over. */
export interface WorldObject {
  readonly object: unknown;
  /** Where a field of it is written, e.g. `policy.yaml:12`; absent where nobody wrote a file. */
  readonly locate?: (path: string) => string;
}

/** Workloads with one identity: policies can't tell them apart. */
export interface WorkloadGroup {
  readonly identity: NumericIdentity;
  /** Those that make the identity. */
  readonly labels: Labels;
  /** The shortest name that no other group has: `web`, `shop/web`. */
  readonly name: string;
  readonly namespace: string;
  readonly workloads: readonly Workload[];
  readonly ports: readonly ExposedPort[];
}

/** A policy that is in force in a world. */
export interface WorldPolicy {
  readonly key: string;
  readonly ref: ObjectRef;
  readonly rules: readonly Rule[];
  readonly problems: readonly Problem[];
}

/** A policy that is not: the agent would refuse it, too. */
export interface RefusedPolicy {
  /** `CiliumNetworkPolicy default/web`. */
  readonly title: string;
  readonly problems: readonly Problem[];
  /** Where it is written. */
  readonly place?: string;
}

/** How a world is made. */
export interface WorldOptions extends ParseOptions {
  /** Prefixes that have identities of their own, besides those that its policies name. */
  readonly prefixes?: readonly Prefix[];
  /** The time, in ms since 1970; now. */
  readonly nowMs?: number;
}

/** Everything that verdicts depend on. Made by {@link createWorld}. */
export interface World {
  /** Holds every identity and rule; all groups are subjects. */
  readonly engine: PolicyEngine;
  /** By name. */
  readonly groups: readonly WorkloadGroup[];
  /** Workloads in the network of their node, which policies take for the host. */
  readonly hostWorkloads: readonly Workload[];
  readonly policies: readonly WorldPolicy[];
  readonly refused: readonly RefusedPolicy[];
  /** Identities of the prefixes that policies name. */
  readonly prefixes: readonly Identity[];
  /** Where a rule is written (or a field of its object); undefined for implicit rules and objects that came from no file. */
  place(ref: ObjectRef | RuleRef, path?: string): string | undefined;
  /** The identity that a workload with these labels would have; it becomes known to the engine. */
  imagine(namespace: string, labels: Labels): Identity;
  /**
   * The identity of whoever has these labels, all of them given: a workload's own, or (with `prefix`) that of addresses outside
   * the cluster. It becomes known to the engine, a workload also as a subject.
   */
  identify(labels: Labels, prefix?: string): Identity;
}

/** Makes a world. The later one of two objects with one name counts, as with `kubectl apply`. */
export function createWorld(objects: readonly WorldObject[], options: WorldOptions = {}): World {
  const latest = new Map<string, WorldObject>();
  for (const one of objects) {
    const key = objectKey(one.object);
    // As with apply, the place in the order stays.
    if (key !== undefined) latest.set(key, one);
  }
  const ofKind = (kind: string) =>
    [...latest.values()].map(({ object }) => object).filter((o) => fieldsOf(o).kind === kind);
  const namespaces = new Map(
    (ofKind("Namespace") as Namespace[]).map((namespace) => [String(fieldsOf(namespace.metadata).name), namespace]),
  );
  const services = (ofKind("Service") as Service[]).filter(({ metadata }) => fieldsOf(metadata).name !== undefined);
  const workloads = [...latest.values()].flatMap(
    ({ object }) => readWorkload(fieldsOf(object), namespaces, services, options.clusterName) ?? [],
  );
  const engine = createPolicyEngine(options.clusterName === undefined ? {} : { clusterName: options.clusterName });
  const hostWorkloads = workloads.filter(({ hostNetwork }) => hostNetwork);
  const groups = makeGroups(workloads.filter(({ hostNetwork }) => !hostNetwork));
  for (const { identity, labels } of groups) {
    engine.upsertIdentity({ id: identity, labels });
    engine.addSubject(identity);
  }
  // Staged policies whose time is up are in force here, too.
  engine.setTime(options.nowMs ?? Date.now());
  for (const object of ofKind("CiliumCIDRGroup")) {
    const group = parseCidrGroup(object)?.group;
    if (group !== undefined) engine.upsertGroup(group);
  }
  const policies: WorldPolicy[] = [];
  const refused: RefusedPolicy[] = [];
  for (const [key, { object, locate }] of latest) {
    if (!isPolicyKind(fieldsOf(object).kind)) continue;
    const parsed = parsePolicy(object, options);
    if (parsed.kind === "refused") {
      const title = key.replace("/", " ").replace(" /", " ");
      refused.push({ title, problems: parsed.problems, ...(locate === undefined ? {} : { place: locate("") }) });
      continue;
    }
    policies.push({ key, ref: parsed.ref, rules: parsed.rules, problems: parsed.problems });
    engine.upsertRules(key, parsed.rules);
  }
  const prefixes = createPrefixIdentities();
  prefixes.update([...engine.neededPrefixes(), ...(options.prefixes ?? [])]);
  for (const identity of prefixes.list()) engine.upsertIdentity(identity);
  engine.flush();

  const known = new Map<string, Identity>(
    groups.map(({ labels, identity }) => [labelsKey(labels), { id: identity, labels }]),
  );
  for (const identity of prefixes.list()) known.set(labelsKey(identity.labels), identity);
  // From the far ends of their ranges: groups and prefixes are numbered from the near ones.
  const next = { workload: identityRanges.clusterMax, prefix: identityRanges.localMax };
  const identify: World["identify"] = (given, prefix) => {
    const labels = prefix === undefined ? filterLabels(given) : given;
    const key = labelsKey(labels);
    const found = known.get(key);
    if (found !== undefined) return found;
    const kind = prefix === undefined ? "workload" : "prefix";
    const id = next[kind]-- as NumericIdentity;
    const identity = { id, labels, ...(prefix === undefined ? {} : { prefix }) };
    known.set(key, identity);
    engine.upsertIdentity(identity);
    if (kind === "workload") engine.addSubject(id);
    engine.flush();
    return identity;
  };
  return {
    engine,
    groups,
    hostWorkloads,
    policies,
    refused,
    prefixes: prefixes.list(),
    place(ref, path = "path" in ref ? ref.path : "") {
      return latest.get(keyOf(ref.kind, ref.namespace, ref.name))?.locate?.(path);
    },
    imagine(namespace, own) {
      const pod = { metadata: { namespace }, spec: { containers: [] } };
      const made = podLabels(pod, namespaceOf(namespace, namespaces), options.clusterName);
      const account = { source: "k8s", key: podLabelKeys.serviceAccount, value: "default" };
      return identify(createLabels([...made, account, ...own]));
    },
    identify,
  };
}

const keyOf = (kind: string, namespace: string | undefined, name: string) => `${kind}/${namespace ?? ""}/${name}`;
const clusterKinds = new Set([
  "CiliumClusterwideNetworkPolicy",
  "ClusterNetworkPolicy",
  "AdminNetworkPolicy",
  "BaselineAdminNetworkPolicy",
  "Namespace",
  "Node",
]);

/** Kind, namespace and name; undefined for what is no object. Namespaced objects without one are in "default". */
function objectKey(object: unknown): string | undefined {
  const { kind, metadata } = fieldsOf(object);
  const { namespace, name, generateName } = fieldsOf(metadata);
  if (typeof kind !== "string") return undefined;
  const space = clusterKinds.has(kind) ? "" : typeof namespace === "string" && namespace !== "" ? namespace : "default";
  return keyOf(kind, space, String(name ?? generateName ?? ""));
}

function makeGroups(workloads: readonly Workload[]): WorkloadGroup[] {
  const byLabels = new Map<string, Workload[]>();
  for (const workload of workloads) {
    const key = labelsKey(filterLabels(workload.labels));
    byLabels.set(key, [...(byLabels.get(key) ?? []), workload]);
  }
  const { assigned } = planIdentities({
    existing: [],
    wanted: [...byLabels.values()].map(([first]) => filterLabels(first!.labels)),
    nowMs: 0,
  });
  const unnamed = [...byLabels].flatMap(([key, members]) => {
    const identity = assigned.get(key);
    return identity === undefined ? [] : [{ identity, members }];
  });
  const names = nameGroups(unnamed);
  return unnamed
    .map(({ identity, members }, i) => ({
      identity: identity.id,
      labels: identity.labels,
      name: names[i]!,
      namespace: members[0]!.namespace,
      workloads: members,
      ports: distinctPorts(members.flatMap(({ ports }) => ports)),
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function distinctPorts(ports: readonly ExposedPort[]): ExposedPort[] {
  const byKey = new Map<string, ExposedPort>();
  for (const port of ports) {
    const key = `${port.protocol} ${port.port}`;
    // Of equal ones, that with a name tells more.
    if (byKey.get(key)?.name === undefined) byKey.set(key, port);
  }
  return [...byKey.values()].sort((a, b) => a.protocol - b.protocol || a.port - b.port);
}

const nameLabels = ["app", "app.kubernetes.io/name", "k8s-app", "name"];

/** Each group's shortest unique name: its name label, with the namespace, the workload's own name, all telling labels. */
function nameGroups(
  groups: readonly { readonly identity: Identity; readonly members: readonly Workload[] }[],
): string[] {
  const levels = groups.map(({ identity, members }) => {
    const { namespace, name } = members[0]!;
    const telling = tellingLabels(identity);
    const short = nameLabels.map((key) => telling[key]).find((value) => value !== undefined) ?? name;
    const all = identity.labels.filter(({ source, key }) => source === "k8s" && !key.startsWith("io."));
    const labels = all.map(({ key, value }) => `${key}=${value}`).join(",");
    return [short, `${namespace}/${short}`, `${namespace}/${name}`, `${namespace}/${name}(${labels})`];
  });
  return levels.map((own, i) => {
    const unique = own.find((name, level) => levels.every((other, j) => i === j || other[level] !== name));
    return unique ?? `${own[3]}#${i + 1}`;
  });
}
