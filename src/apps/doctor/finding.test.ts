import assert from "node:assert/strict";
import { test } from "node:test";
import { type Check, examineOne } from "./finding.ts";

const check = (more: Partial<Check>): Check => ({
  name: "thing",
  group: "kernel",
  required: true,
  asRoot: true,
  how: "try it",
  cost: "much",
  attempt: () => undefined,
  ...more,
});
const facts = { name: "thing", group: "kernel", required: true, how: "try it", cost: "much" };

test("what does not throw works, with what it found", async () => {
  assert.deepEqual(await examineOne(check({ attempt: () => "6.6" }), true), {
    ...facts,
    state: "works",
    detail: "6.6",
  });
});

test("what throws is missing, in the kernel's own words", async () => {
  const attempt = () => {
    throw new Error("EPERM");
  };
  assert.deepEqual(await examineOne(check({ attempt }), true), { ...facts, state: "missing", detail: "EPERM" });
});

test("what only root can try is not tried by others", async () => {
  const attempt = () => assert.fail("tried");
  assert.equal((await examineOne(check({ attempt }), false)).state, "untried");
});
