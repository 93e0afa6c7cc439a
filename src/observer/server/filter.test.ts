import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Flow, FlowFilter } from "#contracts/hubble";
import { compileFieldMask } from "./field-mask.ts";
import { compileFilters } from "./filter.ts";
import { parseLabelSelector } from "./label-selector.ts";

const flow: Flow = {
  uuid: "u-1",
  verdict: 2,
  drop_reason_desc: 133,
  IP: { source: "10.217.0.2", destination: "fd10::3", ipVersion: 1 },
  l4: {
    protocol: { $case: "TCP", value: { source_port: 41234, destination_port: 80, flags: { SYN: true, ACK: true } } },
  },
  source: {
    ID: 1,
    identity: 1001,
    namespace: "default",
    pod_name: "client-1",
    labels: ["k8s:app=client", "k8s:tier=3", "reserved:host"],
    workloads: [{ name: "client", kind: "Deployment" }],
  },
  destination: { identity: 1002, namespace: "prod", pod_name: "server", labels: ["k8s:app=server"] },
  destination_names: ["www.example.com"],
  node_name: "node-1",
  event_type: { type: 5 },
  traffic_direction: 1,
  is_reply: false,
  interface: { index: 12, name: "tsl1" },
};
const http: Flow = {
  verdict: 1,
  event_type: { type: 129 },
  is_reply: true,
  l4: { protocol: { $case: "TCP", value: {} } },
  l7: {
    type: 2,
    record: {
      $case: "http",
      value: { code: 404, method: "GET", url: "http://server/page/12%20a?x=1", protocol: "HTTP/1.1" },
    },
  },
};
const drop: Flow = { verdict: 2, drop_reason_desc: 132, event_type: { type: 1, sub_type: 132 } };

const rows: ReadonlyArray<readonly [string, FlowFilter, Flow, boolean]> = [
  ["an empty filter", {}, flow, true],
  ["the source's address", { source_ip: ["10.217.0.2"] }, flow, true],
  ["another address", { source_ip: ["10.217.0.3"] }, flow, false],
  ["an address written long", { destination_ip: ["fd10:0:0::3"] }, flow, true],
  ["a prefix", { source_ip: ["10.217.0.0/16"] }, flow, true],
  ["a prefix of the other family", { source_ip: ["::/0"] }, flow, false],
  ["one of several values", { source_ip: ["1.1.1.1", "10.217.0.0/24"] }, flow, true],
  ["an address where there is none", { source_ip: ["0.0.0.0/0"] }, drop, false],
  ["a pod of namespace default by its prefix", { source_pod: ["client"] }, flow, true],
  ["a pod that is in another namespace", { destination_pod: ["server"] }, flow, false],
  ["a pod with its namespace", { destination_pod: ["prod/ser"] }, flow, true],
  ["a namespace", { destination_pod: ["prod/"] }, flow, true],
  ["a pod of any namespace", { destination_pod: ["/server"] }, flow, true],
  ["a pod where there is none", { source_pod: ["/"] }, drop, false],
  ["two fields that both match", { source_pod: ["client"], verdict: [2] }, flow, true],
  ["two fields, one of which does not match", { source_pod: ["client"], verdict: [1] }, flow, false],
  ["a label", { source_label: ["app=client"] }, flow, true],
  ["a label with its source", { source_label: ["k8s:app=client"] }, flow, true],
  ["a label of another source", { source_label: ["reserved:app=client"] }, flow, false],
  ["a label that is there", { source_label: ["reserved:host"] }, flow, true],
  ["all requirements of a selector", { source_label: ["app in (a, client), tier notin (1,2), !x"] }, flow, true],
  ["a selector of which one requirement fails", { source_label: ["app=client,tier=4"] }, flow, false],
  ["inequality with an absent key", { destination_label: ["tier!=1"] }, flow, true],
  ["greater than", { source_label: ["tier > 2"] }, flow, true],
  ["an identity", { destination_identity: [1, 1002] }, flow, true],
  ["a port", { destination_port: ["80"] }, flow, true],
  ["the other side's port", { source_port: ["80"] }, flow, false],
  ["a drop reason", { drop_reason_desc: [133] }, flow, true],
  ["protocol tcp", { protocol: ["UDP", "tcp"] }, flow, true],
  ["protocol icmp", { protocol: ["icmp"] }, flow, false],
  ["protocol http", { protocol: ["http"] }, http, true],
  ["a reply", { reply: [true] }, http, true],
  ["not a reply", { reply: [false] }, flow, true],
  ["an unknown reply of a drop counts as none", { reply: [false] }, drop, true],
  ["TCP flags that are all set", { tcp_flags: [{ SYN: true, ACK: true }] }, flow, true],
  ["TCP flags of which one is not set", { tcp_flags: [{ SYN: true, FIN: true }] }, flow, false],
  ["a node by a pattern", { node_name: ["node-*"] }, flow, true],
  ["a node of a cluster", { node_name: ["default/node-1"] }, flow, true],
  ["a node of another cluster", { node_name: ["prod/"] }, flow, false],
  ["an IP version", { ip_version: [1] }, flow, true],
  ["a DNS name by a pattern", { destination_fqdn: ["*.example.com."] }, flow, true],
  ["a DNS name only in part", { destination_fqdn: ["example.com"] }, flow, false],
  ["a direction", { traffic_direction: [1] }, flow, true],
  ["a uuid", { uuid: ["u-1"] }, flow, true],
  ["an interface", { interface: [{ name: "tsl1" }] }, flow, true],
  ["a workload", { source_workload: [{ name: "client" }] }, flow, true],
  ["a workload of another kind", { source_workload: [{ name: "client", kind: "Job" }] }, flow, false],
  ["an event type", { event_type: [{ type: 129 }] }, http, true],
  ["a subtype", { event_type: [{ type: 1, match_sub_type: true, sub_type: 132 }] }, drop, true],
  ["another subtype", { event_type: [{ type: 1, match_sub_type: true, sub_type: 133 }] }, drop, false],
  ["a denied verdict as a drop", { event_type: [{ type: 1, match_sub_type: true, sub_type: 133 }] }, flow, true],
  ["a status", { http_status_code: ["404"] }, http, true],
  ["a status by its first digit", { http_status_code: ["4+"] }, http, true],
  ["another status", { http_status_code: ["5+", "400"] }, http, false],
  ["a method, whatever its case", { http_method: ["get"] }, http, true],
  ["a path, decoded and without the query", { http_path: ["^/page/\\d+ a$"] }, http, true],
  ["a URL", { http_url: ["server/page"] }, http, true],
  ["HTTP fields of a flow that is none", { http_path: [".*"] }, flow, false],
];
for (const [name, filter, of, expected] of rows) {
  test(`a filter on ${name} ${expected ? "matches" : "does not match"}`, () => {
    assert.equal(compileFilters([filter], [])(of), expected);
    assert.equal(compileFilters([], [filter])(of), !expected);
  });
}

