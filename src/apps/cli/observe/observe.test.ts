import assert from "node:assert/strict";
import { test } from "node:test";
import { Command } from "commander";
import type { Flow, FlowFilter, GetFlowsResponse } from "#contracts/hubble";
import { FilterBuilder, filterFlags } from "./flow-filters.ts";
import { registerObserve } from "./index.ts";
import { formatMoment, parseMoment } from "./moment.ts";
import { createFlowPrinter, type PrinterOptions } from "./printer.ts";
import { buildRequest } from "./request.ts";

/** Flags in their order; a flag without a value is alone. */
function filtersOf(...flags: readonly (readonly [string, string?])[]) {
  const builder = new FilterBuilder();
  for (const [flag, value = ""] of flags) flag === "not" ? builder.not() : builder.set(flag, value);
  return builder.build();
}

const lists: ReadonlyArray<
  readonly [string, readonly (readonly [string, string?])[], readonly FlowFilter[], (readonly FlowFilter[])?]
> = [
  ["nothing", [], []],
  ["a source", [["from-pod", "a"]], [{ source_pod: ["a"] }]],
  [
    "two values of a flag",
    [
      ["from-pod", "a"],
      ["from-pod", "b"],
    ],
    [{ source_pod: ["a", "b"] }],
  ],
  [
    "two flags",
    [
      ["from-pod", "a"],
      ["verdict", "dropped"],
    ],
    [{ source_pod: ["a"], verdict: [2] }],
  ],
  ["either end", [["pod", "a"]], [{ source_pod: ["a"] }, { destination_pod: ["a"] }]],
  [
    "either end and a flag that counts for both",
    [
      ["port", "80"],
      ["protocol", "tcp"],
    ],
    [
      { source_port: ["80"], protocol: ["tcp"] },
      { destination_port: ["80"], protocol: ["tcp"] },
    ],
  ],
  ["a namespace", [["namespace", "prod"]], [{ source_pod: ["prod/"] }, { destination_pod: ["prod/"] }]],
  [
    "pods within namespaces",
    [
      ["to-namespace", "x"],
      ["to-namespace", "y"],
      ["to-pod", "a"],
    ],
    [{ destination_pod: ["x/a", "y/a"] }],
  ],
  ["any namespace", [["from-all-namespaces"]], [{ source_pod: ["/"] }]],
  ["not", [["not"], ["verdict", "FORWARDED"], ["from-pod", "a"]], [{ source_pod: ["a"] }], [{ verdict: [1] }]],
  ["a reserved identity", [["from-identity", "world"]], [{ source_identity: [2] }]],
  ["identity 0", [["from-identity", "unknown"]], [{ source_identity: [0] }]],
  ["an event type", [["type", "drop"]], [{ event_type: [{ type: 1 }] }]],
  [
    "an event type with subtype",
    [["type", "trace:to-endpoint"]],
    [{ event_type: [{ type: 4, match_sub_type: true, sub_type: 0 }] }],
  ],
  ["TCP flags", [["tcp-flags", "syn,ACK"]], [{ tcp_flags: [{ SYN: true, ACK: true }] }]],
  ["IPv6", [["ipv6"]], [{ ip_version: [2] }]],
  ["a header", [["http-header", "a:b:c"]], [{ http_header: [{ key: "a", value: "b:c" }] }]],
  ["a workload", [["to-workload", "Job/x"]], [{ destination_workload: [{ kind: "Job", name: "x" }] }]],
  ["a drop reason", [["drop-reason-desc", "policy_denied"]], [{ drop_reason_desc: [133] }]],
  ["a direction", [["traffic-direction", "Egress"]], [{ traffic_direction: [2] }]],
];
for (const [name, flags, whitelist, blacklist = []] of lists) {
  test(`filter flags make the request's lists: ${name}`, () =>
    assert.deepEqual(filtersOf(...flags), { whitelist, blacklist }));
}

