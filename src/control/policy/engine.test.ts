import assert from "node:assert/strict";
import { test } from "node:test";
import { createLabels, formatPrefix, type NumericIdentity, parseLabel } from "#core/model";
import { createPolicyEngine, decide, maskRange, parseCidrGroup, parsePolicy } from "./index.ts";
import { levels, precedenceOf } from "./policy-set.ts";
import { formatYaml } from "./yaml.ts";

const pod = (id: number, app: string) => ({
  id: id as NumericIdentity,
  labels: createLabels(
    [`k8s:app=${app}`, "k8s:io.kubernetes.pod.namespace=default", "k8s:io.cilium.k8s.policy.cluster=default"].map(
      parseLabel,
    ),
  ),
});
function rules(spec: object) {
  const parsed = parsePolicy({
    apiVersion: "cilium.io/v2",
    kind: "CiliumNetworkPolicy",
    metadata: { name: "p" },
    spec,
  });
  assert.ok(parsed.kind === "accepted", JSON.stringify(parsed.problems));
  return parsed.rules;
}
const allow = (to: string, from: string) =>
  rules({
    endpointSelector: { matchLabels: { app: to } },
    ingress: [{ fromEndpoints: [{ matchLabels: { app: from } }] }],
  });

test("a change touches only the subjects that it is about", () => {
  const engine = createPolicyEngine();
  for (let i = 0; i < 10; i++) {
    engine.upsertIdentity(pod(256 + i, `a${i}`));
    engine.addSubject((256 + i) as NumericIdentity);
  }
  assert.equal(engine.flush().changed.size, 10);
  assert.equal(engine.flush().changed.size, 0);
  engine.upsertRules("one", allow("a1", "a2"));
  assert.deepEqual([...engine.flush().changed.keys()], [257]);
  engine.upsertIdentity(pod(300, "a2"));
  assert.deepEqual([...engine.flush().changed.keys()], [257]);
  engine.upsertIdentity(pod(301, "a3"));
  assert.equal(engine.flush().changed.size, 0);
  engine.removeIdentity(300 as NumericIdentity);
  assert.deepEqual([...engine.flush().changed.keys()], [257]);
  engine.upsertRules("one", allow("a1", "a2"));
  assert.equal(engine.flush().changed.size, 0, "the same rules again change nothing");
  engine.removeRules("one");
  assert.deepEqual([...engine.flush().changed.keys()], [257]);
  engine.removeSubject(257 as NumericIdentity);
  assert.deepEqual(engine.flush().removed, [257]);
});

test("subjects under the same rules share one set", () => {
  const engine = createPolicyEngine();
  engine.upsertRules("all", rules({ endpointSelector: {}, ingress: [{}] }));
  for (const id of [256, 257]) {
    engine.upsertIdentity(pod(id, `a${id}`));
    engine.addSubject(id as NumericIdentity);
  }
  const [a, b] = [...engine.flush().changed.values()];
  assert.ok(a !== undefined && a === b);
});

test("a subject may be wanted before it is known", () => {
  const engine = createPolicyEngine();
  engine.addSubject(256 as NumericIdentity);
  engine.upsertRules("one", allow("a1", "a2"));
  assert.equal(engine.flush().changed.size, 0);
  engine.upsertIdentity(pod(256, "a1"));
  assert.equal(engine.flush().changed.get(256 as NumericIdentity)?.enforced.ingress, true);
});

test("prefixes that rules name are told once each, exceptions too", () => {
  const engine = createPolicyEngine();
  const spec = {
    endpointSelector: {},
    egress: [{ toCIDRSet: [{ cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] }] }, { toCIDR: ["10.1.0.0/16"] }],
  };
  engine.upsertRules("one", rules(spec));
  assert.deepEqual(engine.neededPrefixes().map(formatPrefix), ["10.0.0.0/8", "10.1.0.0/16"]);
  engine.removeRules("one");
  assert.deepEqual(engine.neededPrefixes(), []);
});

test("1000 rules on 1000 identities are computed in well under a second, one more in a few milliseconds", () => {
  const engine = createPolicyEngine();
  const all = Array.from({ length: 1001 }, (_, i) => allow(`a${i % 1000}`, `a${(i * 7) % 1000}`));
  // Of this process alone: what else runs on the machine does not count.
  const now = () => process.cpuUsage().user / 1000;
  const start = now();
  for (let i = 0; i < 1000; i++) {
    engine.upsertIdentity(pod(256 + i, `a${i}`));
    engine.addSubject((256 + i) as NumericIdentity);
    engine.upsertRules(`rule ${i}`, all[i]!);
  }
  assert.equal(engine.flush().changed.size, 1000);
  const afterAll = now();
  engine.upsertRules("rule 1000", all[1000]!);
  engine.flush();
  const afterOne = now();
  // Ten times what a busy machine needs: a guard against another order of growth, not a benchmark.
  assert.ok(afterAll - start < 1000, `${afterAll - start} ms`);
  assert.ok(afterOne - afterAll < 50, `${afterOne - afterAll} ms`);
});

