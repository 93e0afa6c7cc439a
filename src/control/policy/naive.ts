/**
 * Judges flows straight from policy objects as they are written, one item after the other, with nothing compiled, cached or
 * shared with the engine. The yardstick for the engine; slow.
 */
import type { Direction, Identity } from "#core/model";

/** A flow as one subject sees it. */
export interface NaiveFlow {
  readonly subject: Identity;
  readonly peer: Identity;
  readonly direction: Direction;
  readonly protocol: number;
  readonly port: number;
}

/** What ought to happen. `requests`: of a redirected flow, all of them pass or those that rules at these paths allow. */
export interface NaiveVerdict {
  readonly verdict: "FORWARDED" | "DROPPED" | "REDIRECTED" | "AUDIT";
  readonly reason?: "POLICY_DENIED" | "POLICY_DENY";
  readonly requests?: "all" | readonly string[];
}

// biome-ignore lint/suspicious/noExplicitAny: policy objects as they come from YAML; they were accepted by the parser before.
type Json = any;

const tcp = 6;

/**
 * Judges a flow under valid policy objects of any kind: tier Admin, then the policies of everyone, then tier Baseline. CIDR
 * groups stand among the objects. A staged policy changes nothing: what it would deny is AUDIT, with the reason it would have.
 */
export function judgeNaively(all: readonly Json[], flow: NaiveFlow, cluster = "default"): NaiveVerdict {
  const isStaged = ({ metadata }: Json) => metadata.annotations?.["policy.tsilium.io/audit"] === "true";
  const now = judge(
    all.filter((object) => !isStaged(object)),
    flow,
    cluster,
  );
  if (now.verdict === "DROPPED" || !all.some(isStaged)) return now;
  const then = judge(all, flow, cluster);
  return then.verdict === "DROPPED" ? { ...now, verdict: "AUDIT", ...(then.reason && { reason: then.reason }) } : now;
}

/** Staged policies are taken for policies in force. */
function judge(all: readonly Json[], flow: NaiveFlow, cluster: string): NaiveVerdict {
  const groups = all.filter(({ kind }) => kind === "CiliumCIDRGroup");
  const objects = all.filter(({ kind }) => kind !== "CiliumCIDRGroup");
  const admin = askTier(objects, "Admin", flow, cluster);
  if (admin === "deny") return { verdict: "DROPPED", reason: "POLICY_DENY" };
  if (admin === "allow") return { verdict: "FORWARDED" };
  let closed = false;
  let denied = false;
  let plain = false;
  const http: string[] = [];
  for (const object of objects.filter((one) => tierOf(one) === undefined)) {
    for (const [place, spec] of specsOf(object)) {
      if (!selectsSubject(object, spec, flow.subject)) continue;
      const { allow, deny, enforces } = sectionsOf(object, spec, flow.direction);
      if (enforces) closed = true;
      for (const item of deny) if (covers(object, spec, item, flow, cluster, groups).matches) denied = true;
      for (const [i, item] of allow.entries()) {
        const found = covers(object, spec, item, flow, cluster, groups);
        if (!found.matches) continue;
        if (found.plain) plain = true;
        for (const path of found.http) http.push(`${place}.${flow.direction}[${i}].${path}`);
      }
    }
  }
  const denyByDefault = closed || has(flow.subject, "reserved", "init");
  if (denied) return { verdict: "DROPPED", reason: "POLICY_DENY" };
  if (http.length > 0)
    return { verdict: "REDIRECTED", requests: plain || !denyByDefault ? "all" : [...new Set(http)].sort() };
  const fromHost = flow.direction === "ingress" && flow.peer.id === 1;
  if (plain || fromHost) return { verdict: "FORWARDED" };
  if (closed) return { verdict: "DROPPED", reason: "POLICY_DENIED" };
  const baseline = askTier(objects, "Baseline", flow, cluster);
  if (baseline === "deny") return { verdict: "DROPPED", reason: "POLICY_DENY" };
  if (baseline === "allow" || !denyByDefault) return { verdict: "FORWARDED" };
  return { verdict: "DROPPED", reason: "POLICY_DENIED" };
}

