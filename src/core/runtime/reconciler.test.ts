import assert from "node:assert/strict";
import { test } from "node:test";
import type { Clock } from "./clock.ts";
import { createReconciler, type Operations } from "./reconciler.ts";
import { Table } from "./table.ts";

/** A target that is a map, and fails for the keys it is told to. */
function createTarget(initial: Iterable<[string, number]> = []) {
  const held = new Map(initial);
  const failing = new Set<string>();
  let settled = 0;
  const operations: Operations<string, number> = {
    update(key, row) {
      if (failing.has(key)) throw new Error(`${key} is refused`);
      held.set(key, row);
    },
    delete: (key) => void held.delete(key),
    prune(rows) {
      for (const key of held.keys()) if (!rows.has(key)) held.delete(key);
    },
    settled: () => void settled++,
  };
  return { held, failing, operations, rounds: () => settled };
}

/** A clock whose timers fire when the test says so. */
function createManualClock() {
  let timers: (() => void)[] = [];
  const clock: Clock = {
    nowMs: () => 0,
    monotonicMs: () => 0,
    after(_delay, action) {
      timers.push(action);
      return { cancel: () => (timers = timers.filter((t) => t !== action)) };
    },
  };
  const fire = () => {
    const due = timers;
    timers = [];
    for (const action of due) action();
  };
  return { clock, fire, waiting: () => timers.length };
}

test("rows are carried over, changed, deleted; what nobody wants is pruned at the start", async () => {
  const table = new Table<string, number>("rows");
  const target = createTarget([["stale", 9]]);
  table.set("a", 1);
  table.set("b", 2);
  const reconciler = createReconciler({ table, operations: target.operations });
  await reconciler.settled();
  assert.deepEqual(
    [...target.held],
    [
      ["a", 1],
      ["b", 2],
    ],
  );
  table.set("a", 3);
  table.delete("b");
  await reconciler.settled();
  assert.deepEqual([...target.held], [["a", 3]]);
  assert.deepEqual([...reconciler.status.entries()], [["a", { kind: "done" }]]);
  reconciler.close();
});

test("a failing row is retried with growing delays while the others are served, and heals", async () => {
  const table = new Table<string, number>("rows");
  const target = createTarget();
  const { clock, fire, waiting } = createManualClock();
  target.failing.add("bad");
  table.set("bad", 1);
  table.set("good", 2);
  const reconciler = createReconciler({
    table,
    operations: target.operations,
    clock,
    backoff: { minMs: 10, maxMs: 25 },
  });
  await reconciler.settled();
  const delays: number[] = [];
  for (let i = 0; i < 4; i++) {
    const status = reconciler.status.get("bad");
    assert.ok(status?.kind === "error");
    assert.equal(status.message, "bad is refused");
    delays.push(status.retryAtMs);
    assert.equal(waiting(), 1);
    if (i === 3) target.failing.clear();
    fire();
    await reconciler.settled();
  }
  assert.deepEqual(delays, [10, 20, 25, 25]);
  assert.deepEqual(reconciler.status.get("bad"), { kind: "done" });
  assert.deepEqual(
    [...target.held],
    [
      ["good", 2],
      ["bad", 1],
    ],
  );
  reconciler.close();
});

test("a round that is under way is followed by one for what came meanwhile, never accompanied", async () => {
  const table = new Table<string, number>("rows");
  let inside = 0;
  const order: string[] = [];
  const reconciler = createReconciler<string, number>({
    table,
    operations: {
      async update(key, row) {
        assert.equal(++inside, 1);
        order.push(`${key}${row}`);
        await new Promise((resolve) => setImmediate(resolve));
        inside--;
      },
      delete: () => undefined,
      prune: () => undefined,
    },
  });
  table.set("a", 1);
  await new Promise((resolve) => setImmediate(resolve));
  table.set("a", 2);
  table.set("b", 1);
  await reconciler.settled();
  assert.deepEqual(order, ["a1", "a2", "b1"]);
  reconciler.close();
});

test("a failing prune is named and does not stop the rows", async () => {
  const table = new Table<string, number>("rows");
  const target = createTarget();
  const { clock } = createManualClock();
  table.set("a", 1);
  const reconciler = createReconciler({
    table,
    clock,
    operations: {
      ...target.operations,
      prune() {
        throw new Error("dump interrupted");
      },
    },
  });
  await reconciler.settled();
  assert.equal(reconciler.pruneProblem, "dump interrupted");
  assert.equal(target.held.get("a"), 1);
  reconciler.close();
});

test("rows are carried again where somebody else has changed the target", async () => {
  const table = new Table<string, number>("rows");
  const target = createTarget();
  table.set("a", 1);
  table.set("b", 2);
  const reconciler = createReconciler({ table, operations: target.operations });
  await reconciler.settled();
  target.held.clear();
  reconciler.again(["a", "never"]);
  await reconciler.settled();
  assert.deepEqual([...target.held], [["a", 1]]);
  reconciler.close();
});
