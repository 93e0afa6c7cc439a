import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, test } from "node:test";
import { type EndpointId, formatAddress, parseAddress, parsePrefix } from "#core/model";
import { openKernel } from "#datapath/linux";
import { sweepTestNamespaces, testName } from "#datapath/linux/testing";
import type { HookDoor, MapDoor } from "./index.ts";
import {
  createInterfaceTarget,
  createNodeConfigWriter,
  createNodeOperations,
  type InterfaceRow,
  removeNodeTraces,
} from "./index.ts";

const kernel = openKernel();
sweepTestNamespaces();
const names = { node: testName(), pod: testName() };
const node = kernel.netns.create(names.node);
const pod = kernel.netns.create(names.pod);
after(() => {
  node.close();
  pod.close();
  for (const name of Object.values(names)) kernel.netns.delete(name);
});

const routers = { router4: parseAddress("10.217.0.1")!, router6: parseAddress("fd10:217::1")! };
const row: InterfaceRow = {
  hostName: "tsl1",
  netnsPath: `/run/netns/${names.pod}`,
  name: "eth0",
  mac: "02:00:00:00:00:01",
  hostMac: "02:00:00:00:00:02",
  ipv4: parseAddress("10.217.0.2")!,
  ipv6: parseAddress("fd10:217::2")!,
};
const id = 1 as EndpointId;

function plainMap<V>(): MapDoor<number, V> {
  const rows = new Map<number, V>();
  return {
    name: "plain",
    capacity: 100,
    get: (key) => rows.get(key),
    set: (key, value) => void rows.set(key, value),
    delete: (key) => rows.delete(key),
    entries: () => [...rows],
    setAll(entries) {
      for (const [key, value] of entries) rows.set(key, value);
    },
    deleteAll: (keys) => keys.filter((key) => rows.delete(key)).length,
  };
}

/** Records attachments instead of loading programs. */
function recordingHooks() {
  const on = new Set<string>();
  const hooks: HookDoor = {
    attach: (hook, device) => void on.add(`${hook} ${device.name}`),
    detach: (name) => {
      for (const entry of on) if (entry.endsWith(` ${name}`)) on.delete(entry);
    },
    devices: () => [...new Set([...on].map((entry) => entry.split(" ")[1]!))],
  };
  return { hooks, on };
}

/** Routes to pods name the routers' addresses, so these come first. */
function setUpNode(hooks: HookDoor): void {
  createNodeOperations({ kernel, hooks, nodeConfig: createNodeConfigWriter(plainMap()) }).update("node", {
    podCidr4: parsePrefix("10.217.0.0/24")!,
    podCidr6: parsePrefix("fd10:217::/112")!,
    ...routers,
  });
}

const inNode = (...command: string[]) =>
  execFileSync("nsenter", [`--net=/run/netns/${names.node}`, ...command], { encoding: "utf8" });
const inPod = (...command: string[]) =>
  execFileSync("nsenter", [`--net=/run/netns/${names.pod}`, ...command], { encoding: "utf8" });

test("what others do to an endpoint's interface, routes and pins is noticed, and made good by carrying the row again", () => {
  const { hooks } = recordingHooks();
  node.run(() => {
    const ours = (name: string) => name.startsWith("tsl");
    const target = createInterfaceTarget({ kernel, ifaces: plainMap(), hooks, routers, isOurs: ours });
    setUpNode(hooks);
    assert.deepEqual(target.damaged(), []);
    target.operations.update(id, row);
    assert.deepEqual(target.damaged(), []);
    for (const [what, damage] of [
      ["removed", () => inNode("ip", "link", "del", "tsl1")],
      ["removed from inside", () => inPod("ip", "link", "del", "eth0")],
      ["taken down", () => inNode("ip", "link", "set", "tsl1", "down")],
      ["IPv4 route gone", () => inNode("ip", "route", "flush", "dev", "tsl1")],
      ["IPv6 route gone", () => inNode("ip", "-6", "route", "flush", "dev", "tsl1")],
      ["pins gone", () => hooks.detach("tsl1")],
    ] as const) {
      damage();
      assert.deepEqual(target.damaged(), [id], what);
      target.operations.update(id, row);
      assert.deepEqual(target.damaged(), [], what);
    }
    target.operations.delete(id, row);
    assert.deepEqual(target.damaged(), []);
    removeNodeTraces(kernel, [routers.router4, routers.router6]);
  });
});

