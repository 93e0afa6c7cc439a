import assert from "node:assert/strict";
import { test } from "node:test";
import { EventFlags, EventType, DropReason as KernelReason, Verdict as KernelVerdict } from "#contracts/bpf";
import { DropReason, Flow, Verdict } from "#contracts/hubble";
import type { EndpointId, NumericIdentity, PolicySetId } from "#core/model";
import { decodeEvent } from "#observer/decode";
import { encodeEvent, type RawEvent } from "#observer/decode/testing";
import { createFlowBuilder, createWallClockOffset, type DenialQuestion } from "./index.ts";
import { accessLogRecord, twoPods, webRule } from "./testing.ts";

const builder = createFlowBuilder({ nodeName: "node-1", lookups: twoPods });

function flowOf(raw: RawEvent = {}): Flow {
  const event = decodeEvent(encodeEvent(raw))!;
  return builder.fromEvent(event, builder.factsOf(event), "u");
}

const denied: RawEvent = { verdict: KernelVerdict.DROPPED, reason: KernelReason.POLICY_DENIED, match: 0 };
const fromWorld: RawEvent = { srcIdentity: 9 as NumericIdentity, srcEp: 0 as EndpointId, src: "1.1.1.1" };

// The kernel's name -> Hubble's. A new code must be put here before it can appear in a flow without a name.
const reasons: Readonly<Record<keyof typeof KernelReason, keyof typeof DropReason>> = {
  NONE: "DROP_REASON_UNKNOWN",
  INVALID_SOURCE_IP: "INVALID_SOURCE_IP",
  POLICY_DENIED: "POLICY_DENIED",
  INVALID_PACKET: "INVALID_PACKET_DROPPED",
  CT_INVALID_HEADER: "CT_TRUNCATED_OR_INVALID_HEADER",
  UNKNOWN_L4: "UNKNOWN_L4_PROTOCOL",
  WRITE_ERROR: "ERROR_WRITING_TO_PACKET",
  UNSUPPORTED_L3: "UNSUPPORTED_L3_PROTOCOL",
  STALE_OR_UNROUTABLE: "STALE_OR_UNROUTABLE_IP",
  CT_MAP_INSERTION_FAILED: "CT_MAP_INSERTION_FAILED",
  IPV6_EXTENSION_HEADER: "INVALID_IPV6_EXTENSION_HEADER",
  FRAGMENT: "IP_FRAGMENTATION_NOT_SUPPORTED",
  CT_UNKNOWN: "UNKNOWN_CONNECTION_TRACKING_STATE",
  NAT_NO_MAPPING: "NO_MAPPING_FOR_NAT_MASQUERADE",
  NAT_UNSUPPORTED: "UNSUPPORTED_PROTOCOL_FOR_NAT_MASQUERADE",
  UNSUPPORTED_L2: "UNSUPPORTED_L2_PROTOCOL",
  FORBIDDEN_ICMP6: "FORBIDDEN_ICMPV6_MESSAGE",
  PROXY_LOOKUP_FAILED: "SOCKET_LOOKUP_FAILED",
  PROXY_ASSIGN_FAILED: "SOCKET_ASSIGN_FAILED",
  PROXY_NOT_SUPPORTED: "PROXY_REDIRECTION_NOT_SUPPORTED_FOR_PROTOCOL",
  POLICY_DENY: "POLICY_DENY",
  EP_NOT_READY: "DROP_EP_NOT_READY",
};
for (const [name, code] of Object.entries(KernelReason)) {
  test(`the kernel's drop reason ${name} has Hubble's number`, () =>
    assert.equal(DropReason[reasons[name as keyof typeof KernelReason]], code));
}
for (const [name, code] of Object.entries(KernelVerdict)) {
  test(`the kernel's verdict ${name} has Hubble's number`, () =>
    assert.equal(Verdict[name as keyof typeof KernelVerdict], code));
}

