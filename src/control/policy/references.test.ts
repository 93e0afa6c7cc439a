/** What rules name and others keep: services, groups of a cloud provider, the node; and rules that can't be joined. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type NumericIdentity, parseAddress, parsePrefix, Reserved } from "#core/model";
import { createPolicyEngine, decide, formatConflict, type PolicyEngine, parsePolicy } from "./index.ts";

const id = (n: number) => n as NumericIdentity;
const [web, db, lan] = [id(1001), id(1002), id(0x0100_0001)];

function engineWith(...specs: readonly object[]): PolicyEngine {
  const engine = createPolicyEngine();
  const k8s = (key: string, value: string) => ({ source: "k8s", key, value });
  for (const [number, app] of [
    [web, "web"],
    [db, "db"],
  ] as const)
    engine.upsertIdentity({
      id: number,
      labels: [
        k8s("app", app),
        k8s("io.cilium.k8s.policy.cluster", "default"),
        k8s("io.kubernetes.pod.namespace", "default"),
      ],
    });
  engine.upsertIdentity({ id: lan, prefix: "192.0.2.7/32", labels: [{ source: "reserved", key: "world", value: "" }] });
  for (const subject of [web, db, Reserved.host]) engine.addSubject(subject);
  for (const [i, spec] of specs.entries()) {
    const clusterwide = "nodeSelector" in spec;
    const parsed = parsePolicy({
      apiVersion: "cilium.io/v2",
      kind: clusterwide ? "CiliumClusterwideNetworkPolicy" : "CiliumNetworkPolicy",
      metadata: { name: `p${i}`, ...(clusterwide ? {} : { namespace: "default" }) },
      spec,
    });
    assert.equal(parsed.kind, "accepted", JSON.stringify(parsed.problems));
    if (parsed.kind === "accepted") engine.upsertRules(`p${i}`, parsed.rules);
  }
  engine.flush();
  return engine;
}

const reaches = (engine: PolicyEngine, from: NumericIdentity, to: NumericIdentity, port = 80) => {
  engine.flush();
  return decide(engine.policyOf(from)!, "egress", to, 6, port).verdict;
};
const subject = { endpointSelector: { matchLabels: { app: "web" } } };

test("a service stands for the pods behind it, or without a selector for its addresses, as long as it is there", () => {
  const toService = {
    ...subject,
    egress: [{ toServices: [{ k8sService: { serviceName: "db", namespace: "default" } }] }],
  };
  const engine = engineWith(toService);
  const service = { namespace: "default", name: "db", labels: {}, selector: {}, addresses: [] };
  assert.equal(reaches(engine, web, db), "DROPPED");
  engine.upsertService({ ...service, selector: { app: "db" } });
  assert.equal(reaches(engine, web, db), "FORWARDED");
  engine.upsertService({ ...service, addresses: [parseAddress("192.0.2.7")!] });
  assert.equal(reaches(engine, web, db), "DROPPED");
  assert.equal(reaches(engine, web, lan), "FORWARDED");
  assert.deepEqual(engine.neededPrefixes(), [parsePrefix("192.0.2.7/32")]);
  engine.removeService(service);
  assert.equal(reaches(engine, web, lan), "DROPPED");
});

test("a change of a service touches only policies that name it", () => {
  const engine = engineWith(
    { ...subject, egress: [{ toServices: [{ k8sServiceSelector: { selector: { matchLabels: { tier: "data" } } } }] }] },
    { endpointSelector: { matchLabels: { app: "db" } }, egress: [{}] },
  );
  const service = { namespace: "shop", name: "s", selector: { app: "db" }, addresses: [] };
  engine.upsertService({ ...service, labels: { tier: "front" } });
  assert.deepEqual([...engine.flush().changed.keys()], []);
  engine.upsertService({ ...service, namespace: "default", labels: { tier: "data" } });
  assert.deepEqual([...engine.flush().changed.keys()], [web]);
});

test("a cloud provider's group selects nothing until somebody resolves it", () => {
  const engine = engineWith({ ...subject, egress: [{ toGroups: [{ aws: { securityGroupsIds: ["sg-1"] } }] }] });
  const [found] = engine.cloudGroups();
  assert.ok(found);
  const [name, group] = found;
  assert.deepEqual(group.securityGroupIds, ["sg-1"]);
  assert.equal(reaches(engine, web, lan), "DROPPED");
  engine.upsertGroup({ name, labels: {}, prefixes: [parsePrefix("192.0.2.7/32")!] });
  assert.equal(reaches(engine, web, lan), "FORWARDED");
});

test("a policy for nodes is about the node alone, and no other policy is", () => {
  const engine = engineWith({ nodeSelector: {}, egress: [{}] }, { endpointSelector: {}, ingress: [{}] });
  assert.equal(reaches(engine, Reserved.host, lan), "DROPPED");
  assert.equal(reaches(engine, web, lan), "FORWARDED");
  assert.equal(engine.policyOf(Reserved.host)!.enforced.ingress, false);
});

test("of rules that can't be joined on a port the later one is left out, whichever came first", () => {
  const on = (rules: object) => ({
    ...subject,
    egress: [{ toEndpoints: [{}], toPorts: [{ ports: [{ port: "80", protocol: "TCP" }], rules }] }],
  });
  const both = [on({ http: [{ path: "/a" }] }), on({ kafka: [{ topic: "t" }] })];
  const engine = engineWith(...both);
  const [conflict, ...others] = engine.conflicts();
  assert.deepEqual(others, []);
  assert.equal(
    formatConflict(conflict!),
    "cannot merge conflicting L7 protocols (http, kafka) on tcp/80 with CiliumNetworkPolicy default/p0 spec.egress[0].toPorts[0]: this item allows nothing",
  );
  assert.equal(conflict!.ref.name, "p1");
  const { entry } = decide(engine.policyOf(web)!, "egress", db, 6, 80);
  assert.equal(entry?.proxy, "http");
  engine.removeRules("p0");
  engine.flush();
  assert.deepEqual(engine.conflicts(), []);
  assert.equal(decide(engine.policyOf(web)!, "egress", db, 6, 80).entry?.proxy, "kafka");
});

test("authentication is asked where a rule asks it, also on narrower entries that say nothing of it", () => {
  const engine = engineWith({
    ...subject,
    egress: [
      { toEndpoints: [{}], authentication: { mode: "required" } },
      { toEndpoints: [{}], toPorts: [{ ports: [{ port: "80", protocol: "TCP" }] }] },
    ],
  });
  for (const port of [80, 81])
    assert.equal(decide(engine.policyOf(web)!, "egress", db, 6, port).entry?.authentication, "required");
});
