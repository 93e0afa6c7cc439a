/** Random identities, policy objects and flows from a seed, over alphabets small enough that they meet. */
import { createPrefixIdentities, namedPortLabels } from "#control/identity";
import {
  createLabels,
  type Direction,
  type Identity,
  type Label,
  type NumericIdentity,
  parsePrefix,
  Reserved,
  type ReservedName,
  reservedLabels,
} from "#core/model";
import { parseCidrGroup } from "./cidr-group.ts";
import type { NaiveFlow } from "./naive.ts";
import { parsePolicy } from "./parse.ts";

/** A source of randomness: equal seeds, equal numbers (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** 0 <= n < below. */
  below(below: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  list<T>(min: number, max: number, make: (i: number) => T): T[] {
    return Array.from({ length: min + this.below(max - min + 1) }, (_, i) => make(i));
  }
}

/** Identities and the policy objects about them. */
export interface RandomWorld {
  readonly identities: readonly Identity[];
  /** Those of pods. */
  readonly pods: readonly Identity[];
  /** Policy objects as they come from YAML, all valid. */
  readonly objects: readonly object[];
  /** CIDR groups, which the policies name. */
  readonly groups: readonly object[];
}

const namespaces = ["default", "shop"];
const labelValues: Readonly<Record<string, readonly string[]>> = { app: ["web", "db", "cache"], env: ["prod", "test"] };
const cidrs = [
  "10.0.0.0/8",
  "10.1.0.0/16",
  "10.1.2.0/24",
  "192.0.2.7/32",
  "0.0.0.0/0",
  "fd00::/8",
  "fd00:1::/32",
  "::/0",
];
const entities = ["all", "world", "cluster", "host", "remote-node", "none", "kube-apiserver", "init"];
const ports = [53, 80, 81, 443, 1024, 8080, 65535];

/** Makes a world. */
export function randomWorld(random: Random): RandomWorld {
  const pods: Identity[] = random.list(4, 14, (i) => randomPod(random, (256 + i) as NumericIdentity));
  const objects: object[] = [];
  // Most worlds have no staged policy: sets are then made in another way.
  const staged = random.chance(30);
  for (const [i, object] of random.list(1, 10, (n) => stage(random, staged, randomPolicy(random, n))).entries()) {
    const parsed = parsePolicy(object);
    if (parsed.kind === "refused")
      throw new Error(`random policy ${i} is refused: ${JSON.stringify([parsed.problems, object])}`);
    objects.push(object);
  }
  const groups = randomGroups(random);
  const prefixes = createPrefixIdentities();
  const inGroups = groups.flatMap((group) => parseCidrGroup(group)?.group.prefixes ?? []);
  const wanted = objects
    .flatMap((object) => {
      const parsed = parsePolicy(object);
      return parsed.kind === "refused" ? [] : parsed.rules;
    })
    .flatMap((rule) => rule.statements)
    .flatMap(({ peers }) => (peers === "any" ? [] : peers))
    .flatMap((peer) => (peer.kind === "cidr" ? [peer.prefix, ...peer.except] : []));
  prefixes.update([...wanted, ...inGroups, ...cidrs.slice(1, 4).map((text) => parsePrefix(text)!)]);
  const reserved = (Object.keys(Reserved) as ReservedName[])
    .filter((name) => name !== "unknown")
    .map((name): Identity => ({ id: Reserved[name], labels: reservedLabels(name) }));
  return { identities: [...pods, ...reserved, ...prefixes.list()], pods, objects, groups };
}

function stage(random: Random, mayBe: boolean, object: object): object {
  if (!mayBe || random.chance(50)) return object;
  const { metadata } = object as { readonly metadata: object };
  return { ...object, metadata: { ...metadata, annotations: { "policy.tsilium.io/audit": "true" } } };
}

