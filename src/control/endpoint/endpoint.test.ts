import assert from "node:assert/strict";
import { test } from "node:test";
import { createLabels, type EndpointId, type NumericIdentity, parseAddress } from "#core/model";
import {
  advanceEndpoint,
  createEndpoint,
  createEndpointIds,
  type EndpointEvent,
  type EndpointFacts,
  endpointOfInterface,
  endpointPrefixes,
  formatEndpointRecord,
  hostInterfaceName,
  macAddress,
  parseEndpointRecord,
} from "./index.ts";

const facts: EndpointFacts = {
  id: 255 as EndpointId,
  containerId: "workload:default/web",
  pod: { namespace: "default", name: "web", uid: "u-1" },
  netnsPath: "/run/netns/web",
  interfaceName: "eth0",
  mac: "02:00:00:00:00:01",
  hostMac: "02:00:00:00:00:02",
  ipv4: parseAddress("10.217.0.2")!,
  ipv6: parseAddress("fd10:217::2")!,
  createdAtMs: 1,
};
const labels = createLabels([{ source: "k8s", key: "app", value: "web" }]);
const others = createLabels([{ source: "k8s", key: "app", value: "db" }]);
const identity = (n: number) => n as NumericIdentity;
const up: EndpointEvent = { kind: "interface-up", ifindex: 7 };
const labelled: EndpointEvent = { kind: "labelled", labels };
const identified: EndpointEvent = { kind: "identified", labels, identity: identity(300) };

for (const [name, events, state] of [
  ["new", [], "creating"],
  ["interface first, then labels and identity", [up, labelled, identified], "ready"],
  ["labels first, then interface and identity", [labelled, up, identified], "ready"],
  ["an identity before the interface waits", [labelled, identified], "creating"],
  [
    "an identity for labels it does not have",
    [up, { kind: "labelled", labels: others }, identified],
    "waiting-for-identity",
  ],
  ["a failed interface", [{ kind: "interface-failed", message: "no such namespace" }], "failed"],
  [
    "a failed interface that came up after all",
    [{ kind: "interface-failed", message: "x" }, up],
    "waiting-for-identity",
  ],
  [
    "new labels keep the old identity in force",
    [up, labelled, identified, { kind: "labelled", labels: others }],
    "ready",
  ],
  ["nothing follows disconnected", [up, { kind: "disconnected" }, labelled, identified], "disconnecting"],
] as readonly (readonly [string, readonly EndpointEvent[], string])[]) {
  test(`${name}: ${state}`, () => {
    assert.equal(events.reduce(advanceEndpoint, createEndpoint(facts)).state.kind, state);
  });
}

test("an event that changes nothing gives the same object", () => {
  const ready = [up, labelled, identified].reduce(advanceEndpoint, createEndpoint(facts));
  for (const event of [up, labelled, identified]) assert.equal(advanceEndpoint(ready, event), ready);
});

test("a record reads back as it was written", () => {
  assert.deepEqual(parseEndpointRecord(formatEndpointRecord(facts)), facts);
});

for (const [name, text] of [
  ["cut short", formatEndpointRecord(facts).slice(0, 40)],
  ["of another version", formatEndpointRecord(facts).replace('"version": 1', '"version": 2')],
  ["without a pod", formatEndpointRecord(facts).replace('"pod"', '"cod"')],
  ["empty", ""],
  ["null", "null"],
] as const) {
  test(`a record ${name} is none`, () => assert.equal(parseEndpointRecord(text), undefined));
}

test("an endpoint's addresses are host prefixes", () => {
  assert.deepEqual(endpointPrefixes(facts), ["10.217.0.2/32", "fd10:217::2/128"]);
});

test("numbers start at 1, come back last and end at the capacity", () => {
  const ids = createEndpointIds(4);
  assert.deepEqual([ids.allocate(), ids.allocate()], [1, 2]);
  ids.release(1 as EndpointId);
  assert.deepEqual([ids.allocate(), ids.allocate(), ids.allocate()], [3, 1, undefined]);
  assert.ok(!ids.claim(4 as EndpointId));
  assert.ok(!ids.claim(3 as EndpointId));
});

test("the host side's name leads back to the endpoint", () => {
  for (const id of [1, 16, 255, 4095] as EndpointId[]) assert.equal(endpointOfInterface(hostInterfaceName(id)), id);
  for (const name of ["tsl", "tsl0", "tslxyz", "eth0", "tsl12345"]) assert.equal(endpointOfInterface(name), undefined);
});

test("a MAC is unicast and locally administered", () => {
  assert.equal(macAddress(Uint8Array.of(0xff, 1, 2, 3, 4, 5)), "fe:01:02:03:04:05");
});
