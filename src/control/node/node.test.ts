import assert from "node:assert/strict";
import { test } from "node:test";
import { formatAddress, parseAddress, parsePrefix } from "#core/model";
import { type NodeObservation, type NodeSettings, planNode, sameNodePlan } from "./index.ts";

const ip = (text: string) => parseAddress(text)!;
const seen: NodeObservation = {
  links: [
    { ifindex: 1, name: "lo" },
    { ifindex: 2, name: "eth0" },
    { ifindex: 3, name: "eth1" },
  ],
  addresses: [
    { ifindex: 1, address: ip("127.0.0.1"), length: 8, global: false },
    { ifindex: 2, address: ip("fe80::5"), length: 64, global: false },
    { ifindex: 2, address: ip("192.0.2.5"), length: 24, global: true },
    { ifindex: 2, address: ip("2001:db8::5"), length: 64, global: true },
    { ifindex: 3, address: ip("198.51.100.5"), length: 24, global: true },
  ],
  defaultRoutes: [
    { family: 6, ifindex: 3, metric: 10 },
    { family: 4, ifindex: 3, metric: 200 },
    { family: 4, ifindex: 2, metric: 100 },
  ],
};
const settings: NodeSettings = { podCidr4: parsePrefix("10.217.0.0/24")!, podCidr6: parsePrefix("fd10:217::/112")! };
const routers = { router4: ip("10.217.0.1"), router6: ip("fd10:217::1") };
const plan = (s: Partial<NodeSettings> = {}, o: Partial<NodeObservation> = {}) =>
  planNode({ ...seen, ...o }, { ...settings, ...s }, routers);

test("the world device is that of the best default route, and its addresses masquerade", () => {
  const node = plan();
  assert.equal(node.world?.name, "eth0");
  assert.equal(formatAddress(node.masquerade4!), "192.0.2.5");
  assert.equal(formatAddress(node.masquerade6!), "2001:db8::5");
});

test("a named device wins; without an address of a family that family is not masqueraded", () => {
  const node = plan({ worldDevice: "eth1" });
  assert.equal(node.world?.ifindex, 3);
  assert.equal(node.masquerade6, undefined);
});

test("without a default route there is no world device", () => {
  assert.equal(plan({}, { defaultRoutes: [] }).world, undefined);
});

test("a device that does not exist is a warning", () => {
  const node = plan({ worldDevice: "eth9" });
  assert.equal(node.world, undefined);
  assert.match(node.warnings[0]!, /no device eth9/);
});

test("an address inside the pods' prefix is a warning, the router's is not", () => {
  const with_ = (text: string) => [...seen.addresses, { ifindex: 1, address: ip(text), length: 32, global: true }];
  assert.match(plan({}, { addresses: with_("10.217.0.9") }).warnings[0]!, /10\.217\.0\.9/);
  assert.deepEqual(plan({}, { addresses: with_("10.217.0.1") }).warnings, []);
});

test("the node's own addresses hold the routers' and the loopback's", () => {
  const own = plan().ownAddresses.map(formatAddress);
  for (const address of ["127.0.0.1", "10.217.0.1", "fd10:217::1", "192.0.2.5"]) assert.ok(own.includes(address));
});

test("a subnet's broadcast and anycast addresses reach the node too: they are its own", () => {
  const at = (text: string, length: number) =>
    plan({}, { addresses: [{ ifindex: 2, address: ip(text), length, global: true }] }).ownAddresses.map(formatAddress);
  for (const [text, length, shared] of [
    ["192.0.2.5", 24, "192.0.2.255"],
    ["192.0.2.5", 30, "192.0.2.7"],
    ["10.1.2.3", 12, "10.15.255.255"],
    ["2001:db8::5", 64, "2001:db8::"],
  ] as const)
    assert.deepEqual(at(text, length), ["10.217.0.1", "fd10:217::1", text, shared].sort(), `${text}/${length}`);
  for (const [text, length] of [["192.0.2.5", 32], ["192.0.2.5", 31], ["2001:db8::5", 127]] as const) // biome-ignore format: a table
    assert.deepEqual(at(text, length), ["10.217.0.1", "fd10:217::1", text].sort(), `${text}/${length}`);
});

test("plans compare by content", () => {
  assert.ok(sameNodePlan(plan(), plan()));
  assert.ok(!sameNodePlan(plan(), plan({ masquerade: false })));
});