function tierOf(object: Json): "Admin" | "Baseline" | undefined {
  if (object.kind === "ClusterNetworkPolicy") return object.spec.tier;
  if (object.kind === "AdminNetworkPolicy") return "Admin";
  return object.kind === "BaselineAdminNetworkPolicy" ? "Baseline" : undefined;
}

/** What the first rule of the tier says that matches. Rules of equal rank: deny first, pass last. */
function askTier(
  objects: readonly Json[],
  tier: "Admin" | "Baseline",
  flow: NaiveFlow,
  cluster: string,
): "allow" | "deny" | "pass" {
  const found: [priority: number, index: number, strength: number][] = [];
  for (const object of objects) {
    if (tierOf(object) !== tier || !coversPods(object.spec.subject, flow.subject)) continue;
    for (const [i, rule] of (object.spec[flow.direction] ?? []).entries()) {
      const action = coversRule(rule, flow, cluster);
      if (action !== undefined)
        found.push([object.spec.priority ?? Number.POSITIVE_INFINITY, i, ["deny", "allow", "pass"].indexOf(action)]);
    }
  }
  const [best] = found.sort((a, b) => {
    const at = a.findIndex((value, i) => value !== b[i]);
    return at < 0 ? 0 : a[at]! - b[at]!;
  });
  return (["deny", "allow", "pass"] as const)[best?.[2] ?? 2]!;
}

function coversRule(rule: Json, flow: NaiveFlow, cluster: string): "allow" | "deny" | "pass" | undefined {
  const peers: Json[] = flow.direction === "ingress" ? rule.from : rule.to;
  const ports: Json[] | undefined = rule.protocols ?? rule.ports;
  const ask = (one: Json) => coversClusterPeer(one, flow.peer, cluster);
  const port = ports === undefined || ports.some((one) => coversClusterPort(one, flow));
  const strange = peers.some((one) => ask(one) === undefined);
  if (strange && rule.action !== "Accept" && rule.action !== "Allow") return port ? "deny" : undefined;
  if (!port || !peers.some((one) => ask(one) === true)) return undefined;
  return rule.action === "Deny" ? "deny" : rule.action === "Pass" ? "pass" : "allow";
}

function coversPods(where: Json, identity: Identity): boolean {
  if (namespaceOf(identity) === undefined) return false;
  const byNamespace = (key: string): [string, string] => ["k8s", `io.cilium.k8s.namespace.labels.${key}`];
  if (where.namespaces) return matchesSelector(where.namespaces, identity, byNamespace);
  return (
    matchesSelector(where.pods.namespaceSelector, identity, byNamespace) &&
    matchesSelector(where.pods.podSelector, identity, (key) => ["k8s", key])
  );
}

/** Undefined: a kind of peer that nobody knows. */
function coversClusterPeer(peer: Json, identity: Identity, cluster: string): boolean | undefined {
  if (peer.namespaces || peer.pods)
    return coversPods(peer, identity) && has(identity, "k8s", "io.cilium.k8s.policy.cluster", cluster);
  if (peer.nodes) return has(identity, "reserved", "host") || has(identity, "reserved", "remote-node");
  if (!peer.networks) return undefined;
  const everyone = ["0.0.0.0/0", "::/0"].every((cidr) => peer.networks.includes(cidr));
  return everyone || peer.networks.some((cidr: string) => isInside(identity, cidr, []));
}

function coversClusterPort(port: Json, flow: NaiveFlow): boolean {
  const name = port.destinationNamedPort ?? port.namedPort;
  if (name) return [6, 17, 132].includes(flow.protocol) && portsNamed(name, flow).includes(flow.port);
  const inside = (first: number, last: number) => flow.port >= first && flow.port <= last;
  const old = port.portNumber ?? port.portRange;
  if (old) {
    if (flow.protocol !== { TCP: 6, UDP: 17, SCTP: 132 }[(old.protocol ?? "TCP") as "TCP"]) return false;
    return port.portNumber ? inside(old.port, old.port) : inside(old.start, old.end);
  }
  const transport = ({ 6: port.tcp, 17: port.udp, 132: port.sctp } as Record<number, Json>)[flow.protocol];
  if (!transport) return false;
  const { destinationPort } = transport;
  if (!destinationPort) return true;
  const { number, range } = destinationPort;
  return range ? inside(range.start, range.end) : inside(number, number);
}

