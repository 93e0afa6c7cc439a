import assert from "node:assert/strict";
import { test } from "node:test";
import { decide } from "#control/policy";
import { Random } from "#control/policy/testing";
import { protocolNumbers } from "#core/model";
import { createWorld, explainConnection, findParty, type Party, type World } from "./index.ts";
import { admitRequests, pod, policy, randomObjects } from "./testing.ts";

const toWeb = policy("web", {
  endpointSelector: { matchLabels: { app: "web" } },
  ingress: [
    { fromEndpoints: [{ matchLabels: { app: "client" } }], toPorts: [{ ports: [{ port: "80", protocol: "TCP" }] }] },
    { fromCIDR: ["10.0.0.0/8"] },
  ],
});
const shop = createWorld([
  pod("client", { app: "client" }),
  pod("other", { app: "other" }),
  pod("web", { app: "web" }, "http:80"),
  pod("shop/web", { app: "web" }),
  toWeb,
]);

const party = (world: World, text: string): Party => {
  const found = findParty(world, text);
  assert.ok(typeof found !== "string", String(found));
  return found;
};
const ask = (world: World, from: string, to: string, port: number, protocol: number = protocolNumbers.TCP) =>
  explainConnection(world, { from: party(world, from), to: party(world, to), protocol, port }, admitRequests);

const verdicts: readonly (readonly [from: string, to: string, port: number, outcome: string, reasons: string])[] = [
  ["client", "web", 80, "allowed", "egress unenforced, ingress decided"],
  ["app=client", "web", 81, "denied", "egress unenforced, ingress default-deny"],
  ["other", "web", 80, "denied", "egress unenforced, ingress default-deny"],
  ["other", "shop/web", 80, "allowed", "egress unenforced, ingress unenforced"],
  ["10.1.2.3", "web", 443, "allowed", "ingress decided"],
  ["192.0.2.1", "web", 443, "denied", "ingress default-deny"],
  ["host", "web", 443, "allowed", "ingress decided"],
  ["web", "world", 443, "allowed", "egress unenforced"],
  ["world", "host", 22, "allowed", ""],
];
for (const [from, to, port, outcome, reasons] of verdicts)
  test(`${from} to ${to}:${port} is ${outcome}`, () => {
    const answer = ask(shop, from, to, port);
    const found = answer.directions.map(({ direction, explanation }) => `${direction} ${explanation.kind}`).join(", ");
    assert.deepEqual([answer.outcome, found], [outcome, reasons]);
  });

test("every rule says what it thinks, and where it stands is known", () => {
  const [, ingress] = ask(shop, "other", "web", 80).directions;
  assert.deepEqual(
    ingress?.statements.map(({ ref, mismatches }) => [shop.place(ref), mismatches.map(({ path }) => path)]),
    [
      ["web.yaml spec.ingress[0]", ["spec.ingress[0].fromEndpoints[0].matchLabels.app"]],
      ["web.yaml spec.ingress[1]", ["spec.ingress[1].fromCIDR[0]"]],
    ],
  );
});

const unknown: readonly (readonly [text: string, says: RegExp])[] = [
  ["clint", /did you mean default\/client\?/],
  ["kube-system/web", /there is default\/web, shop\/web/],
  ["app=web,", /is not key=value/],
];
for (const [text, says] of unknown)
  test(`${text} is nobody, and the answer helps`, () => assert.match(String(findParty(shop, text)), says));

const meant: readonly (readonly [text: string, name: string, note: string])[] = [
  ["app=web", "default/web", ""],
  ["shop/app=web", "shop/web", ""],
  ["app=nobody", "default/app=nobody", "no workload has app=nobody: one is imagined, in namespace default"],
  ["10.1.0.0/16", "10.1.0.0/16", "10.1.0.0/16 is judged as 10.0.0.0/8, the narrowest prefix that policies name"],
  ["0.0.0.0/1", "0.0.0.0/1", "0.0.0.0/1 is part of the world,10.0.0.0/8 inside 0.0.0.0/1 is judged apart"],
];
for (const [text, name, note] of meant)
  test(`${text} means ${name}`, () => {
    const found = party(shop, text);
    assert.deepEqual([found.name, found.notes.join()], [name, note]);
  });

test("an imagined workload is judged as one that is there", () => {
  const world = createWorld([toWeb]);
  assert.equal(ask(world, "app=client", "app=web", 80).outcome, "allowed");
  assert.equal(ask(world, "app=other", "app=web", 80).outcome, "denied");
});

test("templates and pods with one set of labels are one group; hostNetwork counts as the host", () => {
  const template = { metadata: { labels: { app: "a", "pod-template-hash": "1" } }, spec: { containers: [] } };
  const deployment = { object: { kind: "Deployment", metadata: { name: "a" }, spec: { template } } };
  const daemon = {
    object: { kind: "DaemonSet", metadata: { name: "d" }, spec: { template: { spec: { hostNetwork: true } } } },
  };
  const world = createWorld([deployment, pod("a-1", { app: "a" }), daemon]);
  assert.deepEqual(
    world.groups.map(({ name, workloads }) => [name, workloads.map((w) => `${w.kind} ${w.name}`)]),
    [["a", ["Deployment a", "Pod a-1"]]],
  );
  assert.deepEqual(party(world, "d").identity, 1);
});

test("hostile manifests are no failure", () => {
  const odd = [
    null,
    7,
    [],
    { kind: "Pod" },
    { kind: "Deployment", metadata: { name: 3 }, spec: [] },
    { kind: "Service" },
  ];
  const nested = {
    kind: "Pod",
    metadata: { name: "x", labels: ["a"] },
    spec: { containers: [{ ports: [{ containerPort: "z" }] }] },
  };
  const world = createWorld([...odd, nested].map((object) => ({ object })));
  assert.deepEqual(
    world.groups.map(({ name, ports }) => [name, ports]),
    [["x", []]],
  );
});

const seed = Number(process.env.TSILIUM_SEED ?? Date.now() % 2 ** 32);
test(`explanations agree with decide(), and remedies help, in random worlds (seed ${seed})`, () => {
  const random = new Random(seed);
  for (let n = 0; n < 60; n++) {
    const objects = randomObjects(seed + n);
    const world = createWorld(objects);
    const names = [...world.groups.map(({ name }) => name), "world", "host", "10.1.2.9", "192.0.2.7"];
    for (let i = 0; i < 25; i++) {
      const [from, to] = [random.pick(names), random.pick(names)];

      const source = findParty(world, from);
      const target = findParty(world, to);
      if (typeof source === "string" || typeof target === "string") continue;
      const port = random.pick([53, 80, 443, 8080]);
      const answer = explainConnection(world, { from: source, to: target, protocol: 6, port }, admitRequests);
      for (const { direction, subject, outcome, remedy, explanation } of answer.directions) {
        const peer = direction === "egress" ? target : source;
        const { verdict } = decide(world.engine.policyOf(subject.identity)!, direction, peer.identity, 6, port);
        assert.equal(verdict === "DROPPED", outcome === "denied", `${n} ${from} ${to} ${port}`);
        if (remedy === undefined || explanation.kind !== "default-deny") continue;
        const mended = createWorld([...objects, { object: remedy.object }]);
        const again = explainConnection(
          mended,
          { from: findParty(mended, from) as Party, to: findParty(mended, to) as Party, protocol: 6, port },
          admitRequests,
        );
        const same = again.directions.find((one) => one.direction === direction);
        assert.notEqual(same?.outcome, "denied", `${n} ${from} ${to} ${port}\n${remedy.yaml}`);
      }
    }
  }
});
