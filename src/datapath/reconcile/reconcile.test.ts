import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type Ct4Key,
  type Ct6Key,
  type CtEntry,
  type Endpoint,
  type IpcacheKey,
  type IpcacheValue,
  ipcacheKeyCodec,
  type NatKey,
  type NatValue,
  type NodeConfig,
  type PolicyEntry,
  type PolicyKey,
  policyKeyCodec,
} from "#contracts/bpf";
import { type EndpointId, type NumericIdentity, type PolicySetId, parseAddress } from "#core/model";
import { createReconciler, Table } from "#core/runtime";
import type { MapDoor } from "./doors.ts";
import {
  createEndpointTarget,
  createIpcacheOperations,
  createNodeConfigWriter,
  createPolicySets,
  type DesiredPolicySet,
  type EndpointRow,
  type IpcacheRow,
  startSweeper,
  sweepMap,
} from "./index.ts";

/** A map in memory: keys compare by their encoding. `writes` counts stores. */
function memoryMap<K, V>(capacity: number, encode: (key: K) => string) {
  const rows = new Map<string, readonly [K, V]>();
  const door: MapDoor<K, V> & { writes: number; readonly size: number } = {
    name: "memory",
    capacity,
    writes: 0,
    get size() {
      return rows.size;
    },
    get: (key) => rows.get(encode(key))?.[1],
    set(key, value) {
      door.writes++;
      if (!rows.has(encode(key)) && rows.size >= capacity) throw new Error("the map is full");
      rows.set(encode(key), [key, value]);
    },
    delete: (key) => rows.delete(encode(key)),
    entries: () => [...rows.values()],
    setAll(entries) {
      for (const [key, value] of entries) door.set(key, value);
    },
    deleteAll: (keys) => keys.filter((key) => door.delete(key)).length,
  };
  return door;
}

const policyMap = (capacity = 100) =>
  memoryMap<PolicyKey, PolicyEntry>(capacity, (key) => Buffer.from(policyKeyCodec.encode(key)).toString("hex"));
const byNumber = <V>(capacity = 100) => memoryMap<number, V>(capacity, String);
const ipcacheMap = () =>
  memoryMap<IpcacheKey, IpcacheValue>(100, (key) => Buffer.from(ipcacheKeyCodec.encode(key)).toString("hex"));

const policy = (...identities: number[]): DesiredPolicySet => ({
  entries: identities.map((identity) => ({
    key: { prefixlen: 72, identity: identity as NumericIdentity, direction: 0, protocol: 0, dport: 0 },
    value: { precedence: 1, cookie: 0, httpProgram: 0, proxyPort: 0, l4Prefix: 0, flags: 0 },
  })),
});
const row = (set: DesiredPolicySet, identity = 300): EndpointRow => ({
  ifindex: 7,
  identity: identity as NumericIdentity,
  mac: "02:00:00:00:00:01",
  hostMac: "02:00:00:00:00:02",
  policy: set,
});
const id = (n: number) => n as EndpointId;

function world(capacity = 100) {
  const maps = { policy: policyMap(capacity), endpoints: byNumber<Endpoint>(), nodeConfig: byNumber<NodeConfig>(1) };
  const table = new Table<EndpointId, EndpointRow>("endpoints");
  const start = () => {
    const nodeConfig = createNodeConfigWriter(maps.nodeConfig);
    const sets = createPolicySets(maps.policy, { acquire: () => undefined, use: () => undefined });
    const target = createEndpointTarget({ endpoints: maps.endpoints, sets, nodeConfig });
    return { nodeConfig, sets, target, reconciler: createReconciler({ table, operations: target.operations }) };
  };
  return { maps, table, start };
}

test("equal policies share a set, in whatever order their entries come", async () => {
  const { maps, table, start } = world();
  table.set(id(1), row(policy(1, 2)));
  table.set(id(2), row(policy(2, 1)));
  const { reconciler, sets } = start();
  await reconciler.settled();
  assert.equal(sets.count, 1);
  assert.equal(maps.policy.size, 2);
  assert.equal(maps.endpoints.get(1)?.policySet, maps.endpoints.get(2)?.policySet);
  reconciler.close();
});