function randomPod(random: Random, id: NumericIdentity): Identity {
  const k8s = (key: string, value: string): Label => ({ source: "k8s", key, value });
  const labels = [
    k8s("io.kubernetes.pod.namespace", random.pick(namespaces)),
    k8s("io.cilium.k8s.policy.cluster", random.chance(90) ? "default" : "other"),
    k8s("serial", String(id)),
  ];
  for (const [key, values] of Object.entries(labelValues))
    if (random.chance(80)) labels.push(k8s(key, random.pick(values)));
  if (random.chance(30)) labels.push(k8s("io.cilium.k8s.namespace.labels.team", random.pick(["red", "blue"])));
  if (random.chance(40)) labels.push(...namedPortLabels([{ name: "web", protocol: 6, port: random.pick(ports) }]));
  if (random.chance(4)) labels.push({ source: "reserved", key: "init", value: "" });
  return { id, labels: createLabels(labels) };
}

function randomSelector(random: Random, prefixes: readonly string[] = ["", "", "k8s:", "any:"]): object {
  const matchLabels: Record<string, string> = {};
  const matchExpressions: object[] = [];
  for (const [key, values] of Object.entries(labelValues)) {
    const name = `${random.pick(prefixes)}${key}`;
    if (random.chance(35)) matchLabels[name] = random.pick(values);
    else if (random.chance(15)) {
      const operator = random.pick(["In", "NotIn", "Exists", "DoesNotExist"]);
      const valued = operator === "In" || operator === "NotIn";
      matchExpressions.push({
        key: name,
        operator,
        ...(valued ? { values: random.list(1, 2, () => random.pick(values)) } : {}),
      });
    }
  }
  return { matchLabels, ...(matchExpressions.length > 0 ? { matchExpressions } : {}) };
}

function randomPeerSelector(random: Random): object {
  const selector = randomSelector(random) as { matchLabels: Record<string, string> };
  if (random.chance(20)) selector.matchLabels["k8s:io.kubernetes.pod.namespace"] = random.pick(namespaces);
  else if (random.chance(10))
    selector.matchLabels["io.cilium.k8s.namespace.labels.team"] = random.pick(["red", "blue"]);
  if (random.chance(5)) selector.matchLabels["reserved:host"] = "";
  return selector;
}

/** In Cilium's policies the prefixes may also come from a group, which is there or not. */
function randomCidrSet(random: Random): object {
  if (random.chance(60)) return randomCidrRule(random);
  const except = random.chance(30) ? { except: [random.pick(cidrs.slice(1, 4))] } : {};
  if (random.chance(50)) return { cidrGroupRef: random.pick(["lan", "partners", "nowhere"]), ...except };
  return { cidrGroupSelector: { matchLabels: { trust: random.pick(["yes", "no"]) } }, ...except };
}

function randomGroups(random: Random): object[] {
  return ["lan", "partners", "others"].map((name) => ({
    apiVersion: "cilium.io/v2",
    kind: "CiliumCIDRGroup",
    metadata: { name, labels: { trust: random.pick(["yes", "no"]) } },
    spec: { externalCIDRs: random.list(0, 3, () => random.pick(cidrs)) },
  }));
}

function randomCidrRule(random: Random): { cidr: string; except?: string[] } {
  if (random.chance(50)) return { cidr: "10.0.0.0/8", except: [random.pick(["10.1.0.0/16", "10.1.2.0/24"])] };
  return { cidr: random.pick(cidrs) };
}

function randomPort(random: Random, http: boolean): object {
  const protocol = http ? "TCP" : random.pick(["TCP", "TCP", "UDP", "SCTP", "ANY"]);
  if (random.chance(8)) return { port: "web", protocol };
  if (!http && random.chance(8)) return { port: "0", protocol };
  const port = random.pick(ports);
  return random.chance(35)
    ? { port: String(port), endPort: Math.min(65535, port + random.below(2000)), protocol }
    : { port: String(port), protocol };
}

function randomPorts(random: Random, action: "allow" | "deny"): object {
  if (random.chance(30)) return {};
  if (random.chance(15))
    return {
      icmps: [
        {
          fields: [
            random.pick(
              [{ type: 8 }, { type: 0, family: "IPv4" }, { type: "EchoRequest", family: "IPv6" }].map((f) =>
                "family" in f && f.family === "IPv6" ? { type: 128, family: "IPv6" } : f,
              ),
            ),
          ],
        },
      ],
    };
  return {
    toPorts: random.list(1, 2, () => {
      const http = action === "allow" && random.chance(45);
      const list = random.list(http ? 1 : 0, 2, () => randomPort(random, http));
      return { ports: list, ...(http ? { rules: { http: random.list(1, 2, (i) => ({ path: `/p${i}` })) } } : {}) };
    }),
  };
}