const rows: ReadonlyArray<readonly [string, RawEvent, Record<string, unknown>]> = [
  [
    "an allowed SYN",
    {},
    {
      time: "2023-11-14T22:13:21.000Z",
      uuid: "u",
      verdict: "FORWARDED",
      IP: { source: "10.217.0.2", destination: "10.217.0.3", ipVersion: "IPv4" },
      l4: { TCP: { source_port: 41234, destination_port: 80, flags: { SYN: true } } },
      source: {
        ID: 1,
        identity: 1001,
        namespace: "default",
        labels: ["k8s:app=client", "k8s:io.kubernetes.pod.namespace=default"],
        pod_name: "client",
        workloads: [{ name: "client", kind: "Deployment" }],
      },
      Type: "L3_L4",
      node_name: "node-1",
      event_type: { type: 5 },
      traffic_direction: "INGRESS",
      policy_match_type: 2,
      is_reply: false,
      interface: { index: 12, name: "tsl1" },
      ingress_allowed_by: [
        {
          name: "web",
          namespace: "default",
          kind: "CiliumNetworkPolicy",
          labels: [
            "k8s:io.cilium.k8s.policy.derived-from=CiliumNetworkPolicy",
            "k8s:io.cilium.k8s.policy.name=web",
            "k8s:io.cilium.k8s.policy.namespace=default",
            "tsilium:rule=spec.ingress[0]",
          ],
        },
      ],
      Summary: "TCP Flags: SYN",
    },
  ],
  [
    "a default deny",
    { ...denied, policySet: 0 as PolicySetId },
    {
      verdict: "DROPPED",
      drop_reason: 133,
      drop_reason_desc: "POLICY_DENIED",
      event_type: { type: 5 },
      ingress_denied_by: undefined,
      why: {
        sentence:
          "no rule allows ingress TCP 80 from default/client at default/server, which is in ingress default deny",
      },
    },
  ],
  [
    "an explicit deny",
    { ...denied, reason: KernelReason.POLICY_DENY },
    {
      drop_reason_desc: "POLICY_DENY",
      why: {
        sentence: "CiliumNetworkPolicy default/web spec.ingress[0] denies ingress TCP 80 from default/client",
        rules: [{ kind: "CiliumNetworkPolicy", namespace: "default", name: "web", path: "spec.ingress[0]" }],
      },
    },
  ],
  [
    "a redirect to the proxy",
    { verdict: KernelVerdict.REDIRECTED, proxyPort: 15001 },
    { verdict: "REDIRECTED", proxy_port: 15001, event_type: { type: 5 } },
  ],
  [
    "an audited denial",
    { verdict: KernelVerdict.AUDIT, direction: 1 },
    {
      verdict: "AUDIT",
      traffic_direction: "EGRESS",
      why: {
        sentence:
          "only audited: CiliumNetworkPolicy default/web spec.ingress[0] denies egress TCP 80 to default/server",
        rules: [{ kind: "CiliumNetworkPolicy", namespace: "default", name: "web", path: "spec.ingress[0]" }],
      },
    },
  ],
  [
    "a direction without policy at the source",
    { flags: EventFlags.UNENFORCED, direction: 1, policySet: 0 as PolicySetId },
    {
      event_type: { type: 4, sub_type: 5 },
      trace_observation_point: "FROM_ENDPOINT",
      trace_reason: "NEW",
      policy_match_type: undefined,
    },
  ],
  [
    "a direction without policy at the destination",
    { flags: EventFlags.UNENFORCED, policySet: 0 as PolicySetId },
    { event_type: { type: 4 }, trace_observation_point: "TO_ENDPOINT", trace_reason: "NEW" },
  ],
  [
    "a connection's end, seen on a reply",
    { type: EventType.TRACE, flags: EventFlags.REPLY, tcpFlags: 0x11 },
    {
      event_type: { type: 4, sub_type: 5 },
      is_reply: true,
      trace_reason: "REPLY",
      Summary: "TCP Flags: ACK, FIN",
    },
  ],
  [
    "a spoofed source",
    { type: EventType.DROP, verdict: 2, reason: 132, policySet: 0 as PolicySetId },
    {
      event_type: { type: 1, sub_type: 132 },
      drop_reason_desc: "INVALID_SOURCE_IP",
      is_reply: undefined,
      why: { sentence: "the packet's source is not an address of the endpoint that sent it" },
    },
  ],
  ["the world", fromWorld, { source: { identity: 9, labels: ["reserved:world-ipv4"] }, source_names: ["one.example"] }],
  [
    "an echo request",
    { protocol: 1, sport: 8, dport: 0 },
    { l4: { ICMPv4: { type: 8 } }, Summary: "ICMPv4 EchoRequest" },
  ],
  [
    "a port unreachable over IPv6",
    { protocol: 58, sport: 1, dport: 4, src: "fd10::2", dst: "fd10::3" },
    {
      l4: { ICMPv6: { type: 1, code: 4 } },
      Summary: "ICMPv6 DestinationUnreachable(4)",
      IP: { source: "fd10::2", destination: "fd10::3", ipVersion: "IPv6" },
    },
  ],
  [
    "a datagram",
    { protocol: 17, tcpFlags: 0 },
    { l4: { UDP: { source_port: 41234, destination_port: 80 } }, Summary: "UDP" },
  ],
  [
    "a frame that is not IP",
    { type: EventType.DROP, verdict: 2, reason: 139, family: 0, ethertype: 0x88cc },
    { IP: undefined, l4: undefined, Summary: "EtherType 0x88cc" },
  ],
];
for (const [name, raw, expected] of rows) {
  test(`${name} becomes Hubble's flow`, () => {
    const flow = flowOf(raw);
    const json = JSON.parse(JSON.stringify(Flow.toJSON(Flow.decode(Flow.encode(flow).finish()))));
    for (const [field, value] of Object.entries(expected)) assert.deepEqual(json[field], value, field);
  });
}

