import assert from "node:assert/strict";
import { test } from "node:test";
import { decide } from "#control/policy";
import { protocolNumbers } from "#core/model";
import {
  classifyPorts,
  createMatrix,
  createWorld,
  describeCell,
  diffWorlds,
  formatPortClass,
  joinWorlds,
} from "./index.ts";
import { pod, policy, randomObjects } from "./testing.ts";

const pods = [
  pod("front", { app: "front" }, "8080"),
  pod("back", { app: "back" }, "9000"),
  pod("db", { app: "db" }, "5432"),
];
const toPorts = (port: string, http?: readonly object[]) => [
  { ports: [{ port, protocol: "TCP" }], ...(http === undefined ? {} : { rules: { http } }) },
];
const from = (app: string) => [{ matchLabels: { app } }];
const db = policy("db", {
  endpointSelector: { matchLabels: { app: "db" } },
  ingress: [{ fromEndpoints: from("back"), toPorts: toPorts("5432") }],
});
const requests = (...methods: string[]) =>
  policy("back", {
    endpointSelector: { matchLabels: { app: "back" } },
    ingress: [
      {
        fromEndpoints: from("front"),
        toPorts: toPorts(
          "9000",
          methods.map((method) => ({ method })),
        ),
      },
    ],
  });

function table(objects: Parameters<typeof createWorld>[0]): string[][] {
  const [matrix] = joinWorlds([createMatrix(createWorld(objects))]);
  const names = matrix!.parties.map(({ name }) => name);
  return [
    ["", ...names],
    ...matrix!.cells.map((row, i) => [
      names[i]!,
      ...row.map((cell) => (cell === undefined ? "" : describeCell(cell) || "-")),
    ]),
  ];
}

test("the matrix says who reaches whom on which ports", () => {
  assert.deepEqual(table([...pods, db, requests("GET")]), [
    ["", "back", "db", "front", "host", "world"],
    ["back", "-", "5432/TCP", "all", "all", "all"],
    ["db", "-", "-", "all", "all", "all"],
    ["front", "9000/TCP (HTTP)", "-", "all", "all", "all"],
    ["host", "all", "all", "all", "", ""],
    ["world", "-", "-", "all", "", ""],
  ]);
});

test("prefixes and entities that policies name have rows of their own", () => {
  const egress = policy("e", {
    endpointSelector: { matchLabels: { app: "front" } },
    egress: [{ toCIDRSet: [{ cidr: "10.0.0.0/8", except: ["10.9.0.0/16"] }] }, { toEntities: ["kube-apiserver"] }],
  });
  const [head = [], ...rows] = table([...pods, egress]);
  assert.deepEqual(head.slice(4), ["host", "kube-apiserver", "world", "10.0.0.0/8", "10.9.0.0/16"]);
  assert.deepEqual(rows.find(([name]) => name === "front")!.slice(4), ["-", "all", "-", "all", "-"]);
});

test("the world is split where policies tell its families apart", () => {
  const v4 = policy("v4", { endpointSelector: {}, ingress: [{ fromCIDR: ["0.0.0.0/0"] }] });
  const [head = []] = table([...pods, v4]);
  assert.deepEqual(head.slice(4), ["host", "world-ipv4", "world-ipv6"]);
});

test("ports fall into the classes that rules tell apart", () => {
  const ranges = policy("r", {
    endpointSelector: {},
    ingress: [
      {
        toPorts: [
          {
            ports: [
              { port: "80", endPort: 90, protocol: "TCP" },
              { port: "85", endPort: 95, protocol: "TCP" },
              { port: "1", protocol: "TCP" },
            ],
          },
        ],
      },
      { icmps: [{ fields: [{ family: "IPv4", type: 8 }] }] },
    ],
  });
  assert.deepEqual(classifyPorts([createWorld([ranges])]).map(formatPortClass), [
    "ICMP 8",
    "other ICMP",
    "1/TCP",
    "80-84/TCP",
    "85-90/TCP",
    "91-95/TCP",
    "other TCP",
    "other UDP",
  ]);
});

