import assert from "node:assert/strict";
import { test } from "node:test";
import { createWorld, type RequestJudge } from "#control/workbench";
import { pod, policy } from "#control/workbench/testing";
import { type ExpectationError, expectIn } from "./expectation.ts";
import { formatJunit, formatTap } from "./report.ts";
import { parseTestFile, runTests } from "./test-file.ts";

const onlyGet: RequestJudge = (_set, _direction, _peer, _port, { method }) => ({
  allowed: method === "GET",
  rules: [
    {
      kind: "CiliumNetworkPolicy",
      namespace: "default",
      name: "web",
      path: "spec.ingress[0].toPorts[0].rules.http[0]",
    },
  ],
});
const world = createWorld([
  pod("web", { app: "web" }, "http:80/TCP"),
  pod("db", { app: "db" }, "5432"),
  pod("job", { app: "job" }),
  policy("db", {
    endpointSelector: { matchLabels: { app: "db" } },
    ingress: [
      { fromEndpoints: [{ matchLabels: { app: "web" } }], toPorts: [{ ports: [{ port: "5432", protocol: "TCP" }] }] },
    ],
  }),
  policy("web", {
    endpointSelector: { matchLabels: { app: "web" } },
    ingress: [{ toPorts: [{ ports: [{ port: "80", protocol: "TCP" }], rules: { http: [{ method: "GET" }] } }] }],
  }),
  policy("never", {
    endpointSelector: { matchLabels: { app: "job" } },
    enableDefaultDeny: { egress: false },
    egressDeny: [{ toEndpoints: [{ matchLabels: { app: "web" } }] }],
  }),
]);
const expectation = expectIn(world, onlyGet);

test("what is as expected says nothing", () => {
  const toDb = expectation.to({ app: "db" }).on("5432/tcp");
  toDb.from({ app: "web" }).isAllowed();
  toDb.from({ app: "web" }).isAllowedBy("db");
  toDb.from("default/web").isAllowedBy("default/db");
  toDb.from({ app: "job" }).isDenied();
  toDb.from("world").isDeniedBy("db");
  expectation.from({ app: "job" }).to({ app: "web" }).on("http").isDeniedBy("never");
  expectation.from({ app: "db" }).to({ app: "web" }).on(80).http("GET", "/x").isAllowedBy("web");
  expectation.from({ app: "db" }).to({ app: "web" }).on(80).http("POST", "/x").isDeniedBy("web");
  expectation.from({ app: "web" }).to("world").on("icmp").isAllowed();
});

const failures: readonly (readonly [
  name: string,
  run: () => void,
  message: RegExp,
  expected: string,
  actual: string,
])[] = [
  [
    "a denial where an allow was expected",
    () => expectation.from({ app: "job" }).to({ app: "db" }).on(5432).isAllowed(),
    /^default\/job to default\/db: expected to be allowed, but it is denied\n[\s\S]*nearest:[\s\S]*expected app=web, found k8s:app=job[\s\S]*smallest policy that would allow it/,
    "allowed",
    "denied",
  ],
  [
    "an allow where a denial was expected",
    () => expectation.from({ app: "web" }).to({ app: "db" }).on(5432).isDenied(),
    /but it is allowed\n[\s\S]*allowed by CiliumNetworkPolicy default\/db spec\.ingress\[0\] \(db\.yaml spec\.ingress\[0\]\)/,
    "denied",
    "allowed",
  ],
  [
    "another policy",
    () => expectation.from({ app: "job" }).to({ app: "db" }).on(5432).isDeniedBy("web"),
    /expected to be denied by web, but it is by CiliumNetworkPolicy default\/db spec/,
    "web",
    "CiliumNetworkPolicy default/db spec",
  ],
  [
    "some requests where all were expected",
    () => expectation.from({ app: "db" }).to({ app: "web" }).on(80).isAllowed(),
    /some requests only: say which/,
    "allowed",
    "allowed for some requests",
  ],
];
for (const [name, run, message, expected, actual] of failures)
  test(`${name} fails with the explanation`, () => {
    assert.throws(run, (error: ExpectationError) => {
      assert.match(error.message, message);
      assert.deepEqual([error.code, error.expected, error.actual], ["ERR_ASSERTION", expected, actual]);
      return true;
    });
  });

