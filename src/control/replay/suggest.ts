/**
 * Evidence -> least-privilege policies: one for each workload, closed in both directions but for what was seen. Generalised are
 * pods to their workloads, many addresses to their networks, and (if asked) ids in paths; each is said where it is done.
 */
import { formatYaml } from "#control/policy";
import { protocolName, protocolNumbers } from "#core/model";
import { generaliseAddresses } from "./addresses.ts";
import type { Attested, Edge, Evidence, SeenPeer, SeenWorkload } from "./evidence.ts";
import { type Unjudged, unjudgedTexts } from "./flow.ts";
import { generaliseRequests } from "./requests.ts";
import { type SeparatingSelector, separate } from "./separate.ts";

/** How sure a rule is: by how often, and over which time, it was seen. */
export type Confidence = "high" | "medium" | "low";

/** One item of a policy, and what it rests on. */
export interface SuggestedRule {
  readonly direction: "ingress" | "egress";
  /** The item as it stands in the policy. */
  readonly item: object;
  readonly flows: number;
  /** Pods or addresses at the other end; 1000 stands for more, too. */
  readonly peers: number;
  readonly firstMs?: number;
  readonly lastMs?: number;
  readonly confidence: Confidence;
  /** What it allows beyond what was seen, one thing each. */
  readonly beyond: readonly string[];
  readonly notes: readonly string[];
}

/** A policy for one workload. */
export interface SuggestedPolicy {
  readonly object: object;
  readonly rules: readonly SuggestedRule[];
  /** The policy with its evidence as comments. */
  readonly yaml: string;
}

/** Policies, and how far they rest on the recording. */
export interface Suggestion {
  readonly policies: readonly SuggestedPolicy[];
  readonly flows: number;
  /** Flows that the policies allow, as all that are not below. */
  readonly covered: number;
  readonly left: readonly { readonly text: string; readonly count: number }[];
}

/** What is wanted. */
export interface SuggestOptions {
  /** HTTP rules on ports of which requests were recorded. */
  readonly http?: boolean;
  /** Only policies for workloads of this namespace. */
  readonly namespace?: string;
}

/** Suggests. Equal evidence, equal text, in whatever order it came. */
export function suggestPolicies(evidence: Evidence, options: SuggestOptions = {}): Suggestion {
  const selectors = new Map(evidence.workloads.map((one) => [one, separate(one, evidence.workloads)]));
  const seen = new Set(
    evidence.edges.flatMap(({ workload, peer }) => [workload, ...("workload" in peer ? [peer.workload] : [])]),
  );
  const names = new Set<string>();
  const policies = [...seen]
    .filter(({ namespace }) => options.namespace === undefined || namespace === options.namespace)
    .sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : nameOf(a) > nameOf(b) ? 1 : a.key < b.key ? -1 : 1))
    .map((workload) => {
      const edges = evidence.edges.filter((edge) => edge.workload === workload);
      return suggestPolicy(workload, edges, selectors, uniqueName(workload, names), options);
    });
  const left = [...evidence.left].map(([reason, count]) => ({ text: textOf(reason), count }));
  if (evidence.denied > 0) left.push({ text: "the connection or request was denied", count: evidence.denied });
  return {
    policies,
    flows: evidence.flows,
    covered: evidence.used,
    left: left.sort((a, b) => b.count - a.count || (a.text < b.text ? -1 : 1)),
  };
}

const nameOf = ({ namespace, name }: SeenWorkload) => `${namespace}/${name}`;
const textOf = (reason: Unjudged | "no-room") =>
  reason === "no-room" ? "more pairs of workloads and ports than are kept" : unjudgedTexts[reason];

function uniqueName({ namespace, name }: SeenWorkload, taken: Set<string>): string {
  const base =
    name
      .toLowerCase()
      .replaceAll(/[^a-z0-9.-]+/g, "-")
      .replaceAll(/^[-.]+|[-.]+$/g, "")
      .slice(0, 200) || "workload";
  for (let n = 1; ; n++) {
    const own = n === 1 ? base : `${base}-${n}`;
    if (taken.has(`${namespace}/${own}`)) continue;
    taken.add(`${namespace}/${own}`);
    return own;
  }
}