const refused: ReadonlyArray<readonly [string, FlowFilter, RegExp]> = [
  ["no address", { source_ip: ["x"] }, /"x" is no address/],
  ["no prefix", { source_ip: ["1.1.1.1/33"] }, /is no prefix/],
  ["an empty name", { source_pod: [""] }, /must not be empty/],
  ["no selector", { source_label: ["a b"] }, /no label requirement/],
  ["no port", { source_port: ["65536"] }, /no port/],
  ["no protocol", { protocol: ["tpc"] }, /no protocol/],
  ["no status", { http_status_code: ["6+"] }, /neither a status/],
  ["no regular expression", { http_path: ["("] }, /invalid http path/],
  ["HTTP fields with other event types", { http_method: ["GET"], event_type: [{ type: 1 }] }, /must have the type l7/],
  ["no node name", { node_name: ["a/b/c"] }, /more than one slash/],
  ["no DNS name", { source_fqdn: ["a b"] }, /which no name can/],
  ["a CEL expression", { experimental: { cel_expression: ["true"] } }, /not supported/],
];
for (const [name, filter, message] of refused) {
  test(`a filter with ${name} is refused`, () =>
    assert.throws(() => compileFilters([filter], []), { code: "BAD_FLOW_FILTER", message }));
}

test("a filter that was decoded has empty lists, which restrict nothing", () => {
  const decoded = FlowFilter.decode(FlowFilter.encode({ verdict: [2] }).finish());
  assert.equal(compileFilters([decoded], [])(flow), true);
});

test("label selectors tell what they can't read", () => {
  assert.match(parseLabelSelector("a in b") as string, /no label requirement/);
  assert.match(parseLabelSelector("a > x") as string, /no integer/);
});

