import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { diagnose } from "./index.ts";

test("as root every feature is tried, the base runs, and no namespace is left", async () => {
  const { baseRuns, findings } = await diagnose(true);
  const failed = findings.filter(({ required, state }) => required && state !== "works");
  assert.deepEqual(failed, []);
  assert.equal(baseRuns, true);
  assert.deepEqual(
    findings.filter(({ state }) => state === "untried"),
    [],
  );
  assert.deepEqual(
    readdirSync("/run/netns").filter((name) => name.endsWith(`-${process.pid}`)),
    [],
  );
});

test("every finding says how it was tried and what it costs, under a name of its own", async () => {
  const { findings } = await diagnose(true);
  for (const { name, how, cost } of findings) assert.ok(how !== "" && cost !== "", name);
  assert.equal(new Set(findings.map(({ name }) => name)).size, findings.length);
});

test("without root nothing is claimed that only root can tell", async () => {
  const { baseRuns, findings } = await diagnose(false);
  assert.equal(baseRuns, undefined);
  assert.equal(findings.find(({ name }) => name === "the datapath")?.state, "untried");
});
