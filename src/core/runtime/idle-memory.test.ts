import assert from "node:assert/strict";
import { test } from "node:test";
import type { Clock } from "./clock.ts";
import { returnIdleMemory } from "./idle-memory.ts";

const MB = 1 << 20;

/** A process whose time, work and heap the test moves. */
function createProcess() {
  let now = 0;
  let pending: { at: number; action: () => void } | undefined;
  const clock: Clock = {
    nowMs: () => now,
    monotonicMs: () => now,
    after(delayMs, action) {
      const own = { at: now + delayMs, action };
      pending = own;
      return {
        cancel() {
          if (pending === own) pending = undefined;
        },
      };
    },
  };
  const state = { cpuMs: 0, heapBytes: 20 * MB, collections: 0 };
  const stop = returnIdleMemory({
    clock,
    cpuMs: () => state.cpuMs,
    heapBytes: () => state.heapBytes,
    collect() {
      state.collections++;
      state.heapBytes = 15 * MB;
      state.cpuMs += 50;
    },
  });
  /** Lets time go by in which the process works for that share of it. */
  const pass = (ms: number, share: number) => {
    for (const end = now + ms; now < end; ) {
      now += 100;
      state.cpuMs += 100 * share;
      if (pending && pending.at <= now) pending.action();
    }
  };
  return { state, pass, stop, isWaiting: () => pending !== undefined };
}

test("memory is given back once when the process comes to rest", () => {
  const { state, pass } = createProcess();
  pass(10_000, 0.01);
  assert.equal(state.collections, 1);
  pass(60_000, 0.01);
  assert.equal(state.collections, 1, "nothing has been allocated since");
});

test("a process that works is left alone, and served when it has finished", () => {
  const { state, pass } = createProcess();
  pass(30_000, 0.5);
  assert.equal(state.collections, 0);
  pass(5000, 0.01);
  assert.equal(state.collections, 1);
});

test("slow growth at rest is collected again, but not for a trifle", () => {
  const { state, pass } = createProcess();
  pass(5000, 0);
  state.heapBytes += 3 * MB;
  pass(5000, 0);
  assert.equal(state.collections, 1);
  state.heapBytes += 2 * MB;
  pass(5000, 0);
  assert.equal(state.collections, 2);
});

test("after its end it never looks again", () => {
  const { state, pass, stop, isWaiting } = createProcess();
  stop();
  assert.equal(isWaiting(), false);
  pass(10_000, 0);
  assert.equal(state.collections, 0);
});