function randomItem(random: Random, direction: Direction, action: "allow" | "deny"): object {
  const side = direction === "ingress" ? "from" : "to";
  const peers = random.pick<() => object>([
    () => ({}),
    () => ({ [`${side}Endpoints`]: random.list(0, 2, () => randomPeerSelector(random)) }),
    () => ({ [`${side}Endpoints`]: random.list(1, 2, () => randomPeerSelector(random)) }),
    () => ({ [`${side}Entities`]: random.list(1, 2, () => random.pick(entities)) }),
    () => ({ [`${side}CIDR`]: random.list(1, 2, () => random.pick(cidrs)) }),
    () => ({ [`${side}CIDRSet`]: random.list(1, 2, () => randomCidrSet(random)) }),
  ])();
  return { ...peers, ...randomPorts(random, action) };
}

function randomSpec(random: Random): object {
  const spec: Record<string, unknown> = { endpointSelector: randomSelector(random) };
  const sections = ["ingress", "egress", "ingressDeny", "egressDeny"].filter((_, i) => random.chance(i < 2 ? 55 : 25));
  if (sections.length === 0) sections.push(random.pick(["ingress", "egress"]));
  for (const section of sections) {
    const direction = section.startsWith("ingress") ? "ingress" : "egress";
    spec[section] = random.list(1, 3, () => randomItem(random, direction, section.endsWith("Deny") ? "deny" : "allow"));
  }
  if (random.chance(25))
    spec.enableDefaultDeny = {
      ingress: random.chance(40),
      ...(random.chance(50) ? { egress: random.chance(40) } : {}),
    };
  return spec;
}

function randomPolicy(random: Random, i: number): object {
  const metadata = { name: `policy-${i}`, namespace: random.pick(namespaces) };
  if (random.chance(20)) return randomKubePolicy(random, metadata);
  if (random.chance(35)) return randomTierPolicy(random, `policy-${i}`);
  const clusterwide = random.chance(20);
  return {
    apiVersion: "cilium.io/v2",
    kind: clusterwide ? "CiliumClusterwideNetworkPolicy" : "CiliumNetworkPolicy",
    metadata: clusterwide ? { name: metadata.name } : metadata,
    ...(random.chance(80) ? { spec: randomSpec(random) } : { specs: random.list(1, 2, () => randomSpec(random)) }),
  };
}

function randomKubePolicy(random: Random, metadata: object): object {
  const peer = () =>
    random.pick<() => object>([
      () => ({ podSelector: randomSelector(random, [""]) }),
      () => ({ namespaceSelector: random.chance(50) ? {} : { matchLabels: { team: "red" } } }),
      () => ({ podSelector: randomSelector(random, [""]), namespaceSelector: {} }),
      () => ({ ipBlock: randomCidrRule(random) }),
    ])();
  const port = () =>
    random.pick<() => object>([
      () => ({ protocol: random.pick(["TCP", "UDP", "SCTP"]) }),
      () => ({ port: random.pick(ports) }),
      () => ({ port: "web" }),
      () => ({ port: 80, endPort: 90, protocol: "UDP" }),
    ])();
  const items = (side: "from" | "to") =>
    random.list(0, 2, () => ({
      ...(random.chance(70) ? { [side]: random.list(0, 2, peer) } : {}),
      ...(random.chance(60) ? { ports: random.list(0, 2, port) } : {}),
    }));
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata,
    spec: {
      podSelector: randomSelector(random, [""]),
      ...(random.chance(70) ? { ingress: items("from") } : {}),
      ...(random.chance(50) ? { egress: items("to") } : {}),
      ...(random.chance(50) ? { policyTypes: random.pick([["Ingress"], ["Egress"], ["Ingress", "Egress"]]) } : {}),
    },
  };
}