type Selectors = ReadonlyMap<SeenWorkload, SeparatingSelector>;

function suggestPolicy(
  workload: SeenWorkload,
  edges: readonly Edge[],
  selectors: Selectors,
  name: string,
  options: SuggestOptions,
): SuggestedPolicy {
  const { alsoSelects, ...selector } = selectors.get(workload)!;
  const rules = (["ingress", "egress"] as const).flatMap((direction) =>
    suggestRules(
      workload,
      edges.filter((edge) => edge.direction === direction),
      selectors,
      direction,
      options,
    ),
  );
  const itemsOf = (direction: SuggestedRule["direction"]) => {
    const items = rules.filter((rule) => rule.direction === direction).map(({ item }) => item);
    // An empty item switches default deny on, and allows nothing.
    return items.length === 0 ? [{}] : items;
  };
  const head = {
    apiVersion: "cilium.io/v2",
    kind: "CiliumNetworkPolicy",
    metadata: { name, namespace: workload.namespace },
  };
  const object = {
    ...head,
    spec: { endpointSelector: selector, ingress: itemsOf("ingress"), egress: itemsOf("egress") },
  };
  const about = [`${workload.namespace}/${workload.name}`];
  if (alsoSelects.length > 0) about.push(`no labels tell it from ${alsoSelects.join(", ")}: these are selected, too`);
  const lines = [
    ...about.map((text) => `# ${text}`),
    ...formatYaml(head).trimEnd().split("\n"),
    "spec:",
    ...indent(formatYaml({ endpointSelector: selector })),
    ...(["ingress", "egress"] as const).flatMap((direction) => {
      const own = rules.filter((rule) => rule.direction === direction);
      const none = ["  # none was seen: an empty item allows nothing", "  - {}"];
      return [`  ${direction}:`, ...(own.length === 0 ? none : own.flatMap(ruleLines))];
    }),
  ];
  return { object, rules, yaml: `${lines.join("\n")}\n` };
}

const indent = (yaml: string) =>
  yaml
    .trimEnd()
    .split("\n")
    .map((line) => `  ${line}`);

function ruleLines(rule: SuggestedRule): string[] {
  const { flows, peers, firstMs, lastMs, confidence, beyond, notes, item } = rule;
  const count = (n: number, one: string) => `${n} ${one}${n === 1 ? "" : "s"}`;
  const time = (ms: number) => new Date(ms).toISOString().replace(/:\d\d\.\d+Z$/, "Z");
  const when = firstMs === undefined || lastMs === undefined ? "" : `, ${time(firstMs)} to ${time(lastMs)}`;
  return [
    `# ${count(flows, "flow")} with ${count(peers, "peer")}${when}; confidence ${confidence}`,
    ...notes.map((note) => `# ${note}`),
    ...beyond.map((text) => `# also allows ${text}`),
    ...formatYaml([item]).trimEnd().split("\n"),
  ].map((line) => `  ${line}`);
}

/** What is allowed on one port. */
interface PortWish {
  readonly protocol: number;
  readonly port: number;
  readonly http: readonly { readonly method: string; readonly path: string }[] | undefined;
}

