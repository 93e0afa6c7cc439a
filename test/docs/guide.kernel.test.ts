// The commands of the guide that need a node, on a node in a network namespace of its own.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { TestNode } from "../e2e/node.ts";
import { difference, guidePages, runSteps, type Step, stepsOf } from "./pages.ts";

let node: TestNode;
before(async () => {
  node = await TestNode.start();
});
after(async () => {
  assert.deepEqual(await node?.close(), []);
});

const run = (steps: readonly Step[]) =>
  runSteps(steps, {
    wrap: ["nsenter", `--net=/run/netns/${node.netns}`],
    env: { TSILIUM_INSTANCE: node.instance },
    timeoutMs: 120_000,
  });

for (const page of guidePages()) {
  const steps = stepsOf(page).filter(({ mode }) => mode === "node");
  if (steps.length === 0) continue;
  test(`the commands of ${page} do what the page says`, async () => {
    for (const outcome of await run(steps)) assert.equal(difference(outcome), undefined);
    // The next page begins with an empty node.
    const tidy = ["tsilium stop --all", "tsilium delete cnp web service-account --ignore-not-found --wait"];
    const common = { page, line: 0, mode: "node", shows: [], exitCode: 0 } as const;
    for (const outcome of await run(tidy.map((command) => ({ ...common, command })))) {
      assert.equal(difference(outcome), undefined);
    }
  });
}
