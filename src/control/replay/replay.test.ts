import assert from "node:assert/strict";
import { test } from "node:test";
import { combine, createWorld, judgeConnection, type RequestJudge, type World } from "#control/workbench";
import { admitRequests, pod, policy, randomObjects } from "#control/workbench/testing";
import { readFlowLine } from "./flow.ts";
import { createReplay } from "./replay.ts";
import { flowLine, podEnd, recordConnection, request, worldEnd } from "./testing.ts";

const pods = [pod("web", { app: "web" }), pod("db", { app: "db" }), pod("job", { app: "job" })];
const world = (...policies: Parameters<typeof createWorld>[0][number][]) => createWorld([...pods, ...policies]);
const group = (of: World, name: string) => of.groups.find((one) => one.name === name)!;
const ends = (of: World) => ({
  web: podEnd(group(of, "web")),
  db: podEnd(group(of, "db")),
  job: podEnd(group(of, "job")),
});

function replay(of: World, lines: readonly string[], judge: RequestJudge = admitRequests) {
  const all = createReplay(of, { judge });
  for (const line of lines) all.addLine(line);
  return all.result();
}

const dbFrom = (app: string) =>
  policy("db", {
    endpointSelector: { matchLabels: { app: "db" } },
    ingress: [{ fromEndpoints: [{ matchLabels: { app } }], toPorts: [{ ports: [{ port: "5432" }] }] }],
  });

test("what was allowed and would be denied is a loss, the other way round a gain; both are counted and explained", () => {
  const is = world(dbFrom("job"));
  const { web, db, job } = ends(is);
  const lines = [
    flowLine(web, db, "5432/TCP", "ingress", "FORWARDED", { ingress_allowed_by: [{ kind: "K", name: "n" }] }),
    flowLine(web, db, "5432/TCP", "ingress", "FORWARDED"),
    flowLine(job, db, "5432/TCP", "ingress", "DROPPED"),
  ];
  const { changes, judged, changed } = replay(is, lines);
  assert.deepEqual([judged, changed], [3, 3]);
  assert.deepEqual(
    changes.map(({ kind, from, to, port, count, before }) => ({ kind, from, to, port, count, rules: before.rules })),
    [
      { kind: "loss", from: "default/web", to: "default/db", port: "tcp/5432", count: 2, rules: ["K n"] },
      { kind: "gain", from: "default/job", to: "default/db", port: "tcp/5432", count: 1, rules: [] },
    ],
  );
  assert.match(changes[0]!.after.reasons.join("\n"), /db\.yaml spec\).*\n.*expected app=job, found k8s:app=web/);
  assert.equal(changes[1]!.after.rules[0]?.place, "db.yaml spec.ingress[0]");
});

test("a direction of which nothing was recorded is judged, too", () => {
  const is = world(dbFrom("job"));
  const { web, db } = ends(is);
  const { changes } = replay(is, [flowLine(web, db, "5432/TCP", "egress", "FORWARDED")]);
  assert.deepEqual(
    changes.map(({ kind, direction }) => [kind, direction]),
    [["loss", "ingress"]],
  );
  // Its drop is on record: then nothing changes.
  const known = [
    flowLine(web, db, "5432/TCP", "egress", "FORWARDED"),
    flowLine(web, db, "5432/TCP", "ingress", "DROPPED"),
  ];
  assert.deepEqual(replay(is, known).changes, []);
});

test("what one side would let through and the other would not goes on being denied", () => {
  const is = world(dbFrom("job"));
  const { web, db } = ends(is);
  assert.deepEqual(replay(is, [flowLine(web, db, "5432/TCP", "egress", "DROPPED")]).changes, []);
});