function specsOf(object: Json): [string, Json][] {
  const out: [string, Json][] = object.spec ? [["spec", object.spec]] : [];
  for (const [i, spec] of (object.specs ?? []).entries()) out.push([`specs[${i}]`, spec]);
  return out;
}

function sectionsOf(
  object: Json,
  spec: Json,
  direction: Direction,
): { allow: Json[]; deny: Json[]; enforces: boolean } {
  if (object.kind === "NetworkPolicy") {
    const types: string[] = spec.policyTypes ?? (spec.egress?.length ? ["Ingress", "Egress"] : ["Ingress"]);
    const concerned = types.includes(direction === "ingress" ? "Ingress" : "Egress");
    return { allow: concerned ? (spec[direction] ?? []) : [], deny: [], enforces: concerned };
  }
  const allow = spec[direction] ?? [];
  const deny = spec[`${direction}Deny`] ?? [];
  return { allow, deny, enforces: spec.enableDefaultDeny?.[direction] ?? allow.length + deny.length > 0 };
}

function has(identity: Identity, source: string, key: string, value = ""): boolean {
  return identity.labels.some((l) => (source === "any" || l.source === source) && l.key === key && l.value === value);
}

const namespaceOf = (identity: Identity) => identity.labels.find((l) => l.key === "io.kubernetes.pod.namespace")?.value;

function split(key: string): [source: string, key: string] {
  const colon = key.indexOf(":");
  return colon < 0 ? ["any", key] : [key.slice(0, colon), key.slice(colon + 1)];
}

function matchesSelector(selector: Json, identity: Identity, map: (key: string) => [string, string]): boolean {
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    const [source, name] = map(key);
    if (!has(identity, source, name, value as string)) return false;
  }
  for (const { key, operator, values } of selector.matchExpressions ?? []) {
    const [source, name] = map(key);
    const found = identity.labels.filter((l) => (source === "any" || l.source === source) && l.key === name);
    const inside = found.some((l) => (values ?? []).includes(l.value));
    if (operator === "In" && !inside) return false;
    if (operator === "NotIn" && inside) return false;
    if (operator === "Exists" && found.length === 0) return false;
    if (operator === "DoesNotExist" && found.length > 0) return false;
  }
  return true;
}

function selectsSubject(object: Json, spec: Json, subject: Identity): boolean {
  if (object.kind === "CiliumClusterwideNetworkPolicy") return matchesSelector(spec.endpointSelector, subject, split);
  if (namespaceOf(subject) !== (object.metadata.namespace ?? "default")) return false;
  if (object.kind === "NetworkPolicy") return matchesSelector(spec.podSelector ?? {}, subject, (key) => ["k8s", key]);
  return matchesSelector(spec.endpointSelector, subject, split);
}

interface Coverage {
  readonly matches: boolean;
  readonly plain: boolean;
  readonly http: string[];
}

const nothing: Coverage = { matches: false, plain: false, http: [] };

