import assert from "node:assert/strict";
import { test } from "node:test";
import { createEndpoint, type Endpoint, type EndpointFacts } from "#control/endpoint";
import { createPrefixIdentities } from "#control/identity";
import { createPolicyEngine, decide, type PolicySet, parsePolicy, type Rule } from "#control/policy";
import {
  createLabels,
  type EndpointId,
  type Identity,
  type IpAddress,
  type NumericIdentity,
  parseAddress,
  parsePrefix,
  prefixContains,
} from "#core/model";
import { createReconciler, type Logger, type Operations, Table } from "#core/runtime";
import type { EndpointRow, IpcacheRow } from "#datapath/reconcile";
import { createEnforcement } from "./enforcement.ts";
import { originOf } from "./kernel-policy.ts";
import type { ProxyLink } from "./proxy-link.ts";
import { createRequestJudges } from "./request-judges.ts";

const unheard = () => undefined;
const silent: Logger = { debug: unheard, info: unheard, warn: unheard, error: unheard };

const identity = (id: number, app: string): Identity => ({
  id: id as NumericIdentity,
  labels: createLabels([
    { source: "k8s", key: "app", value: app },
    { source: "k8s", key: "io.kubernetes.pod.namespace", value: "default" },
    { source: "k8s", key: "io.cilium.k8s.policy.cluster", value: "default" },
  ]),
});

function readyEndpoint(id: number, who: Identity): Endpoint {
  const facts: EndpointFacts = {
    id: id as EndpointId,
    containerId: `workload:default/${id}`,
    pod: { namespace: "default", name: String(id), uid: "" },
    netnsPath: `/run/netns/${id}`,
    interfaceName: "eth0",
    mac: "02:00:00:00:00:01",
    hostMac: "02:00:00:00:00:02",
    ipv4: parseAddress(`10.217.0.${id}`)!,
    createdAtMs: 0,
  };
  return { ...createEndpoint(facts), labels: who.labels, ifindex: id, state: { kind: "ready", identity: who.id } };
}

/** What the kernel would hold: written by the reconcilers' operations, judged like the programs do. */
class Kernel {
  readonly sets = new Map<EndpointId, PolicySet>();
  readonly prefixes = new Map<string, NumericIdentity>();
  afterStore: () => void = () => undefined;

  readonly endpoints: Operations<EndpointId, EndpointRow> = {
    update: (id, row) => {
      this.sets.set(id, originOf(row.policy)!);
      this.afterStore();
    },
    delete: (id) => {
      this.sets.delete(id);
      this.afterStore();
    },
    prune: () => undefined,
  };
  readonly ipcache: Operations<string, IpcacheRow> = {
    update: (prefix, row) => {
      this.prefixes.set(prefix, row.identity);
      this.afterStore();
    },
    delete: (prefix) => {
      this.prefixes.delete(prefix);
      this.afterStore();
    },
    prune: () => undefined,
  };

  identityOf(address: IpAddress): NumericIdentity {
    let best = -1;
    let found = 0 as NumericIdentity;
    for (const [text, id] of this.prefixes) {
      const prefix = parsePrefix(text)!;
      if (prefix.length > best && prefixContains(prefix, address)) [best, found] = [prefix.length, id];
    }
    return found;
  }

  /** Verdicts of all probes, in order. */
  verdicts(): string[] {
    return probes.map(({ endpoint, direction, peer, port }) => {
      const set = this.sets.get(endpoint);
      return set ? decide(set, direction, this.identityOf(peer), 6, port).verdict : "DROPPED";
    });
  }
}

const probes = [1, 2].flatMap((endpoint) =>
  ["10.1.2.3", "10.1.9.9", "10.200.0.1", "192.0.2.1", "10.217.0.1", "10.217.0.2"].flatMap((peer) =>
    (["ingress", "egress"] as const).flatMap((direction) =>
      [80, 443].map((port) => ({ endpoint: endpoint as EndpointId, direction, peer: parseAddress(peer)!, port })),
    ),
  ),
);

function world() {
  const kernel = new Kernel();
  const engine = createPolicyEngine();
  const identities = [identity(300, "a"), identity(301, "b")];
  const endpoints = new Table<EndpointId, Endpoint>("endpoints");
  const proxy: ProxyLink = {
    port: 0,
    status: { state: "off" },
    ensure: async () => undefined,
    publish: async () => undefined,
    close: () => undefined,
  };
  const enforcement = createEnforcement({
    engine,
    prefixes: createPrefixIdentities(),
    endpoints,
    nodeAddresses: () => [parseAddress("192.0.2.9")!],
    proxy,
    judges: createRequestJudges(() => undefined),
    refresh: () => undefined,
    onRound: () => undefined,
    log: silent,
  });
  enforcement.tell(identities.map((one) => ({ kind: "identity", identity: one })));
  endpoints.set(1 as EndpointId, readyEndpoint(1, identities[0]!));
  endpoints.set(2 as EndpointId, readyEndpoint(2, identities[1]!));
  const begin = async () => {
    enforcement.begin(() => ({
      endpoints: createReconciler({ table: enforcement.endpointRows, operations: kernel.endpoints }),
      ipcache: createReconciler({ table: enforcement.ipcacheRows, operations: kernel.ipcache }),
    }));
    assert.ok(await enforcement.settled(5000));
  };
  const set = async (name: string, spec: object | undefined) => {
    enforcement.tell([{ kind: "rules", key: name, rules: spec && rulesOf(name, spec) }]);
    assert.ok(await enforcement.settled(5000));
  };
  return { kernel, enforcement, endpoints, begin, set };
}