test("a field mask keeps the named fields, through lists and oneofs", () => {
  const mask = compileFieldMask(["source.identity", "l4.TCP.flags", "verdict", "source.workloads.name"])!;
  assert.deepEqual(mask(flow), {
    verdict: 2,
    l4: { protocol: { $case: "TCP", value: { flags: { SYN: true, ACK: true } } } },
    source: { identity: 1001, workloads: [{ name: "client" }] },
  });
  assert.deepEqual(compileFieldMask(["l4.UDP"])!(flow), { l4: {} });
  assert.equal(compileFieldMask([]), undefined);
});

// ------------------------------------------------------------------------------------------- against a naive evaluator

const address = fc.constantFrom("10.0.0.1", "10.0.0.2", "10.0.1.1", "fd00::1");
const name = fc.constantFrom("a", "ab", "b");
const namespace = fc.constantFrom("default", "prod");
const some = <T>(values: fc.Arbitrary<T>): fc.Arbitrary<T[] | undefined> =>
  fc.option(fc.array(values, { minLength: 1, maxLength: 2 }), { nil: undefined });

const anyFlow: fc.Arbitrary<Flow> = fc.record({
  verdict: fc.constantFrom(1, 2, 5) as fc.Arbitrary<1 | 2 | 5>,
  IP: fc.record({ source: address, destination: address, ipVersion: fc.constantFrom(1 as const, 2 as const) }),
  l4: fc.record({
    protocol: fc.record({
      $case: fc.constantFrom("TCP" as const, "UDP" as const),
      value: fc.record({ source_port: fc.constantFrom(1, 2), destination_port: fc.constantFrom(1, 2) }),
    }),
  }) as fc.Arbitrary<NonNullable<Flow["l4"]>>,
  source: fc.record({ namespace, pod_name: name, identity: fc.constantFrom(1, 2) }),
  destination: fc.record({ namespace, pod_name: name, identity: fc.constantFrom(1, 2) }),
  traffic_direction: fc.constantFrom(1 as const, 2 as const),
  is_reply: fc.option(fc.boolean(), { nil: undefined }),
});
const anyFilter = fc.record({
  verdict: some(fc.constantFrom(1, 2, 5) as fc.Arbitrary<1 | 2 | 5>),
  source_ip: some(fc.oneof(address, fc.constant("10.0.0.0/24"))),
  destination_port: some(fc.constantFrom("1", "2")),
  source_pod: some(fc.constantFrom("a", "prod/", "/ab", "default/b")),
  destination_identity: some(fc.constantFrom(1, 2)),
  protocol: some(fc.constantFrom("tcp", "udp")),
  reply: some(fc.boolean()),
});

function naive(filter: Record<string, readonly unknown[] | undefined>, of: Flow): boolean {
  const l4 = of.l4!.protocol as { $case: string; value: { destination_port: number } };
  const holds: Record<string, (value: never) => boolean> = {
    verdict: (v: number) => v === of.verdict,
    source_ip: (v: string) => (v.endsWith("/24") ? of.IP!.source!.startsWith("10.0.0.") : v === of.IP!.source),
    destination_port: (v: string) => Number(v) === l4.value.destination_port,
    source_pod: (v: string) => {
      const [ns, pod] = v.includes("/") ? v.split("/") : ["default", v];
      return (ns === "" || ns === of.source!.namespace) && of.source!.pod_name!.startsWith(pod!);
    },
    destination_identity: (v: number) => v === of.destination!.identity,
    protocol: (v: string) => v === l4.$case.toLowerCase(),
    reply: (v: boolean) => (of.is_reply === undefined ? of.verdict === 2 && !v : v === of.is_reply),
  };
  return Object.entries(filter).every(
    ([field, values]) => !values || values.some((value) => holds[field]!(value as never)),
  );
}

test("random white and black lists decide as a naive evaluator does", () => {
  fc.assert(
    fc.property(
      fc.array(anyFilter, { maxLength: 3 }),
      fc.array(anyFilter, { maxLength: 2 }),
      fc.array(anyFlow, { minLength: 1, maxLength: 20 }),
      (white, black, flows) => {
        const passes = compileFilters(white as FlowFilter[], black as FlowFilter[]);
        for (const of of flows) {
          const expected = (white.length === 0 || white.some((f) => naive(f, of))) && !black.some((f) => naive(f, of));
          assert.equal(passes(of), expected);
        }
      },
    ),
    { numRuns: 500 },
  );
});