test("precedence: deny over redirect over allow, rules over what is implied", () => {
  const order = [
    precedenceOf("deny", levels.rules),
    precedenceOf("redirect", levels.rules, "http"),
    precedenceOf("allow", levels.rules),
    precedenceOf("allow", levels.implicit),
    precedenceOf("audit", levels.implicit),
  ];
  assert.deepEqual(
    order,
    [...order].sort((a, b) => b - a),
  );
  assert.equal(precedenceOf("deny", levels.rules) & 0xff, 255);
  assert.equal(precedenceOf("redirect", levels.rules, "http") & 0xff, 154);
});

const ranges: ReadonlyArray<readonly [first: number, last: number, blocks: string]> = [
  [80, 80, "80/16"],
  [80, 81, "80/15"],
  [0, 65535, "0/0"],
  [1, 65535, "1/16 2/15 4/14 8/13 16/12 32/11 64/10 128/9 256/8 512/7 1024/6 2048/5 4096/4 8192/3 16384/2 32768/1"],
  [6581, 6586, "6581/16 6582/15 6584/15 6586/16"],
];
for (const [first, last, blocks] of ranges)
  test(`ports ${first} to ${last} are ${blocks}`, () =>
    assert.equal(
      maskRange(first, last)
        .map(({ port, prefix }) => `${port}/${prefix}`)
        .join(" "),
      blocks,
    ));

const scalars: ReadonlyArray<readonly [value: unknown, yaml: string]> = [
  ["plain", "plain"],
  ["3555", '"3555"'],
  ["yes", '"yes"'],
  ["", '""'],
  ["a: b", '"a: b"'],
  ["/items(/.*)?", "/items(/.*)?"],
  ["*.html", '"*.html"'],
  [5, "5"],
  [[], "[]"],
  [{}, "{}"],
];
for (const [value, yaml] of scalars)
  test(`${JSON.stringify(value)} is written ${yaml}`, () => assert.equal(formatYaml({ key: value }), `key: ${yaml}\n`));

test("a staged policy comes in force when its time is up, and the engine says when that is", () => {
  const parsed = parsePolicy({
    apiVersion: "cilium.io/v2",
    kind: "CiliumNetworkPolicy",
    metadata: {
      name: "p",
      annotations: { "policy.tsilium.io/audit": "true", "policy.tsilium.io/audit-until": "2030-01-01T00:00:00Z" },
    },
    spec: { endpointSelector: { matchLabels: { app: "web" } }, ingress: [{}] },
  });
  assert.ok(parsed.kind === "accepted");
  const end = Date.parse("2030-01-01T00:00:00Z");
  const engine = createPolicyEngine();
  engine.upsertIdentity(pod(1001, "web"));
  engine.addSubject(1001 as NumericIdentity);
  engine.upsertRules("p", parsed.rules);
  const verdictAt = (nowMs: number) => {
    const next = engine.setTime(nowMs);
    engine.flush();
    const { verdict } = decide(engine.policyOf(1001 as NumericIdentity)!, "ingress", 1002 as NumericIdentity, 6, 80);
    return [verdict, next];
  };
  assert.deepEqual(verdictAt(end - 1), ["AUDIT", end]);
  assert.deepEqual(verdictAt(end), ["DROPPED", undefined]);
  // A clock that was set back counts, too.
  assert.deepEqual(verdictAt(end - 1), ["AUDIT", end]);
});

test("a CIDR group that changes touches the policies that name it, and no others", () => {
  const group = (cidr: string) =>
    parseCidrGroup({ metadata: { name: "partners" }, spec: { externalCIDRs: [cidr] } })!.group;
  const engine = createPolicyEngine();
  for (const [id, app] of [
    [1001, "web"],
    [1002, "db"],
  ] as const) {
    engine.upsertIdentity(pod(id, app));
    engine.addSubject(id as NumericIdentity);
  }
  const selecting = (app: string, item: object) =>
    rules({ endpointSelector: { matchLabels: { app } }, egress: [item] });
  engine.upsertRules("web", selecting("web", { toCIDRSet: [{ cidrGroupRef: "partners" }] }));
  engine.upsertRules("db", selecting("db", { toCIDR: ["192.0.2.0/24"] }));
  engine.flush();
  const prefixes = () => engine.neededPrefixes().map(formatPrefix).sort();
  assert.equal(engine.unresolvedGroups(selecting("web", { toCIDRSet: [{ cidrGroupRef: "partners" }] })).length, 1);
  engine.upsertGroup(group("203.0.113.0/24"));
  assert.deepEqual(prefixes(), ["192.0.2.0/24", "203.0.113.0/24"]);
  engine.upsertIdentity({
    id: 0x1000001 as NumericIdentity,
    labels: createLabels([parseLabel("cidr:203.0.113.0/24")]),
    prefix: "203.0.113.0/24",
  });
  assert.deepEqual([...engine.flush().changed.keys()], [1001]);
  engine.removeGroup("partners");
  assert.deepEqual(prefixes(), ["192.0.2.0/24"]);
  assert.deepEqual([...engine.flush().changed.keys()], [1001]);
});