function rulesOf(name: string, spec: object): readonly Rule[] {
  const parsed = parsePolicy({
    apiVersion: "cilium.io/v2",
    kind: "CiliumNetworkPolicy",
    metadata: { name, namespace: "default" },
    spec,
  });
  assert.ok(parsed.kind === "accepted", JSON.stringify(parsed.problems));
  return parsed.rules;
}

/** A repeatable source of choices. */
function randomOf(seed: number) {
  let state = seed >>> 0 || 1;
  return (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

test("while rules change, no connection gets a verdict that neither the old nor the new state gives it", async (t) => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
  t.diagnostic(`SEED=${seed}`);
  const random = randomOf(seed);
  const pick = <T>(from: readonly T[]): T => from[random(from.length)]!;
  const { kernel, begin, set } = world();
  await begin();
  const cidrs = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "192.0.2.0/24", "0.0.0.0/0"];
  const peers = () =>
    pick([
      { CIDR: [pick(cidrs)] },
      { CIDR: [pick(cidrs), pick(cidrs)] },
      { CIDRSet: [{ cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] }] },
      { Entities: [pick(["world", "all", "host", "cluster"])] },
      { Endpoints: [{ matchLabels: { app: pick(["a", "b"]) } }] },
    ]);
  const item = (way: "from" | "to") => ({
    ...Object.fromEntries(Object.entries(peers()).map(([key, value]) => [`${way}${key}`, value])),
    ...(random(2) === 0 && { toPorts: [{ ports: [{ port: pick(["80", "443"]), protocol: "TCP" }] }] }),
  });
  for (let i = 0; i < 200; i++) {
    const spec = {
      endpointSelector: pick([{}, { matchLabels: { app: "a" } }, { matchLabels: { app: "b" } }]),
      [pick(["ingress", "ingressDeny"])]: [item("from")],
      [pick(["egress", "egressDeny"])]: [item("to")],
    };
    const before = kernel.verdicts();
    const steps: string[][] = [];
    kernel.afterStore = () => steps.push(kernel.verdicts());
    await set(`p${random(4)}`, random(3) === 0 ? undefined : spec);
    kernel.afterStore = () => undefined;
    const after = kernel.verdicts();
    for (const [n, step] of steps.entries())
      for (const [p, verdict] of step.entries())
        assert.ok(
          verdict === before[p] || verdict === after[p],
          `change ${i} (${JSON.stringify(spec)}), step ${n}, probe ${p}: ${verdict}, before ${before[p]}, after ${after[p]}`,
        );
  }
});

test("a prefix that no rule names any more leaves the ipcache, one that others still name stays", async () => {
  const { kernel, begin, set } = world();
  await begin();
  const egress = (...to: string[]) => ({ endpointSelector: {}, egress: [{ toCIDR: to }] });
  await set("one", egress("10.0.0.0/8", "10.1.0.0/16"));
  await set("two", egress("10.1.0.0/16"));
  assert.ok(kernel.prefixes.has("10.0.0.0/8") && kernel.prefixes.has("10.1.0.0/16"));
  await set("one", undefined);
  assert.deepEqual([kernel.prefixes.has("10.0.0.0/8"), kernel.prefixes.has("10.1.0.0/16")], [false, true]);
  await set("two", undefined);
  assert.equal(kernel.prefixes.has("10.1.0.0/16"), false);
  assert.ok(kernel.prefixes.has("0.0.0.0/0"));
});

test("endpoints that come and go reach the kernel with their addresses", async () => {
  const { kernel, enforcement, endpoints, begin } = world();
  await begin();
  assert.equal(kernel.sets.size, 2);
  endpoints.delete(2 as EndpointId);
  enforcement.touch();
  assert.ok(await enforcement.settled(5000));
  assert.equal(kernel.sets.size, 1);
  assert.equal(kernel.prefixes.has("10.217.0.2/32"), false);
  assert.equal(enforcement.realised, enforcement.computed);
});

test("nothing is written before everything was seen", async () => {
  const { kernel, enforcement } = world();
  assert.equal(await enforcement.settled(50), false);
  assert.equal(kernel.sets.size + kernel.prefixes.size, 0);
});