function covers(object: Json, spec: Json, item: Json, flow: NaiveFlow, cluster: string, groups: Json[]): Coverage {
  const kube = object.kind === "NetworkPolicy";
  if (kube ? !coversKubePeer(object, item, flow, cluster) : !coversPeer(object, spec, item, flow, cluster, groups))
    return nothing;
  if (kube) {
    const ports: Json[] = item.ports ?? [];
    const matches = ports.length === 0 || ports.some((port) => coversKubePort(port, flow));
    return { matches, plain: matches, http: [] };
  }
  const lists: Json[] = item.toPorts ?? [];
  const icmps: Json[] = item.icmps ?? [];
  if (lists.length + icmps.length === 0) return { matches: true, plain: true, http: [] };
  let plain = false;
  const http: string[] = [];
  for (const [i, list] of lists.entries()) {
    if (!(list.ports ?? []).some((port: Json) => coversPort(port, flow))) continue;
    const rules: Json[] = list.rules?.http ?? [];
    if (rules.length === 0) plain = true;
    for (const j of rules.keys()) http.push(`toPorts[${i}].rules.http[${j}]`);
  }
  for (const { fields } of icmps)
    for (const { family, type } of fields)
      if (flow.protocol === (family === "IPv6" ? 58 : 1) && flow.port === Number(type)) plain = true;
  return { matches: plain || http.length > 0, plain, http };
}

function coversPeer(object: Json, spec: Json, item: Json, flow: NaiveFlow, cluster: string, groups: Json[]): boolean {
  const side = flow.direction === "ingress" ? "from" : "to";
  const [endpoints, entities, cidrs, sets] = ["Endpoints", "Entities", "CIDR", "CIDRSet"].map(
    (name) => item[side + name],
  );
  if ([endpoints, entities, cidrs, sets].every((list) => list === undefined))
    return (item.toPorts ?? []).length + (item.icmps ?? []).length > 0;
  return (
    (endpoints ?? []).some((selector: Json) => coversEndpoint(object, spec, selector, flow.peer, cluster)) ||
    (entities ?? []).some((entity: string) => isEntity(entity, flow.peer, cluster)) ||
    (cidrs ?? []).some((cidr: string) => isInside(flow.peer, cidr, [])) ||
    (sets ?? []).some((set: Json) => cidrsOf(set, groups).some((cidr) => isInside(flow.peer, cidr, set.except ?? [])))
  );
}

function cidrsOf(set: Json, groups: readonly Json[]): string[] {
  if (set.cidr) return [set.cidr];
  return groups
    .filter(({ metadata }) => {
      if (set.cidrGroupRef) return metadata.name === set.cidrGroupRef;
      const labels = Object.entries(metadata.labels ?? {}) as [string, string][];
      const as = {
        id: 0,
        labels: labels.map(([key, value]) => ({ source: "k8s", key, value })),
      } as unknown as Identity;
      return matchesSelector(set.cidrGroupSelector, as, (key) => ["any", key]);
    })
    .flatMap(({ spec }) => spec.externalCIDRs);
}

function coversEndpoint(object: Json, spec: Json, selector: Json, peer: Identity, cluster: string): boolean {
  if (!matchesSelector(selector, peer, split)) return false;
  const keys = [
    ...Object.keys(selector.matchLabels ?? {}),
    ...(selector.matchExpressions ?? []).map((e: Json) => e.key),
  ].map(split);
  if (keys.some(([source]) => source === "reserved")) return true;
  const names = (wanted: string) =>
    keys.some(([source, key]) => (source === "any" || source === "k8s") && key === wanted);
  const scoped = object.kind === "CiliumNetworkPolicy";
  const byNamespaceLabel = scoped && keys.some(([, key]) => key.startsWith("io.cilium.k8s.namespace.labels"));
  if (!names("io.kubernetes.pod.namespace") && !byNamespaceLabel) {
    const namespace = namespaceOf(peer);
    const forInit = Object.keys(spec.endpointSelector.matchLabels ?? {}).includes("reserved:init");
    if (scoped ? namespace !== (object.metadata.namespace ?? "default") : namespace === undefined && !forInit)
      return false;
  }
  return names("io.cilium.k8s.policy.cluster") || has(peer, "k8s", "io.cilium.k8s.policy.cluster", cluster);
}

