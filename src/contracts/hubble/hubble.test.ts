import assert from "node:assert/strict";
import { test } from "node:test";
import {
  DropReason,
  dropReasonText,
  type Flow,
  formatResponse,
  formatTimestamp,
  GetFlowsResponse,
  policyMatchName,
  StringValue,
  sentenceTypeUrl,
  tracePointName,
} from "./index.ts";

const times: ReadonlyArray<readonly [string, bigint, number]> = [
  ["2023-11-14T22:13:20Z", 1_700_000_000n, 0],
  ["2023-11-14T22:13:20.120Z", 1_700_000_000n, 120_000_000],
  ["2023-11-14T22:13:20.120400Z", 1_700_000_000n, 120_400_000],
  ["2023-11-14T22:13:20.000000009Z", 1_700_000_000n, 9],
];
for (const [text, seconds, nanos] of times) {
  test(`a timestamp is printed as Go prints it: ${text}`, () =>
    assert.equal(formatTimestamp({ seconds, nanos }), text));
}

const words: ReadonlyArray<readonly [number, string]> = [
  [DropReason.POLICY_DENIED, "Policy denied"],
  [DropReason.POLICY_DENY, "Policy denied by a deny rule"],
  [DropReason.INVALID_SOURCE_IP, "Invalid source IP"],
  [DropReason.CT_MAP_INSERTION_FAILED, "CT map insertion failed"],
  [DropReason.DROP_EP_NOT_READY, "Endpoint not ready"],
  [7, "7"],
];
for (const [code, text] of words) {
  test(`drop reason ${code} reads "${text}"`, () => assert.equal(dropReasonText(code), text));
}

test("subtypes and match types have Hubble's names, unknown ones their number", () => {
  assert.equal(tracePointName(0), "to-endpoint");
  assert.equal(tracePointName(99), "99");
  assert.equal(policyMatchName(2), "L3-L4");
  assert.equal(policyMatchName(99), "99");
});

test("a flow in JSON has the names of the .proto files, nanoseconds, u64 as text, and its sentence unpacked", () => {
  const time = { seconds: 1_700_000_000n, nanos: 123_456_789 };
  const flow: Flow = {
    time,
    verdict: 2,
    IP: { source: "10.0.0.1", ipVersion: 1 },
    l4: { protocol: { $case: "TCP", value: { source_port: 1, flags: { SYN: true } } } },
    Type: 2,
    l7: { type: 2, latency_ns: 12n, record: { $case: "http", value: { code: 200 } } },
    is_reply: false,
    Summary: "s",
    extensions: { type_url: sentenceTypeUrl, value: Buffer.from(StringValue.encode({ value: "because" }).finish()) },
    why: { sentence: "because" },
  };
  const response = GetFlowsResponse.decode(
    GetFlowsResponse.encode({ response_types: { $case: "flow", value: flow }, node_name: "n", time }).finish(),
  );
  assert.deepEqual(JSON.parse(formatResponse(response)), {
    flow: {
      time: "2023-11-14T22:13:20.123456789Z",
      verdict: "DROPPED",
      IP: { source: "10.0.0.1", ipVersion: "IPv4" },
      l4: { TCP: { source_port: 1, flags: { SYN: true } } },
      Type: "L7",
      l7: { type: "RESPONSE", latency_ns: "12", http: { code: 200 } },
      is_reply: false,
      Summary: "s",
      extensions: { "@type": sentenceTypeUrl, value: "because" },
      why: { sentence: "because" },
    },
    node_name: "n",
    time: "2023-11-14T22:13:20.123456789Z",
  });
});

test("lost events in JSON keep their source and times", () => {
  const response: GetFlowsResponse = {
    response_types: {
      $case: "lost_events",
      value: { source: 3, num_events_lost: 7n, first: { seconds: 1n, nanos: 1 }, last: { seconds: 2n } },
    },
    node_name: "n",
  };
  assert.deepEqual(JSON.parse(formatResponse(response)), {
    lost_events: {
      source: "HUBBLE_RING_BUFFER",
      num_events_lost: "7",
      first: "1970-01-01T00:00:01.000000001Z",
      last: "1970-01-01T00:00:02Z",
    },
    node_name: "n",
  });
});