const wrong: ReadonlyArray<readonly [string, readonly (readonly [string, string?])[], RegExp]> = [
  ["an unknown verdict", [["verdict", "MAYBE"]], /--verdict does not know "MAYBE"; it knows FORWARDED, DROPPED/],
  ["an unknown reason", [["drop-reason-desc", "UNRECOGNIZED"]], /does not know/],
  ["an unknown type", [["type", "x"]], /--type does not know "x"/],
  ["an unknown subtype", [["type", "trace:x"]], /has no subtype "x"/],
  ["no identity", [["identity", "me"]], /no identity/],
  ["a trailing not", [["not"]], /no filter behind/],
  ["two nots", [["not"], ["not"]], /twice in a row/],
  [
    "a flag that contradicts another",
    [
      ["pod", "a"],
      ["from-pod", "b"],
    ],
    /--pod and --from-pod/,
  ],
  ["no TCP flag", [["tcp-flags", "syn,x"]], /"X"/],
  ["no direction", [["traffic-direction", "up"]], /--traffic-direction/],
];
for (const [name, flags, message] of wrong) {
  test(`a filter flag is refused: ${name}`, () => assert.throws(() => filtersOf(...flags), { code: "USAGE", message }));
}

test("--not with both ends excludes each of them", () =>
  assert.deepEqual(filtersOf(["not"], ["pod", "a"]).blacklist, [{ source_pod: ["a"] }, { destination_pod: ["a"] }]));

const none = () => new FilterBuilder();
const selections: ReadonlyArray<readonly [string, Parameters<typeof buildRequest>[0], Record<string, unknown>]> = [
  ["nothing: the last 20", {}, { number: 20n, follow: false, first: false }],
  ["follow: only new ones", { follow: true }, { number: 0n, follow: true }],
  ["follow with last", { follow: true, last: 5 }, { number: 5n, follow: true }],
  ["all", { all: true }, { number: 2n ** 64n - 1n }],
  ["first", { first: 3 }, { number: 3n, first: true }],
  ["since: no limit", { since: "2026-01-02T03:04:05Z" }, { number: 0n, since: { seconds: 1_767_323_045n, nanos: 0 } }],
  ["a raw filter", { allowlist: ['{"source_pod":["a/b"]}'] }, {}],
];
for (const [name, flags, expected] of selections) {
  test(`selection flags make the request: ${name}`, () => {
    const request = buildRequest(flags, none()) as Record<string, unknown>;
    for (const [field, value] of Object.entries(expected)) assert.deepEqual(request[field], value);
  });
}

const contradictions: ReadonlyArray<readonly [string, Parameters<typeof buildRequest>[0], RegExp]> = [
  ["first and last", { first: 1, last: 1 }, /--first and --last/],
  ["first and follow", { first: 1, follow: true }, /--first and --follow/],
  ["last and all", { last: 1, all: true }, /--last and --all/],
  ["no time", { since: "yesterday" }, /--since takes/],
  ["no JSON", { allowlist: ["{"] }, /--allowlist takes a filter as JSON/],
  ["an unknown field", { denylist: ['{"pod":["a"]}'] }, /no field "pod"/],
];
for (const [name, flags, message] of contradictions) {
  test(`selection flags are refused: ${name}`, () =>
    assert.throws(() => buildRequest(flags, none()), { code: "USAGE", message }));
}

const moments: ReadonlyArray<readonly [string, bigint]> = [
  ["3s", 997n],
  ["1m30s", 910n],
  ["1h", -2600n],
  ["1970-01-02", 86_400n],
  ["1970-01-01T01", -BigInt(new Date(1970, 0, 1, 1).getTimezoneOffset() * -60) + 3600n],
  ["1970-01-01T00:10:00+00:05", 300n],
];
for (const [text, seconds] of moments) {
  test(`a moment is read: ${text}`, () => assert.equal(parseMoment("--since", text, 1_000_000).seconds, seconds));
}

// ------------------------------------------------------------------------------------------------------------ printing