function coversKubePeer(object: Json, item: Json, flow: NaiveFlow, cluster: string): boolean {
  const list: Json[] = item[flow.direction === "ingress" ? "from" : "to"] ?? [];
  if (list.length === 0) return true;
  return list.some(({ podSelector, namespaceSelector, ipBlock }) => {
    if (ipBlock) return isInside(flow.peer, ipBlock.cidr, ipBlock.except ?? []);
    const namespace = namespaceOf(flow.peer);
    if (namespace === undefined || !has(flow.peer, "k8s", "io.cilium.k8s.policy.cluster", cluster)) return false;
    if (!matchesSelector(podSelector ?? {}, flow.peer, (key) => ["k8s", key])) return false;
    if (!namespaceSelector) return namespace === (object.metadata.namespace ?? "default");
    return matchesSelector(namespaceSelector, flow.peer, (key) => ["k8s", `io.cilium.k8s.namespace.labels.${key}`]);
  });
}

function isEntity(entity: string, peer: Identity, cluster: string): boolean {
  const reserved = (name: string) => has(peer, "reserved", name);
  if (entity === "all") return true;
  if (entity === "none") return false;
  if (entity === "world") return ["world", "world-ipv4", "world-ipv6"].some(reserved);
  if (entity !== "cluster") return reserved(entity);
  const inside = ["host", "remote-node", "init", "ingress", "health", "unmanaged", "kube-apiserver"].some(reserved);
  return inside || has(peer, "k8s", "io.cilium.k8s.policy.cluster", cluster);
}

/** Whether an identity is a prefix (or the world) inside of a CIDR and outside of its exceptions. Compares as bit strings. */
function isInside(peer: Identity, cidr: string, except: readonly string[]): boolean {
  const text = peer.prefix ?? (peer.id === 9 ? "0.0.0.0/0" : peer.id === 10 ? "::/0" : undefined);
  if (text === undefined) return false;
  const own = bits(text);
  return own.startsWith(bits(cidr)) && !except.some((hole) => own.startsWith(bits(hole)));
}

function bits(cidr: string): string {
  const [address, length] = cidr.split("/") as [string, string];
  const family = address.includes(":") ? "6" : "4";
  if (family === "4") {
    const text = address
      .split(".")
      .map((part) => Number(part).toString(2).padStart(8, "0"))
      .join("");
    return family + text.slice(0, Number(length));
  }
  const [head = "", tail = ""] = address.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === "" ? [] : tail.split(":");
  const groups = [...left, ...Array(8 - left.length - right.length).fill("0"), ...right];
  return (
    family +
    groups
      .map((group) => Number.parseInt(group, 16).toString(2).padStart(16, "0"))
      .join("")
      .slice(0, Number(length))
  );
}

function coversPort(port: Json, flow: NaiveFlow): boolean {
  const protocols = { TCP: [6], UDP: [17], SCTP: [132], ANY: [6, 17, 132] }[(port.protocol ?? "ANY") as "TCP"];
  if (!protocols.includes(flow.protocol)) return false;
  if (!/^\d+$/.test(port.port)) return portsNamed(port.port, flow).includes(flow.port);
  const first = Number(port.port);
  if (first === 0) return true;
  return flow.port >= first && flow.port <= Math.max(first, port.endPort ?? first);
}

function coversKubePort(port: Json, flow: NaiveFlow): boolean {
  if (flow.protocol !== { TCP: 6, UDP: 17, SCTP: 132 }[(port.protocol ?? "TCP") as "TCP"]) return false;
  if (port.port === undefined) return true;
  if (typeof port.port === "string") return portsNamed(port.port, flow).includes(flow.port);
  return flow.port >= port.port && flow.port <= (port.endPort ?? port.port);
}

/** Ports of that name that the receiver of the flow has. */
function portsNamed(name: string, flow: NaiveFlow): number[] {
  const receiver = flow.direction === "ingress" ? flow.subject : flow.peer;
  const text = receiver.labels
    .filter((l) => l.key.startsWith("io.cilium.k8s.named-ports"))
    .map((l) => l.value)
    .join("_");
  const protocol = flow.protocol === tcp ? "TCP" : flow.protocol === 17 ? "UDP" : "SCTP";
  return text.split("_").flatMap((item) => {
    const [own, transport, port] = item.split(".");
    return own === name && transport === protocol ? [Number(port)] : [];
  });
}
