import assert from "node:assert/strict";
import { test } from "node:test";
import { parsePolicy } from "#control/policy";
import { Random } from "#control/policy/testing";
import { createWorld, judgeConnection, type WorldObject } from "#control/workbench";
import { admitRequests, pod } from "#control/workbench/testing";
import { generaliseAddresses } from "./addresses.ts";
import { EvidenceCollector } from "./evidence.ts";
import { createReplay } from "./replay.ts";
import { generaliseRequests } from "./requests.ts";
import { type SuggestOptions, suggestPolicies } from "./suggest.ts";
import { flowLine, podEnd, request, worldEnd } from "./testing.ts";

function suggest(lines: readonly string[], options: SuggestOptions = {}) {
  const collector = new EvidenceCollector();
  for (const line of lines) collector.addLine(line);
  return suggestPolicies(collector.result(), options);
}

/** Pods over small alphabets: labels that nest, agree and differ. */
function randomPods(random: Random): WorldObject[] {
  return random.list(2, 7, (i) =>
    pod(`${random.pick(["default", "shop"])}/p${i}`, {
      ...(random.chance(80) ? { app: random.pick(["web", "db", "cache"]) } : {}),
      ...(random.chance(50) ? { tier: random.pick(["a", "b"]) } : {}),
      ...(random.chance(30) ? { version: random.pick(["v1", "v2"]) } : {}),
      id: `${i}`.repeat(random.chance(30) ? 1 : 0) || "x",
    }),
  );
}

for (let seed = 1; seed <= 60; seed++)
  test(`suggested policies allow what was seen between workloads, and nothing else (seed ${seed})`, () => {
    const random = new Random(seed);
    const pods = randomPods(random);
    const before = createWorld(pods);
    const seen = new Set<string>();
    const lines: string[] = [];
    for (let n = 0; n < 12; n++) {
      const [from, to] = [random.pick(before.groups), random.pick(before.groups)];
      const port = random.pick([53, 80, 81, 82, 443]);
      // Each group is a workload of its own here: one pod's name stands for all with its labels.
      const direction = random.pick(["ingress", "egress"] as const);
      lines.push(flowLine(podEnd(from), podEnd(to), `${port}/TCP`, direction, "FORWARDED"));
      seen.add(`${from.name} ${to.name} ${port}`);
    }
    const { policies, covered } = suggest(lines);
    assert.equal(covered, 12);
    const objects = policies.map(({ object }) => object);
    for (const object of objects) {
      const parsed = parsePolicy(object);
      assert.equal(parsed.kind, "accepted", JSON.stringify(parsed.problems));
    }
    const known = new Set(
      lines.flatMap((line) => {
        const { source, destination } = JSON.parse(line).flow;
        return [source, destination].map(({ namespace, workloads: [{ name }] }) => `${namespace}/${name}`);
      }),
    );
    const after = createWorld([...pods, ...objects.map((object) => ({ object }))]);
    const recorded = after.groups.filter(({ workloads: [one] }) => known.has(`${one!.namespace}/${one!.name}`));
    for (const from of recorded)
      for (const to of recorded)
        for (const port of [53, 79, 80, 81, 82, 83, 443]) {
          const allowed = judgeConnection(after, from, to, 6, port).every(({ outcome }) => outcome !== "denied");
          assert.equal(allowed, seen.has(`${from.name} ${to.name} ${port}`), `${from.name} to ${to.name}:${port}`);
        }
    const replay = createReplay(after, { judge: admitRequests });
    for (const line of lines) replay.addLine(line);
    assert.deepEqual(replay.result().changes, []);
    // The order in which evidence comes, and how often, changes counts alone.
    const again = suggest([...lines.toReversed(), ...lines]);
    assert.deepEqual(
      again.policies
        .map(({ object }) => object)
        .map((one) => JSON.stringify(one).length)
        .sort(),
      objects.map((one) => JSON.stringify(one).length).sort(),
    );
  });

const two = createWorld([pod("web", { app: "web", "pod-template-hash": "1" }), pod("db", { app: "db", env: "prod" })]);
const [db, web] = two.groups.map((group) => podEnd(group)) as [ReturnType<typeof podEnd>, ReturnType<typeof podEnd>];

test("connections that one side denied are no evidence, whatever the other side let pass", () => {
  const { policies, left } = suggest([
    flowLine(web, db, "1/TCP", "egress", "FORWARDED"),
    flowLine(web, db, "1/TCP", "ingress", "DROPPED"),
  ]);
  assert.deepEqual(policies, []);
  assert.deepEqual(left, [{ text: "the connection or request was denied", count: 2 }]);
});

test("pods of one workload are one, by the labels that they share", () => {
  const of = (version: string) => ({ ...web, labels: [...web.labels, `k8s:version=${version}`] });
  const { policies } = suggest([
    flowLine(of("v1"), db, "1/TCP", "egress", "FORWARDED"),
    flowLine(of("v2"), db, "2/TCP", "egress", "FORWARDED"),
  ]);
  assert.deepEqual(
    policies.map(({ object }) => (object as { spec: { endpointSelector: object } }).spec.endpointSelector),
    [{ matchLabels: { app: "db" } }, { matchLabels: { app: "web" } }],
  );
});