const time = { seconds: BigInt(Math.floor(new Date(2026, 10, 23, 10, 0, 0).getTime() / 1000)), nanos: 123_000_000 };
const denied: Flow = {
  time,
  verdict: 2,
  IP: { source: "10.217.0.2", destination: "10.217.0.3", ipVersion: 1 },
  l4: { protocol: { $case: "TCP", value: { source_port: 41234, destination_port: 3555, flags: { SYN: true } } } },
  source: { ID: 1, identity: 257, namespace: "default", pod_name: "client" },
  destination: { ID: 2, identity: 258, namespace: "default", pod_name: "server" },
  Type: 1,
  node_name: "node-1",
  event_type: { type: 5 },
  policy_match_type: 2,
  traffic_direction: 1,
  is_reply: false,
  ingress_denied_by: [{ name: "web", namespace: "default", kind: "CiliumNetworkPolicy" }],
  Summary: "TCP Flags: SYN",
  why: { sentence: "nothing allows it", hint: "allow tcp/3555" },
};
const print = (flow: Flow, options: Partial<PrinterOptions> = {}): string => {
  const response: GetFlowsResponse = { response_types: { $case: "flow", value: flow }, node_name: "node-1", time };
  const printer = createFlowPrinter({ format: "compact", colour: false, ...options });
  return printer.print(response) + printer.end();
};
const head = "Nov 23 10:00:00.123: ";
const why = "    nothing allows it\n    allow tcp/3555\n";
const world: Flow = { ...denied, why: {}, source: { identity: 9 }, IP: { source: "2001:db8::1", destination: "x" } };

const prints: ReadonlyArray<readonly [string, Flow, Partial<PrinterOptions>, string]> = [
  [
    "a denial whose hint is a policy",
    { ...denied, why: { sentence: "nothing allows it", hint: "to allow it, apply:\nkind: X\nspec:\n  a: b" } },
    {},
    `${head}default/client:41234 (ID:257) -> default/server:3555 (ID:258) policy-verdict:L3-L4 INGRESS DENIED (TCP Flags: SYN)\n    nothing allows it\n    to allow it, apply:\n    kind: X\n    spec:\n      a: b\n`,
  ],
  [
    "a denial, with its reason below",
    denied,
    {},
    `${head}default/client:41234 (ID:257) -> default/server:3555 (ID:258) policy-verdict:L3-L4 INGRESS DENIED (TCP Flags: SYN)\n${why}`,
  ],
  [
    "with node and policy names",
    denied,
    { nodeName: true, policyNames: true },
    `Nov 23 10:00:00.123 [node-1]: default/client:41234 (ID:257) -> default/server:3555 (ID:258) policy-verdict:L3-L4 INGRESS DENIED BY web (CiliumNetworkPolicy) (TCP Flags: SYN)\n${why}`,
  ],
  [
    "in numbers",
    { ...denied, why: {} },
    { numeric: true },
    `${head}10.217.0.2:41234 (ID:257) -> 10.217.0.3:3555 (ID:258) policy-verdict:L3-L4 INGRESS DENIED (TCP Flags: SYN)\n`,
  ],
  [
    "a reserved peer with an IPv6 address",
    world,
    {},
    `${head}[2001:db8::1]:41234 (world-ipv4) -> default/server:3555 (ID:258) policy-verdict:L3-L4 INGRESS DENIED (TCP Flags: SYN)\n`,
  ],
  [
    "an HTTP response, the client on the left",
    {
      time,
      verdict: 1,
      IP: { source: "10.217.0.3", destination: "10.217.0.2" },
      l4: { protocol: { $case: "TCP", value: { source_port: 3555, destination_port: 41234 } } },
      source: denied.destination!,
      destination: denied.source!,
      event_type: { type: 129 },
      is_reply: true,
      l7: { type: 2, record: { $case: "http", value: { code: 200 } } },
      Summary: "HTTP/1.1 200 1ms (GET http://server/)",
    },
    {},
    `${head}default/client:41234 (ID:257) <- default/server:3555 (ID:258) http-response FORWARDED (HTTP/1.1 200 1ms (GET http://server/))\n`,
  ],
  [
    "a drop of unknown direction, without ports",
    {
      time,
      verdict: 2,
      IP: { source: "1.1.1.1", destination: "2.2.2.2" },
      event_type: { type: 1, sub_type: 132 },
      Summary: "IPv4",
    },
    {},
    `${head}1.1.1.1 (unknown) <> 2.2.2.2 (unknown) Invalid source IP DROPPED (IPv4)\n`,
  ],
  [
    "what would steer the terminal is shown as a replacement character",
    {
      time,
      verdict: 1,
      IP: { source: "a", destination: "b" },
      event_type: { type: 4 },
      is_reply: false,
      Summary: "GET /\u001b[31m\n",
    },
    {},
    `${head}a (unknown) -> b (unknown) to-endpoint FORWARDED (GET /\ufffd[31m\ufffd)\n`,
  ],
  [
    "as key-value pairs",
    denied,
    { format: "dict" },
    "  TIMESTAMP: Nov 23 10:00:00.123\n     SOURCE: default/client:41234\nDESTINATION: default/server:3555\n" +
      "       TYPE: policy-verdict:L3-L4 INGRESS\n    VERDICT: DENIED\n    SUMMARY: TCP Flags: SYN\n" +
      "        WHY: nothing allows it\n             allow tcp/3555\n",
  ],
  [
    "as a table",
    { ...denied, why: {} },
    { format: "table" },
    "TIMESTAMP             SOURCE                 DESTINATION           TYPE                           VERDICT   SUMMARY\n" +
      "Nov 23 10:00:00.123   default/client:41234   default/server:3555   policy-verdict:L3-L4 INGRESS   DENIED    TCP Flags: SYN\n",
  ],
];
for (const [name, flow, options, text] of prints) {
  test(`a flow is printed ${name}`, () => assert.equal(print(flow, options), text));
}