test("what is missing or means nothing is a TypeError that says so", () => {
  assert.throws(() => expectation.to("db").on(80).isAllowed(), /say from whom/);
  assert.throws(() => expectation.from("web").to("db").isAllowed(), /say on which port/);
  assert.throws(() => expectation.from("web").to("db").on("http").isAllowed(), /has no tcp port named "http"/);
  assert.throws(() => expectation.from("wbe").to("db").on(80).isAllowed(), /did you mean default\/web\?/);
});

test("a step never changes the expectation that it was taken from", () => {
  const base = expectation.to({ app: "db" }).on(5432);
  base.from({ app: "job" });
  assert.throws(() => base.isAllowed(), /say from whom/);
});

const bad: readonly (readonly [name: string, value: unknown, path: string, message: RegExp])[] = [
  ["no map", [], "", /a test file is a map/],
  ["no tests", { manifests: "x" }, "tests", /there is no test/],
  [
    "a misspelt field",
    { tests: [{ from: "a", to: "b", onn: 80, on: 80, expect: "allowed" }] },
    "tests[0].onn",
    /no field "onn"/,
  ],
  [
    "an end without labels",
    { tests: [{ from: {}, to: "b", on: 80, expect: "allowed" }] },
    "tests[0].from",
    /at least one label/,
  ],
  ["no destination", { tests: [{ from: "a", on: 80, expect: "allowed" }] }, "tests[0]", /no "to"/],
  ["no expectation", { tests: [{ from: "a", to: "b", on: 80 }] }, "tests[0]", /no "expect"/],
  [
    "an unknown expectation",
    { tests: [{ from: "a", to: "b", on: 80, expect: "alowed" }] },
    "tests[0].expect",
    /found "alowed"/,
  ],
  [
    "a request that is none",
    { tests: [{ from: "a", to: "b", on: 80, http: "/x", expect: "denied" }] },
    "tests[0].http",
    /a method and a path/,
  ],
  [
    "headers without a request",
    { tests: [{ from: "a", to: "b", on: 80, headers: ["A: b"], expect: "denied" }] },
    "tests[0].headers",
    /go with http/,
  ],
];
for (const [name, value, path, message] of bad)
  test(`a test file with ${name} is not run, and the place is named`, () => {
    const { file, problems } = parseTestFile(value);
    assert.equal(file, undefined);
    assert.equal(problems[0]?.path, path);
    assert.match(problems[0]!.message, message);
  });

test("a test holds for each combination of ends and ports; results name file, line and failure", () => {
  const { file } = parseTestFile({
    tests: [
      { name: "db", from: ["web", { app: "job" }], to: "db", on: [5432, "80/tcp"], expect: "denied" },
      { from: "web", to: "nobody", on: 80, expect: "denied" },
    ],
  });
  const results = runTests(world, file!, onlyGet, "t.yaml", (path) => path.length);
  assert.deepEqual(
    results.map(({ name, ok }) => `${ok} ${name}`),
    [
      "false db (web to db 5432)",
      "true db (web to db 80/tcp)",
      "true db (app=job to db 5432)",
      "true db (app=job to db 80/tcp)",
      "false web to nobody 80 is denied",
    ],
  );
  assert.match(results[4]!.message!, /there is no workload default\/nobody/);
});

test("reports hold every result, and nothing breaks them", () => {
  const results = [
    { file: "a.yaml", line: 1, name: "fine", ok: true },
    { file: "a.yaml", line: 2, name: 'bad <&"> # 1', ok: false, message: "one\ntwo <\u0001>" },
  ];
  assert.equal(
    formatTap(results),
    'TAP version 14\n1..2\nok 1 - fine\nnot ok 2 - bad <&"> \\# 1\n  ---\n  at: "a.yaml:2"\n  message: |-\n    one\n    two <\u0001>\n  ...\n',
  );
  const junit = formatJunit(results);
  assert.match(junit, /<testsuite name="a\.yaml" tests="2" failures="1">/);
  assert.match(junit, /name="bad &lt;&amp;&quot;&gt; # 1"[\s\S]*<failure message="one">one\ntwo &lt;&gt;<\/failure>/);
});