test("a workload without a label of its own is told apart by what it lacks", () => {
  const world = createWorld([pod("a", { app: "x" }), pod("b", { app: "x", canary: "yes" })]);
  const [a, b] = world.groups.map((group) => podEnd(group)) as [typeof db, typeof db];
  const { policies } = suggest([flowLine(a, b, "1/TCP", "egress", "FORWARDED")]);
  const selectors = policies.map(
    ({ object }) => (object as { spec: { endpointSelector: object } }).spec.endpointSelector,
  );
  assert.ok(selectors.some((one) => JSON.stringify(one).includes('{"key":"canary","operator":"DoesNotExist"}')));
});

test("evidence stands beside each rule", () => {
  const lines = Array.from({ length: 24 }, (_, i) =>
    flowLine(web, db, "5432/TCP", "ingress", "FORWARDED", {
      time: new Date(Date.UTC(2026, 0, 1) + i * 600_000).toISOString(),
      destination_service: { namespace: "default", name: "postgres" },
    }),
  );
  const yaml = suggest(lines).policies[0]!.yaml;
  assert.match(yaml, /# 24 flows with 1 peer, 2026-01-01T00:00Z to 2026-01-01T03:50Z; confidence high/);
  assert.match(yaml, /# through service default\/postgres/);
});

test("few addresses stay, many are networks, many networks the world", () => {
  const addresses = (count: number, of: (i: number) => string) => Array.from({ length: count }, (_, i) => of(i));
  assert.deepEqual(generaliseAddresses(["192.0.2.0", "192.0.2.1", "192.0.2.9"]), {
    prefixes: ["192.0.2.0/31", "192.0.2.9/32"],
  });
  assert.deepEqual(generaliseAddresses(addresses(40, (i) => `192.0.2.${i * 3}`)).prefixes, ["192.0.2.0/24"]);
  assert.equal(generaliseAddresses(addresses(40, (i) => `192.0.${i * 2}.1`)).prefixes, "world");
  assert.deepEqual(generaliseAddresses(addresses(40, (i) => `2001:db8::${i * 3}`)).prefixes, ["2001:db8::/64"]);
});

test("flows of the world are rules by address, neighbouring ports a range", () => {
  const { policies } = suggest(
    [80, 81, 82, 443].map((port) => flowLine(worldEnd("192.0.2.7"), web, `${port}/TCP`, "ingress", "FORWARDED")),
  );
  const { ingress } = (policies[0]!.object as { spec: { ingress: object[] } }).spec;
  assert.deepEqual(ingress, [
    {
      fromCIDR: ["192.0.2.7/32"],
      toPorts: [
        {
          ports: [
            { port: "80", endPort: 82, protocol: "TCP" },
            { port: "443", protocol: "TCP" },
          ],
        },
      ],
    },
  ]);
});

test("requests become literal rules; ids become patterns only where several were seen", () => {
  const seen = ["GET /items/1", "GET /items/2", "GET /items/3", "GET /users/7", "POST /a.b?x=1", "GET /"];
  const rules = generaliseRequests(new Map(seen.map((text) => [text, 1])));
  assert.deepEqual(
    rules.map(({ method, path }) => `${method} ${path}`),
    ["GET /", "POST /a\\.b(\\?.*)?", "GET /items/[0-9]+", "GET /users/7"],
  );
  assert.deepEqual(
    rules.map(({ beyond }) => beyond),
    [undefined, "any query", "any numbers in the place of 3 seen", undefined],
  );
});

test("every recorded request is allowed by its rules, and nothing that differs outside of ids", () => {
  for (let seed = 1; seed <= 50; seed++) {
    const random = new Random(seed);
    const segment = () => random.pick(["a", "b.c", "7", "12", "99", "00ff00ff00ff", "x+y", "(z)"]);
    const texts = random.list(
      1,
      12,
      () => `${random.pick(["GET", "POST"])} /${random.list(0, 3, segment).join("/")}${random.chance(20) ? "?q" : ""}`,
    );
    const rules = generaliseRequests(new Map(texts.map((text) => [text, 1])));
    const allows = (text: string) => rules.some(({ method, path }) => new RegExp(`^(?:${method} ${path})$`).test(text));
    for (const text of texts) {
      assert.ok(allows(text), `seed ${seed}: ${text}`);
      assert.ok(!allows(`${text.replace(/\?.*/, "")}/unseen`), `seed ${seed}: ${text}/unseen`);
      assert.ok(!allows(text.replace(/^\w+/, "DELETE")), `seed ${seed}: DELETE`);
    }
  }
});

test("HTTP rules stand on the side that judged the requests, and the policy is accepted", () => {
  const lines = ["/a", "/b"].map((path) =>
    flowLine(web, db, "80/TCP", "ingress", "FORWARDED", request("GET", `http://db${path}`)),
  );
  const { policies } = suggest(lines, { http: true });
  assert.ok(policies.every(({ object }) => parsePolicy(object).kind === "accepted"));
  const texts = policies.map(({ yaml }) => yaml.includes("http:"));
  assert.deepEqual(texts, [true, false]);
});