test("colours are for verdicts, hosts, ports and identities", () => {
  const text = print(denied, { colour: true });
  assert.ok(text.includes("\u001b[31mDENIED\u001b[39m"));
  assert.ok(text.includes("\u001b[36mdefault/client\u001b[39m:\u001b[33m41234\u001b[39m"));
});

test("json is one object a line, as hubble prints it", () => {
  const lines = print(denied, { format: "json" }).split("\n");
  assert.equal(lines.length, 2);
  const { flow, node_name: node } = JSON.parse(lines[0]!) as { flow: Record<string, unknown>; node_name: string };
  assert.deepEqual([node, flow.verdict, flow.Type], ["node-1", "DROPPED", "L3_L4"]);
});

test("lost events have a line of their own", () => {
  const lost = { source: 3 as const, num_events_lost: 7n };
  const response: GetFlowsResponse = { response_types: { $case: "lost_events", value: lost }, time };
  const printer = createFlowPrinter({ format: "compact", colour: false });
  assert.equal(printer.print(response), "Nov 23 10:00:00.123 EVENTS LOST: HUBBLE_RING_BUFFER 7\n");
});

test("a time can be shown in other formats", () => {
  assert.equal(formatMoment({ seconds: 0n, nanos: 5 }, "RFC3339"), "1970-01-01T00:00:00Z");
  assert.equal(formatMoment({ seconds: 0n, nanos: 5 }, "RFC3339Nano"), "1970-01-01T00:00:00.000000005Z");
  assert.equal(formatMoment(undefined), "N/A");
});

// ------------------------------------------------------------------------------------------------------------- command

test("every filter flag of the builder is a flag of the command, and the other way round", () => {
  const program = new Command();
  registerObserve(program);
  const [command] = program.commands;
  const taken = command!.options.map(({ long }) => long?.slice(2));
  for (const flag of filterFlags) assert.ok(taken.includes(flag), flag);
  const usage = command!.helpInformation();
  const start = usage.indexOf("Filters");
  const filters = usage.slice(usage.indexOf("\n", start), usage.indexOf("\nOutput:"));
  const shown = [...filters.matchAll(/^ +(?:-., )?--([-a-z0-9]+)/gm)].map(([, flag]) => flag!);
  assert.deepEqual(
    shown.filter((flag) => !["not", "allowlist", "denylist"].includes(flag)).sort(),
    [...filterFlags].sort(),
  );
});

test("without an agent the command says where it looked and what to do", async () => {
  const program = new Command();
  registerObserve(program);
  const path = `/tmp/tsilium-no-observer-${process.pid}.sock`;
  await assert.rejects(program.parseAsync(["observe", "--server", path], { from: "user" }), {
    code: "AGENT_NOT_RUNNING",
    message: `no observer answers at ${path}; start the node with \`sudo tsilium up\`, or name another server with --server`,
  });
});

test("filter flags count in the order of the command line", async () => {
  const program = new Command();
  registerObserve(program);
  await assert.rejects(program.parseAsync(["observe", "--not", "--not", "--pod", "a"], { from: "user" }), {
    code: "USAGE",
    message: /twice in a row/,
  });
  await assert.rejects(
    (() => {
      const other = new Command();
      registerObserve(other);
      return other.parseAsync(["observe", "--pod", "a", "--not"], { from: "user" });
    })(),
    { code: "USAGE", message: /no filter behind/ },
  );
});
