import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { difference, guidePages, root, runSteps, stepsOf } from "./pages.ts";

for (const page of guidePages()) {
  const offline = stepsOf(page).filter(({ mode }) => mode === "offline");
  if (offline.length > 0) {
    test(`the offline commands of ${page} do what the page says`, async () => {
      for (const outcome of await runSteps(offline, { timeoutMs: 30_000 })) {
        assert.equal(difference(outcome), undefined);
      }
    });
  }

  test(`every link of ${page} leads somewhere`, () => {
    const text = readFileSync(join(root, page), "utf8");
    for (const [, target] of text.matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)) {
      if (/^https?:/.test(target!)) continue;
      assert.ok(existsSync(join(root, dirname(page), target!)), `${page} links to ${target}, which does not exist`);
    }
  });
}

test("every example policy is valid", async () => {
  const step = { page: "examples/policies", line: 0, mode: "offline", shows: [], exitCode: 0 } as const;
  const [outcome] = await runSteps([{ ...step, command: "tsilium policy check examples/policies" }], {
    timeoutMs: 30_000,
  });
  assert.equal(difference(outcome!), undefined);
});