test("the identity is the one that was judged, with its own labels, even if the endpoint has another one by now", () => {
  const flow = flowOf({ srcIdentity: 9 as NumericIdentity });
  assert.equal(flow.source?.identity, 9);
  assert.deepEqual(flow.source?.labels, ["reserved:world-ipv4"]);
  assert.equal(flow.source?.pod_name, "client");
});

test("an explanation is asked for denials only, and carried with its nearest rule and hint", () => {
  const asked: DenialQuestion[] = [];
  const explaining = createFlowBuilder({
    nodeName: "n",
    lookups: twoPods,
    explain(question) {
      asked.push(question);
      return {
        sentence: "the port is wrong",
        nearest: { ref: webRule, field: "port", expected: "tcp/81", found: "tcp/80" },
        hint: "allow tcp/80",
      };
    },
  });
  for (const raw of [{}, denied]) {
    const event = decodeEvent(encodeEvent(raw))!;
    const flow = explaining.fromEvent(event, explaining.factsOf(event), "u");
    if (raw !== denied) assert.equal(flow.why, undefined);
    else
      assert.deepEqual(flow.why, {
        sentence: "the port is wrong",
        nearest: { rule: webRule, field: "port", expected: "tcp/81", found: "tcp/80" },
        hint: "allow tcp/80",
      });
  }
  assert.equal(asked.length, 1);
  assert.equal(asked[0]!.kind, "default-deny");
  assert.equal(asked[0]!.source.endpoint?.podName, "client");
  assert.equal(asked[0]!.port, 80);
});

const http = (fields: Parameters<typeof accessLogRecord>[0]): Flow => {
  const record = accessLogRecord(fields);
  const source = twoPods.endpointById(record.source.endpoint);
  const destination = twoPods.endpointById(record.destination.endpoint);
  return builder.fromAccessLog(record, { source, destination, rules: record.rules }, "u");
};

test("a request becomes an L7 flow from client to server", () => {
  const flow = Flow.toJSON(http({ rules: [{ ...webRule, namespace: "default" }] })) as Record<string, unknown>;
  assert.deepEqual(flow.l7, {
    type: "REQUEST",
    http: { method: "GET", url: "http://server/public?x=1", protocol: "HTTP/1.1" },
  });
  assert.equal(flow.Summary, "HTTP/1.1 GET http://server/public?x=1");
  assert.deepEqual(flow.event_type, { type: 129 });
  assert.equal(flow.is_reply, false);
  assert.equal((flow.ingress_allowed_by as { name: string }[])[0]!.name, "web");
});

test("a response becomes an L7 flow from server to client, with code and latency", () => {
  const flow = http({ kind: "response", status: 200, latencyNs: 5_400_000 });
  assert.equal(flow.source?.pod_name, "server");
  assert.equal(flow.destination?.pod_name, "client");
  assert.equal(flow.is_reply, true);
  assert.equal(flow.l7?.latency_ns, 5_400_000n);
  assert.equal(flow.Summary, "HTTP/1.1 200 5ms (GET http://server/public?x=1)");
});

test("a refused request names the nearest rule, the field that failed and the rule to add", () => {
  const flow = http({
    kind: "denied",
    verdict: "DROPPED",
    status: 403,
    path: "/a.b",
    reason: "nearest rule: ...",
    nearest: {
      ref: { ...webRule, namespace: "default", path: "spec.ingress[0].toPorts[0].rules.http[0]" },
      field: "path",
      expected: "/public",
      found: "/a.b",
    },
  });
  assert.equal(flow.verdict, Verdict.DROPPED);
  assert.equal(
    flow.why?.sentence,
    "no HTTP rule of ingress allows it; nearest is CiliumNetworkPolicy default/web spec.ingress[0].toPorts[0].rules.http[0], whose path is /public, not /a.b",
  );
  assert.equal(
    flow.why?.hint,
    'to allow it, add {method: "GET", path: "/a\\\\.b"} beside spec.ingress[0].toPorts[0].rules.http[0]',
  );
});

test("the offset between the clocks is the largest seen, and follows when the clock is set back", () => {
  let monotonicNs = 1_000_000_000n;
  let wallMs = 5_000;
  const offset = createWallClockOffset({ monotonicNs: () => monotonicNs, wallMs: () => wallMs });
  assert.equal(offset(), 4_000_000_000n);
  monotonicNs += 900_000n; // not yet the next millisecond on the wall
  assert.equal(offset(), 4_000_000_000n);
  monotonicNs += 50_000n;
  wallMs += 1;
  assert.equal(offset(), 4_000_050_000n);
  wallMs -= 1_000;
  assert.equal(offset(), 3_000_050_000n);
});