const leaves: readonly (readonly [name: string, reason: string, line: (of: World) => string])[] = [
  ["text that is no JSON", "unreadable", () => "{"],
  ["an event of another kind", "other-event", () => '{"node_status":{}}'],
  ["a note of lost events", "lost", () => '{"lost_events":{"num_events_lost":"7"}}'],
  [
    "reply traffic",
    "reply",
    (of) => flowLine(ends(of).db, ends(of).web, "4/TCP", "egress", "FORWARDED", { is_reply: true }),
  ],
  [
    "a SYN-ACK that was dropped",
    "reply",
    (of) =>
      flowLine(ends(of).db, ends(of).web, "4/TCP", "egress", "DROPPED", {
        is_reply: null,
        l4: { TCP: { destination_port: 4, flags: { SYN: true, ACK: true } } },
      }),
  ],
  [
    "a drop that is no policy's",
    "other-reason",
    (of) =>
      flowLine(ends(of).web, ends(of).db, "4/TCP", "egress", "DROPPED", {
        drop_reason_desc: "CT_MAP_INSERTION_FAILED",
      }),
  ],
  [
    "a sighting before any verdict",
    "no-verdict",
    (of) =>
      flowLine(ends(of).web, ends(of).db, "4/TCP", "egress", "FORWARDED", { trace_observation_point: "FROM_ENDPOINT" }),
  ],
  [
    "a flow without a direction",
    "no-direction",
    (of) =>
      flowLine(ends(of).web, ends(of).db, "4/TCP", "egress", "FORWARDED", {
        traffic_direction: "TRAFFIC_DIRECTION_UNKNOWN",
      }),
  ],
  [
    "a flow without ports",
    "no-transport",
    (of) => flowLine(ends(of).web, ends(of).db, "4/TCP", "egress", "FORWARDED", { l4: undefined }),
  ],
  [
    "an end without labels",
    "no-labels",
    (of) => flowLine({ labels: [], address: "10.0.0.9" }, ends(of).db, "4/TCP", "ingress", "FORWARDED"),
  ],
  [
    "the world without an address",
    "no-address",
    (of) => flowLine(worldEnd(""), ends(of).db, "4/TCP", "ingress", "FORWARDED"),
  ],
  [
    "ingress of the host",
    "no-subject",
    (of) => flowLine(ends(of).web, { labels: ["reserved:host"], address: "10.0.0.1" }, "4/TCP", "ingress", "FORWARDED"),
  ],
];
for (const [name, reason, line] of leaves)
  test(`${name} is not judged, and said to be left: ${reason}`, () => {
    const is = world();
    const { unjudged, judged, changes } = replay(is, [line(is)]);
    assert.deepEqual(
      unjudged.map((one) => one.reason),
      [reason],
    );
    assert.deepEqual([judged, changes], [0, []]);
    if (reason === "lost") assert.equal(unjudged[0]!.count, 7);
  });

test("an end without labels is known by the name of its pod", () => {
  const is = world(dbFrom("job"));
  const { db } = ends(is);
  const nameless = { labels: [], namespace: "default", pod_name: "web", address: "10.0.0.7" };
  assert.equal(replay(is, [flowLine(nameless, db, "5432/TCP", "ingress", "FORWARDED")]).changes.length, 1);
});

test("the world is judged by its address, as the narrowest prefix that policies name", () => {
  const is = world(
    policy("web", { endpointSelector: { matchLabels: { app: "web" } }, ingress: [{ fromCIDR: ["192.0.2.0/24"] }] }),
  );
  const { web } = ends(is);
  const lines = ["192.0.2.7", "198.51.100.1"].map((ip) =>
    flowLine(worldEnd(ip), web, "80/TCP", "ingress", "FORWARDED"),
  );
  assert.deepEqual(
    replay(is, lines).changes.map(({ kind, from }) => [kind, from]),
    [["loss", "world"]],
  );
});

const apiRules = policy("web", {
  endpointSelector: { matchLabels: { app: "web" } },
  ingress: [
    {
      fromEndpoints: [{}],
      toPorts: [{ ports: [{ port: "80", protocol: "TCP" }], rules: { http: [{ method: "GET" }] } }],
    },
  ],
});
const onlyGet: RequestJudge = (_set, _direction, _peer, _port, { method }) => ({
  allowed: method === "GET",
  rules: [{ kind: "CiliumNetworkPolicy", namespace: "default", name: "web", path: "spec.ingress[0]" }],
  reason: "method",
});