test("equal entries for other reasons are sets of their own, after a restart too", async () => {
  const { maps, table, start } = world();
  table.set(id(1), row({ ...policy(1), reasons: "rule a" }));
  table.set(id(2), row({ ...policy(1), reasons: "rule b" }));
  for (const restart of [false, true]) {
    const { reconciler, sets } = start();
    await reconciler.settled();
    assert.equal(sets.count, 2, restart ? "after the restart" : "at first");
    assert.notEqual(maps.endpoints.get(1)?.policySet, maps.endpoints.get(2)?.policySet);
    reconciler.close();
  }
});

test("a new policy is a new set; the old one goes, and connections are judged again", async () => {
  const { maps, table, start } = world();
  table.set(id(1), row(policy(1)));
  const { reconciler, nodeConfig } = start();
  await reconciler.settled();
  const [before, epoch] = [maps.endpoints.get(1)!.policySet, nodeConfig.epoch];
  table.set(id(1), row(policy(1, 2)));
  await reconciler.settled();
  assert.notEqual(maps.endpoints.get(1)!.policySet, before);
  assert.equal(maps.policy.size, 2, "the old set is gone");
  assert.equal(nodeConfig.epoch, epoch + 1);
  reconciler.close();
});

test("a policy that does not fit says how many entries are needed and how many are free; the old one stays in force", async () => {
  const { maps, table, start } = world(3);
  table.set(id(1), row(policy(1)));
  const { reconciler } = start();
  await reconciler.settled();
  const before = maps.endpoints.get(1)!;
  table.set(id(1), row(policy(1, 2, 3, 4), 999));
  await reconciler.settled();
  const status = reconciler.status.get(id(1));
  assert.equal(status?.kind, "error");
  assert.match(
    status.kind === "error" ? status.message : "",
    /needs 4 entries, but only 2 of the policy map's 3 are free/,
  );
  assert.deepEqual(maps.endpoints.get(1), before);
  assert.equal(maps.policy.size, 1);
  reconciler.close();
});

test("after a restart equal content is taken over: nothing is written, no connection is judged again", async () => {
  const { maps, table, start } = world();
  table.set(id(1), row(policy(1, 2)));
  table.set(id(2), row(policy(3)));
  const first = start();
  await first.reconciler.settled();
  first.reconciler.close();
  const before = { writes: [maps.policy.writes, maps.endpoints.writes], epoch: maps.nodeConfig.get(0)!.policyEpoch };
  const second = start();
  await second.reconciler.settled();
  assert.deepEqual([maps.policy.writes, maps.endpoints.writes], before.writes);
  assert.equal(second.nodeConfig.epoch, before.epoch);
  table.set(id(1), row(policy(9)));
  await second.reconciler.settled();
  assert.equal(maps.policy.size, 2);
  second.reconciler.close();
});

test("after a restart what nobody wants any more is removed: slots and sets", async () => {
  const { maps, table, start } = world();
  table.set(id(1), row(policy(1)));
  table.set(id(2), row(policy(2)));
  const first = start();
  await first.reconciler.settled();
  first.reconciler.close();
  table.delete(id(2));
  const second = start();
  await second.reconciler.settled();
  assert.equal(maps.endpoints.get(2)?.ifindex, 0);
  assert.equal(maps.policy.size, 1);
  second.reconciler.close();
});

test("a half-written set of a crash is removed", async () => {
  const { maps, start } = world();
  maps.policy.set({ ...policy(5).entries[0]!.key, set: 77 as PolicySetId }, policy(5).entries[0]!.value);
  const { reconciler } = start();
  await reconciler.settled();
  assert.equal(maps.policy.size, 0);
  reconciler.close();
});