function randomTierPolicy(random: Random, name: string): object {
  const group = "policy.networking.k8s.io";
  const priority = random.below(4);
  const common = { subject: randomPods(random) };
  if (random.chance(25)) {
    const baseline = random.chance(40);
    const actions = baseline ? ["Allow", "Deny"] : ["Allow", "Deny", "Pass"];
    return {
      apiVersion: `${group}/v1alpha1`,
      kind: baseline ? "BaselineAdminNetworkPolicy" : "AdminNetworkPolicy",
      metadata: { name: baseline ? "default" : name },
      spec: { ...common, ...(baseline ? {} : { priority }), ...randomTierRules(random, actions, "ports") },
    };
  }
  const tier = random.pick(["Admin", "Admin", "Baseline"]);
  return {
    apiVersion: `${group}/v1alpha2`,
    kind: "ClusterNetworkPolicy",
    metadata: { name },
    spec: { ...common, tier, priority, ...randomTierRules(random, ["Accept", "Deny", "Pass"], "protocols") },
  };
}

function randomPods(random: Random): object {
  const namespaces = () => (random.chance(60) ? {} : { matchLabels: { team: random.pick(["red", "blue"]) } });
  if (random.chance(50)) return { namespaces: namespaces() };
  return { pods: { namespaceSelector: namespaces(), podSelector: randomSelector(random, [""]) } };
}

function randomTierRules(random: Random, actions: readonly string[], field: "ports" | "protocols"): object {
  const peer = (side: "from" | "to") =>
    random.pick<() => object>([
      () => randomPods(random),
      () => randomPods(random),
      () =>
        side === "from"
          ? randomPods(random)
          : {
              networks: random.chance(20)
                ? ["0.0.0.0/0", "::/0"]
                : [...new Set([random.pick(cidrs), random.pick(cidrs)])],
            },
      () => (side === "from" || random.chance(50) ? randomPods(random) : { nodes: {} }),
      () => (random.chance(80) ? randomPods(random) : random.pick([{}, { moons: {} }])),
    ])();
  const range = () => {
    const start = random.pick(ports.slice(0, -1));
    return { start, end: Math.min(65535, start + 1 + random.below(2000)) };
  };
  const transport = () => random.pick(["tcp", "tcp", "udp", "sctp"]);
  const protocol = () =>
    random.pick<() => object>([
      () => ({ [transport()]: {} }),
      () => ({ [transport()]: { destinationPort: { number: random.pick(ports) } } }),
      () => ({ [transport()]: { destinationPort: { range: range() } } }),
      () => ({ destinationNamedPort: "web" }),
    ])();
  const port = () =>
    random.pick<() => object>([
      () => ({ portNumber: { protocol: transport().toUpperCase(), port: random.pick(ports) } }),
      () => ({ portRange: { protocol: transport().toUpperCase(), ...range() } }),
      () => ({ namedPort: "web" }),
    ])();
  const rules = (side: "from" | "to") =>
    random.list(1, 3, () => ({
      action: random.pick(actions),
      [side]: random.list(1, 2, () => peer(side)),
      ...(random.chance(60) ? { [field]: random.list(1, 2, field === "ports" ? port : protocol) } : {}),
    }));
  return {
    ...(random.chance(70) ? { ingress: rules("from") } : {}),
    ...(random.chance(60) ? { egress: rules("to") } : {}),
  };
}

/** A flow between identities of the world; ports are chosen near those that rules name. */
export function randomFlow(random: Random, world: RandomWorld): NaiveFlow {
  const protocol = random.pick([6, 6, 6, 17, 132, 1, 58]);
  const near = random.pick(ports) + (random.chance(40) ? random.below(2002) - 1 : 0);
  const icmp = protocol === 1 || protocol === 58;
  return {
    subject: random.pick(world.pods),
    peer: random.pick(world.identities),
    direction: random.pick(["ingress", "egress"]),
    protocol,
    port: icmp ? random.pick([0, 8, 128, 3]) : Math.max(0, Math.min(65535, near)),
  };
}