test("an interface row becomes a pair with addresses, routes, neighbours and programs; again changes nothing; deletion leaves nothing", () => {
  const { hooks, on } = recordingHooks();
  const ifaces = plainMap<EndpointId>();
  node.run(() => {
    const target = createInterfaceTarget({ kernel, ifaces, hooks, routers, isOurs: (name) => name.startsWith("tsl") });
    setUpNode(hooks);
    target.operations.update(id, row);
    const ifindex = target.up.get(id)!;
    assert.equal(ifaces.get(ifindex), id);
    assert.deepEqual([...on], ["from_endpoint tsl1", "to_endpoint tsl1"]);
    target.operations.update(id, row);
    assert.equal(target.up.get(id), ifindex, "the same pair");
  });
  const addresses = inPod("ip", "-o", "addr", "show", "dev", "eth0");
  for (const wanted of ["10.217.0.2/32", "fd10:217::2/128"]) assert.ok(addresses.includes(wanted), addresses);
  assert.match(inPod("ip", "route"), /default via 169\.254\.1\.1 dev eth0 .*onlink/);
  assert.match(inPod("ip", "-6", "route"), /default via fe80::1 dev eth0/);
  assert.match(inNode("ip", "route", "get", "10.217.0.2"), /dev tsl1 src 10\.217\.0\.1/);
  assert.match(inNode("ip", "-6", "route", "get", "fd10:217::2"), /dev tsl1 .*src fd10:217::1/);
  assert.match(inNode("ip", "neigh", "show", "dev", "tsl1"), /10\.217\.0\.2 lladdr 02:00:00:00:00:01 PERMANENT/);
  assert.match(inNode("ip", "rule"), /fwmark 0x200\/0xf00 lookup 2004/);
  assert.match(inNode("ip", "-6", "route", "show", "table", "2004"), /local default dev lo/);
  assert.match(inNode("ip", "-o", "addr", "show", "dev", "lo"), /10\.217\.0\.1\/32/);

  node.run(() => {
    const next = createInterfaceTarget({ kernel, ifaces, hooks, routers, isOurs: (name) => name.startsWith("tsl") });
    next.operations.prune(new Map());
    assert.equal(kernel.netlink().link("tsl1"), undefined);
    removeNodeTraces(kernel, [routers.router4, routers.router6]);
    const own = kernel
      .netlink()
      .addresses()
      .map(({ address }) => formatAddress(address));
    assert.ok(!own.includes("10.217.0.1"));
  });
  assert.deepEqual([...on], []);
  assert.deepEqual([...ifaces.entries()], []);
  assert.ok(!inNode("ip", "rule").includes("2004"));
});

test("a pair whose other end is gone is made anew", () => {
  const { hooks } = recordingHooks();
  node.run(() => {
    const target = createInterfaceTarget({ kernel, ifaces: plainMap(), hooks, routers, isOurs: () => true });
    setUpNode(hooks);
    target.operations.update(id, row);
    const before = target.up.get(id);
    target.operations.update(id, { ...row, mac: "02:00:00:00:00:09" });
    assert.notEqual(target.up.get(id), before);
    target.operations.delete(id, row);
  });
});

test("a namespace that is gone is an error that says so", () => {
  const { hooks } = recordingHooks();
  node.run(() => {
    const target = createInterfaceTarget({ kernel, ifaces: plainMap(), hooks, routers, isOurs: () => true });
    assert.throws(
      () => target.operations.update(id, { ...row, netnsPath: "/run/netns/tsltest-none" }),
      /no network namespace at \/run\/netns\/tsltest-none/,
    );
  });
});