function suggestRules(
  workload: SeenWorkload,
  edges: readonly Edge[],
  selectors: Selectors,
  direction: SuggestedRule["direction"],
  options: SuggestOptions,
): SuggestedRule[] {
  // Peers with which exactly the same is spoken share an item: nothing is allowed that was not seen.
  const byPeer = new Map<string, Edge[]>();
  for (const edge of edges) byPeer.set(edge.peerKey, [...(byPeer.get(edge.peerKey) ?? []), edge]);
  const bySignature = new Map<string, Edge[]>();
  for (const own of byPeer.values()) {
    for (const isPort of [true, false]) {
      const part = own.filter(({ protocol }) => hasPorts(protocol) === isPort);
      if (part.length === 0) continue;
      const wishes = part.map((edge) => wishOf(edge, options)).sort(byPort);
      const key = JSON.stringify([part[0]!.peer.kind, wishes]);
      bySignature.set(key, [...(bySignature.get(key) ?? []), ...part]);
    }
  }
  return [...bySignature]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, members]) => suggestRule(workload, members, selectors, direction, options))
    .sort((a, b) => b.flows - a.flows || (JSON.stringify(a.item) < JSON.stringify(b.item) ? -1 : 1));
}

const hasPorts = (protocol: number) => protocol !== protocolNumbers.ICMP && protocol !== protocolNumbers.ICMPV6;
const byPort = (a: PortWish, b: PortWish) => a.protocol - b.protocol || a.port - b.port;

function wishOf(edge: Edge, { http }: SuggestOptions): PortWish {
  const { protocol, port, requests } = edge;
  // Too many different requests are no rule; then every one is allowed.
  const rules = http === true && requests !== undefined && requests.size > 0 ? generaliseRequests(requests) : undefined;
  return { protocol, port, http: rules?.map(({ method, path }) => ({ method, path })) };
}

function suggestRule(
  workload: SeenWorkload,
  edges: readonly Edge[],
  selectors: Selectors,
  direction: SuggestedRule["direction"],
  options: SuggestOptions,
): SuggestedRule {
  const peers = [...new Map(edges.map((edge) => [edge.peerKey, edge.peer])).values()];
  const side = direction === "ingress" ? "from" : "to";
  const { fields, beyond, notes } = peerFields(side, peers, workload, selectors);
  const wishes = [...new Map(edges.map((edge) => [`${edge.protocol}/${edge.port}`, wishOf(edge, options)])).values()];
  const generalised =
    options.http === true
      ? edges.flatMap(({ requests }) =>
          generaliseRequests(requests ?? new Map()).flatMap(({ beyond: more, path }) =>
            more === undefined ? [] : [`${path}: ${more}`],
          ),
        )
      : [];
  const services = [...new Set(edges.flatMap((edge) => [...edge.services]))].sort();
  const all = sumUp(edges);
  const { firstMs, lastMs } = all;
  return {
    direction,
    item: { ...fields, ...portFields(wishes.sort(byPort)) },
    flows: all.flows,
    peers: all.peers.size,
    ...(firstMs === undefined ? {} : { firstMs }),
    ...(lastMs === undefined ? {} : { lastMs }),
    confidence: confidenceOf(all),
    beyond: [
      ...beyond,
      ...new Set(generalised),
      ...(options.http === true && edges.some(({ requests }) => requests === undefined)
        ? ["every request: more different ones were seen than rules can list"]
        : []),
    ],
    notes: [...notes, ...(services.length === 0 ? [] : [`through service ${services.join(", ")}`])],
  };
}

function sumUp(edges: readonly Edge[]): Attested {
  const sum: Attested = { flows: 0, peers: new Set(), firstMs: undefined, lastMs: undefined };
  for (const { flows, peers, firstMs, lastMs } of edges) {
    sum.flows += flows;
    for (const peer of peers) sum.peers.add(peer);
    sum.firstMs = least(sum.firstMs, firstMs);
    sum.lastMs = lastMs === undefined ? sum.lastMs : Math.max(sum.lastMs ?? lastMs, lastMs);
  }
  return sum;
}

const least = (a: number | undefined, b: number | undefined) =>
  a === undefined ? b : b === undefined ? a : Math.min(a, b);

/** Seen often and over an hour: high. Seen more than a few times: medium. */
function confidenceOf({ flows, firstMs, lastMs }: Attested): Confidence {
  const spanMs = firstMs === undefined || lastMs === undefined ? 0 : lastMs - firstMs;
  if (flows >= 20 && spanMs >= 3_600_000) return "high";
  return flows >= 5 && spanMs >= 60_000 ? "medium" : "low";
}

