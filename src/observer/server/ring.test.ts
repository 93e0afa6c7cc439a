import assert from "node:assert/strict";
import { test } from "node:test";
import { eventField } from "#observer/decode";
import { encodeEvent } from "#observer/decode/testing";
import { accessLogRecord, client } from "#observer/flow/testing";
import { EventRing } from "./ring.ts";

const push = (ring: EventRing, timeNs: bigint): void =>
  ring.pushEvent(encodeEvent({ timeNs }), 0, client, undefined, []);

for (const capacity of [0, 2, 4096, 131071, 1.5, Number.NaN]) {
  test(`a ring of ${capacity} is refused`, () => assert.throws(() => new EventRing(capacity), /2\^n - 1/));
}

test("a ring gives back the last events, with what was known when they came", () => {
  const ring = new EventRing(7);
  for (let i = 0n; i < 20n; i++) push(ring, i);
  assert.deepEqual([ring.oldest, ring.next], [13, 20]);
  assert.equal(ring.read(12), undefined);
  assert.equal(ring.read(20), undefined);
  for (let place = 13; place < 20; place++) {
    const entry = ring.read(place)!;
    assert.ok(entry.kind === "event");
    assert.equal(eventField.timeNs(entry.view, entry.offset), BigInt(place));
    assert.equal(entry.facts.source, client);
  }
});

test("records and gaps keep their place among the events", () => {
  const ring = new EventRing(7);
  push(ring, 1n);
  const record = accessLogRecord();
  ring.pushRecord(record, { source: client, destination: undefined, rules: [] });
  ring.pushLost({ kind: "lost", source: "proxy", count: 3, time: {} });
  push(ring, 2n);
  assert.deepEqual(
    [0, 1, 2, 3].map((place) => ring.read(place)!.kind),
    ["event", "record", "lost", "event"],
  );
});

test("whoever waits for a place is woken by what is written there, or by the signal", async () => {
  const ring = new EventRing(7);
  const stop = new AbortController();
  const woken: string[] = [];
  const waiting = [
    ring.written(1, stop.signal).then(() => woken.push("second")),
    ring.written(0, stop.signal).then(() => woken.push("first")),
  ];
  push(ring, 1n);
  await waiting[1];
  assert.deepEqual(woken, ["first"]);
  stop.abort();
  await waiting[0];
  assert.deepEqual(woken, ["first", "second"]);
});
