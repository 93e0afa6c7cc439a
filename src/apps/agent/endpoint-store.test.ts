import assert from "node:assert/strict";
import { test } from "node:test";
import { formatAddress, parsePrefix } from "#core/model";
import { createEndpointStore } from "./endpoint-store.ts";
import type { RecordFolder } from "./files.ts";

/** Records that live as long as the test. */
function memoryRecords(): RecordFolder & { readonly texts: Map<string, string> } {
  const texts = new Map<string, string>();
  return {
    texts,
    write: (name, text) => void texts.set(name, text),
    delete: (name) => void texts.delete(name),
    readAll: () => [...texts],
  };
}

const open = (records: RecordFolder, capacity = 4096, cidr = "10.217.0.0/24") =>
  createEndpointStore({
    records,
    podCidr4: parsePrefix(cidr)!,
    podCidr6: parsePrefix("fd10:217::/112")!,
    capacity,
    nowMs: () => 1,
  });
const wanted = (name: string) => ({
  containerId: `workload:default/${name}`,
  pod: { namespace: "default", name, uid: `uid-${name}` },
  netnsPath: `/run/netns/${name}`,
  interfaceName: "eth0",
});

test("an endpoint survives a restart with its number, addresses and MACs", () => {
  const records = memoryRecords();
  const before = open(records).create(wanted("a"));
  const store = open(records);
  const after = store.find(before.containerId)!;
  assert.deepEqual(after, before);
  assert.equal(store.ofPod("default", "a")?.id, before.id);
  const next = store.create(wanted("b"));
  assert.notEqual(next.id, before.id);
  assert.equal(formatAddress(next.ipv4!), "10.217.0.3");
});

test("what was removed is forgotten, and its address is not given out again at once", () => {
  const records = memoryRecords();
  const store = open(records);
  const first = store.create(wanted("a"));
  store.remove(first.id);
  assert.equal(store.table.size, 0);
  assert.equal(records.texts.size, 0);
  assert.notEqual(formatAddress(store.create(wanted("a")).ipv4!), formatAddress(first.ipv4!));
});

test("a record that can't be read is named and left alone; the others are restored", () => {
  const records = memoryRecords();
  open(records).create(wanted("a"));
  records.texts.set("7", '{"version":1,"id":7');
  const store = open(records);
  assert.deepEqual(store.unreadable, ["7"]);
  assert.equal(store.table.size, 1);
});

test("two records with one number: the second is named, not restored", () => {
  const records = memoryRecords();
  open(records).create(wanted("a"));
  records.texts.set("copy", records.texts.get("1")!);
  assert.deepEqual(open(records).unreadable, ["copy"]);
});

for (const [what, capacity, cidr, code] of [
  ["numbers", 3, "10.217.0.0/24", "TOO_MANY_ENDPOINTS"],
  ["addresses", 4096, "10.217.0.0/29", "NO_FREE_ADDRESS"],
] as const) {
  test(`when ${what} are used up the next endpoint is refused with ${code}, and the one after a removal is not`, () => {
    const store = open(memoryRecords(), capacity, cidr);
    const room = capacity === 3 ? 2 : 5;
    const all = Array.from({ length: room }, (_, i) => store.create(wanted(`w${i}`)));
    assert.throws(() => store.create(wanted("late")), { code });
    store.remove(all[0]!.id);
    store.create(wanted("late"));
  });
}

test("one container has one endpoint", () => {
  const store = open(memoryRecords());
  store.create(wanted("a"));
  assert.throws(() => store.create(wanted("a")), { code: "ENDPOINT_EXISTS" });
});

test("a record that can't be written leaves nothing taken", () => {
  const records = memoryRecords();
  const full: RecordFolder = {
    ...records,
    write() {
      throw new Error("ENOSPC: no space left on device");
    },
  };
  const store = open(full, 4096, "10.217.0.0/30");
  assert.throws(() => store.create(wanted("a")), /no space left/);
  assert.throws(() => store.create(wanted("a")), /no space left/, "its one address is free again");
});