const noDb = policy("db", { endpointSelector: { matchLabels: { app: "db" } }, ingress: [{}] });
const anyDb = policy("db", {
  endpointSelector: { matchLabels: { app: "db" } },
  ingress: [{ fromEntities: ["all"], toPorts: toPorts("5432") }],
});
const changes: readonly (readonly [
  name: string,
  before: readonly object[],
  after: readonly object[],
  says: string[],
])[] = [
  ["nothing", [db], [db], []],
  ["a closed port", [db], [noDb], ["back loses db:5432/TCP"]],
  ["a port for anyone", [noDb], [anyDb], ["everyone but host gains db:5432/TCP"]],
  ["a first policy", [], [noDb], ["everyone but host loses db on every port"]],
  [
    "requests",
    [requests("GET", "PUT")],
    [requests("GET", "POST")],
    ["front loses back:9000/TCP for PUT any path", "front gains back:9000/TCP for POST any path"],
  ],
  [
    "a port narrowed to requests",
    [
      policy("back", {
        endpointSelector: { matchLabels: { app: "back" } },
        ingress: [{ fromEndpoints: from("front"), toPorts: toPorts("9000") }],
      }),
    ],
    [requests("GET")],
    ["front loses back:9000/TCP for all but GET any path"],
  ],
];
for (const [name, before, after, says] of changes)
  test(`the difference in words: ${name}`, () => {
    const all = (own: readonly object[]) => [...pods, ...own] as Parameters<typeof diffWorlds>[0];
    assert.deepEqual(
      diffWorlds(all(before), all(after)).sentences.map(({ text }) => text),
      says,
    );
  });

test("workloads that come and go are named, and are no gain or loss", () => {
  const diff = diffWorlds([...pods, db], [pods[0]!, pods[2]!, pod("new", { app: "new" }), db]);
  assert.deepEqual([diff.appeared, diff.vanished, diff.changes], [["new"], ["back"], []]);
});

test("a prefix that only the new policies name shows what it gains", () => {
  const cidr = (prefix: string) =>
    policy("c", { endpointSelector: { matchLabels: { app: "db" } }, ingress: [{ fromCIDR: [prefix] }] });
  const { sentences } = diffWorlds([...pods, cidr("10.0.0.0/8")], [...pods, cidr("10.1.0.0/16")]);
  assert.deepEqual(
    sentences.map(({ text }) => text),
    ["10.0.0.0/8 loses db on every port"],
  );
});

const seed = Number(process.env.TSILIUM_SEED ?? Date.now() % 2 ** 32);
test(`every cell is what decide() says, on every port, in random worlds (seed ${seed})`, () => {
  for (let n = 0; n < 25; n++) {
    const world = createWorld(randomObjects(seed + n));
    const { parties, cells } = createMatrix(world);
    for (const [i, from] of parties.entries())
      for (const [j, to] of parties.entries())
        for (const { port, outcome } of cells[i]![j] ?? []) {
          const probes =
            port.protocol === protocolNumbers.TCP
              ? [port.first, port.last, (port.first + port.last) >> 1]
              : [port.first];
          for (const probe of probes) {
            const open = [
              from.namespace === undefined ||
                decide(world.engine.policyOf(from.identity)!, "egress", to.identity, port.protocol, probe).verdict !==
                  "DROPPED",
              to.namespace === undefined ||
                decide(world.engine.policyOf(to.identity)!, "ingress", from.identity, port.protocol, probe).verdict !==
                  "DROPPED",
            ];
            assert.equal(
              outcome !== "denied",
              open.every(Boolean),
              `${n} ${from.name} ${to.name} ${formatPortClass(port)}`,
            );
          }
        }
  }
});

test(`nothing differs from itself, and losses one way are gains the other, in random worlds (seed ${seed})`, () => {
  for (let n = 0; n < 15; n++) {
    const [a, b] = [randomObjects(seed + n), randomObjects(seed + n + 1)];
    assert.deepEqual(diffWorlds(a, a).changes, []);
    const key =
      (kind: string) =>
      (one: { kind: string; from: string; to: string; port: Parameters<typeof formatPortClass>[0] }) =>
        one.kind === kind ? [`${one.from} ${one.to} ${formatPortClass(one.port)}`] : [];
    // Other policies about the same workloads.
    const pods = a.filter(({ object }) => (object as { kind: string }).kind === "Pod");
    const others = b.filter(({ object }) => (object as { kind: string }).kind !== "Pod");
    const there = diffWorlds(a, [...pods, ...others]).changes;
    const back = diffWorlds([...pods, ...others], a).changes;
    assert.deepEqual(there.flatMap(key("gain")).sort(), back.flatMap(key("loss")).sort());
  }
});