interface PeerFields {
  readonly fields: object;
  readonly beyond: readonly string[];
  readonly notes: readonly string[];
}

/** All peers are of one kind. */
function peerFields(
  side: "from" | "to",
  peers: readonly SeenPeer[],
  subject: SeenWorkload,
  selectors: Selectors,
): PeerFields {
  const workloads = peers.flatMap((peer) => (peer.kind === "workload" ? [peer.workload] : []));
  if (workloads.length > 0) {
    const picked = workloads.sort((a, b) => (a.key < b.key ? -1 : 1)).map((one) => ({ one, ...selectors.get(one)! }));
    const endpoints = picked.map(({ one, matchLabels, matchExpressions }) => ({
      matchLabels: {
        ...matchLabels,
        ...(one.namespace === subject.namespace ? {} : { "k8s:io.kubernetes.pod.namespace": one.namespace }),
      },
      ...(matchExpressions === undefined ? {} : { matchExpressions }),
    }));
    const beyond = picked.flatMap(({ one, alsoSelects }) =>
      alsoSelects.length === 0 ? [] : [`${alsoSelects.join(", ")}, which no labels tell from ${one.name}`],
    );
    return { fields: { [`${side}Endpoints`]: endpoints }, beyond, notes: [] };
  }
  const entities = peers.flatMap((peer) => (peer.kind === "entity" ? [peer.name] : [])).sort();
  if (entities.length > 0) return { fields: { [`${side}Entities`]: entities }, beyond: [], notes: [] };
  const outside = peers.flatMap((peer) => (peer.kind === "outside" ? [peer] : []));
  const { prefixes, beyond } = generaliseAddresses(outside.map(({ address }) => address));
  const named = outside
    .flatMap(({ address, names }) => (names.size === 0 ? [] : [`${address} is ${[...names].sort().join(", ")}`]))
    .sort();
  const fields = prefixes === "world" ? { [`${side}Entities`]: ["world"] } : { [`${side}CIDR`]: prefixes };
  return { fields, beyond: beyond === undefined ? [] : [beyond], notes: named.slice(0, 20) };
}

/** Ports of a list: as many as the language takes. */
const mostPorts = 40;

/** Sorted wishes -> toPorts or icmps. */
function portFields(wishes: readonly PortWish[]): object {
  if (!hasPorts(wishes[0]!.protocol)) {
    const fields = wishes.map(({ protocol, port }) => ({
      family: protocol === protocolNumbers.ICMP ? "IPv4" : "IPv6",
      type: port,
    }));
    return { icmps: chunks(fields).map((part) => ({ fields: part })) };
  }
  const plain = wishes.filter(({ http }) => http === undefined);
  const http = wishes.filter((wish) => wish.http !== undefined);
  return {
    toPorts: [
      ...chunks(ranges(plain)).map((ports) => ({ ports })),
      ...http.map(({ port, http: rules }) => ({
        ports: [{ port: String(port), protocol: "TCP" }],
        rules: { http: rules },
      })),
    ],
  };
}

function chunks<T>(items: readonly T[]): T[][] {
  const out: T[][] = [];
  for (let i = 0; i < items.length; i += mostPorts) out.push(items.slice(i, i + mostPorts));
  return out;
}

/** Three neighbours and more are a range: the same ports, said shorter. */
function ranges(wishes: readonly PortWish[]): object[] {
  const out: object[] = [];
  for (let i = 0; i < wishes.length; ) {
    const { protocol, port } = wishes[i]!;
    let end = i;
    while (wishes[end + 1]?.protocol === protocol && wishes[end + 1]?.port === wishes[end]!.port + 1) end++;
    const name = protocolName(protocol);
    if (end - i >= 2) {
      out.push({ port: String(port), endPort: wishes[end]!.port, protocol: name });
      i = end + 1;
    } else {
      out.push({ port: String(port), protocol: name });
      i++;
    }
  }
  return out;
}
