import assert from "node:assert/strict";
import { test } from "node:test";
import { type Change, Table } from "./table.ts";

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

test("a watcher gets what is there, then each turn's changes once per key", async () => {
  const table = new Table<string, number>("t");
  table.set("a", 1);
  const seen: Change<string, number>[][] = [];
  table.watch((changes) => seen.push([...changes]));
  await turn();
  table.set("a", 2);
  table.set("a", 3);
  table.set("b", 1);
  table.delete("b");
  await turn();
  table.delete("a");
  await turn();
  assert.deepEqual(seen, [
    [{ key: "a", previous: undefined, current: 1 }],
    [{ key: "a", previous: 1, current: 3 }],
    [{ key: "a", previous: 3, current: undefined }],
  ]);
});

test("an equal row tells nobody, and nobody is told after the watch has ended", async () => {
  const table = new Table<string, { n: number }>("t", (a, b) => a.n === b.n);
  let calls = 0;
  const unwatch = table.watch(() => calls++);
  table.set("a", { n: 1 });
  await turn();
  table.set("a", { n: 1 });
  await turn();
  table.set("a", { n: 2 });
  unwatch();
  await turn();
  assert.equal(calls, 1);
});

test("replace makes the table hold exactly the rows given", () => {
  const table = new Table<string, number>("t");
  table.set("old", 1);
  table.replace(new Map([["new", 2]]));
  assert.deepEqual([...table.entries()], [["new", 2]]);
});
