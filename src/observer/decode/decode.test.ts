import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { EventFlags, EventType, Verdict, verdictEventCodec } from "#contracts/bpf";
import { type DatapathEvent, decodeEvent, eventField, eventSizeBytes, isEvent } from "./index.ts";
import { encodeEvent, type RawEvent } from "./testing.ts";

const rows: ReadonlyArray<readonly [string, RawEvent, Partial<DatapathEvent>]> = [
  [
    "a forwarded SYN",
    {},
    { kind: "verdict", verdict: "FORWARDED", direction: "ingress", point: "from-endpoint", family: 4, protocol: 6 },
  ],
  [
    "a default deny at egress",
    { verdict: Verdict.DROPPED, reason: 133, direction: 1, match: 0 },
    { verdict: "DROPPED", reason: 133, direction: "egress", match: 0 },
  ],
  ["an IPv6 packet", { src: "fd10:217::2", dst: "fd10:217::3" }, { family: 6 }],
  ["an ICMP echo request", { protocol: 1, sport: 8, dport: 0 }, { protocol: 1, icmp: { type: 8, code: 0 } }],
  ["a drop", { type: EventType.DROP, verdict: 2, reason: 132 }, { kind: "drop", reason: 132 }],
  [
    "a reply that was judged again",
    { flags: EventFlags.REPLY | EventFlags.REJUDGED },
    { reply: true, rejudged: true, related: false, unenforced: false },
  ],
  ["a frame that is not IP", { family: 0, ethertype: 0x88cc }, { family: undefined, ethertype: 0x88cc }],
  ["a verdict of the future", { verdict: 77 }, { verdict: "ERROR" }],
  ["a point of the future", { point: 77 }, { point: "unknown" }],
];
for (const [name, raw, expected] of rows) {
  test(`${name} is decoded`, () => {
    const event = decodeEvent(encodeEvent(raw))!;
    for (const [key, value] of Object.entries(expected))
      assert.deepEqual(event[key as keyof DatapathEvent], value, key);
  });
}

test("both ends have address, port, identity and endpoint; ICMP has no ports", () => {
  assert.deepEqual(decodeEvent(encodeEvent())!.source, {
    identity: 1001,
    endpoint: 1,
    address: "10.217.0.2",
    port: 41234,
  });
  const icmp = decodeEvent(encodeEvent({ protocol: 58, src: "fd10::1", dst: "fd10::2", sport: 128, dport: 0 }))!;
  assert.deepEqual(icmp.destination, { identity: 1002, endpoint: 2, address: "fd10::2", port: 0 });
});

test("what is too short, of unknown type or outside of the view is no event", () => {
  const view = encodeEvent();
  assert.equal(decodeEvent(view, 0, eventSizeBytes - 1), undefined);
  assert.equal(decodeEvent(view, 1), undefined);
  assert.equal(decodeEvent(view, -1, eventSizeBytes), undefined);
  assert.equal(decodeEvent(new DataView(new ArrayBuffer(0))), undefined);
  assert.equal(decodeEvent(encodeEvent({ type: 9 })), undefined);
});

test("single fields read in place equal those of the codec, for any bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: eventSizeBytes, maxLength: eventSizeBytes }), (bytes) => {
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      const whole = verdictEventCodec.read(view);
      assert.equal(eventField.timeNs(view, 0), whole.timeNs);
      assert.equal(eventField.type(view, 0), whole.type);
      assert.equal(eventField.verdict(view, 0), whole.verdict);
      assert.equal(eventField.reason(view, 0), whole.reason);
      assert.equal(eventField.direction(view, 0), whole.direction);
      assert.equal(eventField.protocol(view, 0), whole.protocol);
      assert.equal(eventField.flags(view, 0), whole.flags);
      assert.equal(eventField.sourceEndpoint(view, 0), whole.srcEp);
      assert.equal(eventField.destinationEndpoint(view, 0), whole.dstEp);
      assert.equal(eventField.sourceIdentity(view, 0), whole.srcIdentity);
      assert.equal(eventField.destinationIdentity(view, 0), whole.dstIdentity);
      assert.equal(eventField.policySet(view, 0), whole.policySet);
      assert.equal(eventField.policyCookie(view, 0), whole.policyCookie);
      assert.equal(isEvent(view, 0, eventSizeBytes), decodeEvent(view) !== undefined);
    }),
  );
});