test("ipcache rows reach the trie, unwanted ones of an earlier agent go, equal ones are not written", async () => {
  const map = ipcacheMap();
  const nodeConfig = createNodeConfigWriter(byNumber<NodeConfig>(1));
  const table = new Table<string, IpcacheRow>("ipcache");
  const start = () => createReconciler({ table, operations: createIpcacheOperations({ ipcache: map, nodeConfig }) });
  table.set("10.217.0.2/32", { identity: 300 as NumericIdentity, endpointId: id(1) });
  table.set("fd10:217::2/128", { identity: 300 as NumericIdentity, endpointId: id(1) });
  table.set("0.0.0.0/0", { identity: 9 as NumericIdentity, endpointId: id(0) });
  const first = start();
  await first.settled();
  first.close();
  assert.equal(map.size, 3);
  const [writes, epoch] = [map.writes, nodeConfig.epoch];
  table.delete("fd10:217::2/128");
  const second = start();
  await second.settled();
  second.close();
  assert.equal(map.size, 2);
  assert.equal(map.writes, writes);
  assert.equal(nodeConfig.epoch, epoch + 1, "a deletion can change a verdict");
});

test("configuring the node keeps the epoch, raising it keeps the configuration", () => {
  const map = byNumber<NodeConfig>(1);
  const writer = createNodeConfigWriter(map);
  writer.raiseEpoch();
  const config = { ...map.get(0)!, worldIfindex: 4 };
  assert.ok(writer.configure(config));
  assert.ok(!writer.configure({ ...config }), "equal: nothing written");
  writer.raiseEpoch();
  assert.deepEqual([map.get(0)?.worldIfindex, map.get(0)?.policyEpoch], [4, 2]);
  assert.equal(createNodeConfigWriter(map).epoch, 2);
});

test("a sweep removes what is expired, slice by slice", async () => {
  const rows = new Map(Array.from({ length: 5000 }, (_, i) => [i, i % 3] as const));
  const result = await sweepMap(
    {
      name: "ct4",
      *slices(size) {
        const all = [...rows];
        for (let i = 0; i < all.length; i += size) yield all.slice(i, i + size);
      },
      deleteAll: (keys: readonly number[]) => keys.filter((key) => rows.delete(key)).length,
    },
    (_, value) => value === 0,
  );
  assert.deepEqual(result, { name: "ct4", seen: 5000, removed: 1667 });
  assert.equal(rows.size, 3333);
});

test("what is known of an address is forgotten in all maps, also for those who ask while a look is under way", async () => {
  const door = <K, V>(name: string, rows: (readonly [K, V])[]) => ({
    name,
    rows,
    *slices() {
      yield [...this.rows];
    },
    deleteAll(keys: readonly K[]) {
      this.rows = this.rows.filter(([key]) => !keys.includes(key));
      return keys.length;
    },
  });
  const ip = (text: string) => parseAddress(text)!;
  const v4 = (text: string) => new DataView(ip(text).bytes.buffer).getUint32(0);
  const [gone, other, world] = ["10.217.0.2", "10.217.0.3", "192.0.2.2"];
  const [gone6, world6] = ["fd10:217::2", "2001:db8::2"];
  const ct4 = door("ct4", [
    [{ addrLo: v4(gone), addrHi: v4(world) } as Ct4Key, {} as CtEntry],
    [{ addrLo: v4(other), addrHi: v4(world) } as Ct4Key, {} as CtEntry],
  ]);
  const ct6 = door("ct6", [[{ addrLo: ip(world6).bytes, addrHi: ip(gone6).bytes } as Ct6Key, {} as CtEntry]]);
  const nat = door("nat", [
    [{ reverse: 0, local: ip(gone).bytes } as NatKey, { addr: ip(world).bytes } as NatValue],
    [{ reverse: 1, local: ip(world).bytes } as NatKey, { addr: ip(gone).bytes } as NatValue],
    [{ reverse: 0, local: ip(other).bytes } as NatKey, { addr: ip(world).bytes } as NatValue],
  ]);
  const sweeper = startSweeper({ ct4, ct6, nat, intervalMs: 60_000, report: () => undefined, onProblem: assert.fail });
  const first = sweeper.forget([ip(gone)]);
  await Promise.resolve();
  await Promise.all([first, sweeper.forget([ip(gone6)])]);
  sweeper.close();
  assert.deepEqual([ct4.rows.length, ct6.rows.length, nat.rows.length], [1, 0, 1]);
  assert.equal(ct4.rows[0]?.[0].addrLo, v4(other));
});
