import assert from "node:assert/strict";
import { readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import type { KubeObject } from "#contracts/kube";
import { openStore } from "./store.ts";
import type { StoreKey } from "./stored-object.ts";
import { createTestDirectory } from "./testing.ts";

const directory = createTestDirectory();
after(() => rmSync(directory, { recursive: true }));
let next = 0;
/** A store in a directory of its own, closed at the end of the test. */
function open(t: { after(action: () => void): void }) {
  const path = createTestDirectory();
  const store = openStore(path);
  t.after(() => {
    store.close();
    rmSync(path, { recursive: true });
  });
  return store;
}
const key = (name: string, namespace = "default", kind = "pods"): StoreKey => ({ kind, namespace, name });
const object = (name: string): KubeObject => ({ metadata: { name, annotations: { n: String(next++) } } });

test("every write gets a higher revision, and events come in their order before the answer", async (t) => {
  const store = open(t);
  const seen: string[] = [];
  store.history.subscribe((events) =>
    seen.push(...events.map((event) => `${event.type} ${event.name}@${event.revision}`)),
  );
  const a = await store.transact((tx) => tx.put(key("a"), object("a")));
  assert.equal(a.metadata.resourceVersion, "2");
  assert.deepEqual(seen, ["ADDED a@2"]);
  await store.transact((tx) => tx.put(key("a"), object("a")));
  await store.transact((tx) => tx.remove(key("a")));
  assert.deepEqual(seen, ["ADDED a@2", "MODIFIED a@3", "DELETED a@4"]);
  assert.equal(store.revision(), 4);
  assert.equal(store.get(key("a")), undefined);
});

test("an operation that throws undoes its own writes and nobody else's, though they share a transaction", async (t) => {
  const store = open(t);
  const results = await Promise.allSettled([
    store.transact((tx) => tx.put(key("a"), object("a"))),
    store.transact((tx) => {
      tx.put(key("b"), object("b"));
      tx.remove(key("a"));
      throw new Error("no");
    }),
    store.transact((tx) => tx.put(key("c"), object("c"))),
  ]);
  assert.deepEqual(
    results.map(({ status }) => status),
    ["fulfilled", "rejected", "fulfilled"],
  );
  assert.deepEqual(
    store.scan({ kind: "pods" }).map(({ name }) => name),
    ["a", "c"],
  );
  assert.equal(store.revision(), 3);
  assert.deepEqual(
    store.history.since(1)!.map(({ name, revision }) => `${name}@${revision}`),
    ["a@2", "c@3"],
  );
});

test("a rehearsed operation yields its result and leaves no trace", (t) => {
  const store = open(t);
  const stored = store.rehearse((tx) => tx.put(key("a"), object("a")));
  assert.equal(stored.metadata.resourceVersion, "2");
  assert.equal(store.get(key("a")), undefined);
  assert.equal(store.revision(), 1);
  assert.deepEqual(store.history.since(1), []);
});

test("objects and the revision survive closing", async () => {
  const path = createTestDirectory();
  const first = openStore(path);
  await first.transact((tx) => tx.put(key("a"), object("a")));
  await first.transact((tx) => tx.remove(key("a")));
  await first.transact((tx) => tx.put(key("b"), object("b")));
  first.close();
  const second = openStore(path);
  assert.equal(second.revision(), 4);
  assert.deepEqual(
    second.scan({ kind: "pods" }).map(({ name }) => name),
    ["b"],
  );
  assert.equal(second.history.floor(), 4);
  assert.equal(second.history.since(3), undefined);
  assert.equal(statSync(join(path, "objects.db")).mode & 0o777, 0o600);
  second.close();
  rmSync(path, { recursive: true });
});

test("scans are sorted, bounded and resumed after a key", async (t) => {
  const store = open(t);
  await store.transact((tx) => {
    for (const [namespace, name] of [
      ["b", "x"],
      ["a", "y"],
      ["a", "x"],
      ["c", "x"],
    ] as const)
      tx.put(key(name, namespace), object(name));
    tx.put(key("z", "a", "services"), object("z"));
  });
  const names = (range: Parameters<typeof store.scan>[0]) =>
    store.scan(range).map(({ namespace, name }) => `${namespace}/${name}`);
  assert.deepEqual(names({ kind: "pods" }), ["a/x", "a/y", "b/x", "c/x"]);
  assert.deepEqual(names({ kind: "pods", limit: 2 }), ["a/x", "a/y"]);
  assert.deepEqual(names({ kind: "pods", after: { namespace: "a", name: "x" } }), ["a/y", "b/x", "c/x"]);
  assert.deepEqual(names({ kind: "pods", namespace: "a", after: { namespace: "a", name: "x" } }), ["a/y"]);
});

test("the history rewinds a kind to an earlier revision", async (t) => {
  const store = open(t);
  await store.transact((tx) => void ["a", "b"].map((name) => tx.put(key(name), object(name))));
  const then = store.revision();
  const before = store.scan({ kind: "pods" });
  await store.transact((tx) => {
    tx.put(key("a"), object("a"));
    tx.remove(key("b"));
    tx.put(key("0"), object("0"));
    tx.put(key("b"), object("b"));
  });
  assert.deepEqual(store.history.rewind("pods", store.scan({ kind: "pods" }), then), before);
});

test("old history is forgotten, and that is known", async (t) => {
  const store = open(t);
  await store.transact((tx) => {
    for (let i = 0; i < 10_001; i++) tx.put(key("a"), { metadata: { name: "a" } });
  });
  assert.equal(store.history.since(1), undefined);
  assert.ok(store.history.since(store.history.floor())!.length <= 10_000);
  assert.ok(store.history.floor() < store.revision());
});

test("a store that is in use can't be opened again", (t) => {
  const path = createTestDirectory();
  const store = openStore(path);
  t.after(() => {
    store.close();
    rmSync(path, { recursive: true });
  });
  assert.throws(() => openStore(path), { code: "STORE_LOCKED", message: /another API server/ });
});

test("a file that is no store is refused", () => {
  const path = createTestDirectory();
  writeFileSync(
    join(path, "objects.db"),
    "this is not a database, and longer than a header of sixteen bytes ".repeat(40),
  );
  assert.throws(() => openStore(path), { code: "STORE_CORRUPT", message: /damaged/ });
  rmSync(path, { recursive: true });
});

for (const [what, damage] of [
  ["pages", (bytes: Buffer) => bytes.fill(0xde, 2 * 4096)],
  ["the text of an object", (bytes: Buffer) => bytes.write("~", bytes.indexOf('"metadata"'))],
] as const) {
  test(`a store with damage in ${what} is refused, and not written to`, async () => {
    const path = createTestDirectory();
    const file = join(path, "objects.db");
    const store = openStore(path);
    await store.transact((transaction) =>
      transaction.put({ kind: "Pod", namespace: "default", name: "a" }, { metadata: { name: "a" } }),
    );
    store.close();
    const bytes = readFileSync(file);
    damage(bytes);
    writeFileSync(file, bytes);
    assert.throws(() => openStore(path), { code: "STORE_CORRUPT", message: /objects\.db is damaged .*backup/ });
    assert.deepEqual(readFileSync(file), bytes);
    rmSync(path, { recursive: true });
  });
}

test("a directory that is not there is named", () => {
  assert.throws(() => openStore("/nonexistent/dir"), { code: "STORE_UNUSABLE", message: /\/nonexistent\/dir/ });
});

test("many concurrent writes share transactions", async (t) => {
  const store = open(t);
  let batches = 0;
  store.history.subscribe(() => batches++);
  await Promise.all(Array.from({ length: 500 }, (_, i) => store.transact((tx) => tx.put(key(`p${i}`), object("p")))));
  assert.equal(store.scan({ kind: "pods" }).length, 500);
  assert.ok(batches <= 4, `${batches} transactions for 500 writes`);
});