test("requests are judged one by one; connections whose requests are not recorded can't be", () => {
  const is = world(apiRules);
  const { web, job } = ends(is);
  const [get, post] = ["GET", "POST"].map((method) =>
    flowLine(job, web, "80/TCP", "ingress", "FORWARDED", request(method, "http://web/x?y=1")),
  );
  const connection = flowLine(job, web, "80/TCP", "ingress", "FORWARDED");
  const { changes, unjudged } = replay(is, [get!, post!, connection], onlyGet);
  assert.deepEqual(
    changes.map((one) => [one.kind, one.request]),
    [["loss", "POST /x?y=1"]],
  );
  assert.deepEqual(unjudged, []);
  assert.deepEqual(
    replay(is, [connection], onlyGet).unjudged.map(({ reason }) => reason),
    ["no-requests"],
  );
});

test("where rules ask for headers, a request without recorded ones is not judged by guesses", () => {
  const rules = { http: [{ headers: ["X-Token: 1"] }] };
  const spec = {
    endpointSelector: { matchLabels: { app: "web" } },
    ingress: [{ toPorts: [{ ports: [{ port: "80", protocol: "TCP" }], rules }] }],
  };
  const is = world(policy("web", spec));
  const { web, job } = ends(is);
  const line = flowLine(job, web, "80/TCP", "ingress", "FORWARDED", request("GET", "/x"));
  const refusing: RequestJudge = () => ({ allowed: false, rules: [] });
  assert.deepEqual(
    replay(is, [line], refusing).unjudged.map(({ reason }) => reason),
    ["no-headers"],
  );
});

test("memory is bounded: kinds beyond the limit are counted", () => {
  const is = world(dbFrom("job"));
  const { web, db } = ends(is);
  const all = createReplay(is, { judge: admitRequests, maxChanges: 10, maxConnections: 20 });
  for (let port = 1; port <= 500; port++) all.addLine(flowLine(web, db, `${port}/TCP`, "ingress", "FORWARDED"));
  const { changes, changed, unlisted } = all.result();
  assert.deepEqual([changes.length, changed, unlisted], [10, 500, 490]);
});

test("answers of the observer and flows as such are read alike", () => {
  const { web, db } = ends(world());
  const line = flowLine(web, db, "80/TCP", "egress", "FORWARDED");
  assert.deepEqual(readFlowLine(line), readFlowLine(JSON.stringify(JSON.parse(line).flow)));
  assert.equal(readFlowLine("  "), undefined);
});

for (let seed = 1; seed <= 40; seed++)
  test(`what a world recorded it does not change, and another world exactly where it judges otherwise (seed ${seed})`, () => {
    const [objects, others] = [randomObjects(seed), randomObjects(seed + 1000)];
    const isPolicy = ({ object }: { readonly object: unknown }) => (object as { kind: string }).kind !== "Pod";
    const was = createWorld(objects);
    const is = createWorld([...objects.filter((one) => !isPolicy(one)), ...others.filter(isPolicy)]);
    for (const from of was.groups)
      for (const to of was.groups)
        for (const port of [53, 80, 443, 8080]) {
          const lines = recordConnection(was, from, to, port);
          const outcome = (of: World) => combine(judgeConnection(of, from, to, 6, port));
          const label = `${from.name} to ${to.name}:${port}`;
          const kinds = (of: World) => [...new Set(replay(of, lines).changes.map(({ kind }) => kind))];
          assert.deepEqual(kinds(was), [], label);
          const [before, after] = [outcome(was) !== "denied", outcome(is) !== "denied"];
          assert.deepEqual(kinds(is), before === after ? [] : [after ? "gain" : "loss"], label);
        }
  });
