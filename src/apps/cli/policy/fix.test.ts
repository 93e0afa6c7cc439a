import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { test } from "node:test";
import { parseManifests } from "#contracts/manifest";
import { checkSources, hasErrors } from "./check.ts";
import { fixSource } from "./fix.ts";
import { unifiedDiff } from "./text-diff.ts";

const examples = resolve(import.meta.dirname, "../../../../examples");
const read = (file: string) => ({ file, text: readFileSync(`${examples}/${file}`, "utf8") });

for (const name of ["service-account", "restrict-access"])
  test(`${name} is fixed to what was meant; fixing it again changes nothing`, async () => {
    const fixed = fixSource(read(`seed/${name}.yaml`));
    const [meant] = parseManifests(read(`policies/${name}.yaml`).text);
    assert.deepEqual(parseManifests(fixed.text)[0]?.value, meant?.value);
    assert.equal(hasErrors(await checkSources([fixed])), false);
    assert.deepEqual(fixSource(fixed), fixed);
  });

test("policies without errors keep their text", async () => {
  for (const file of ["policies/first.yaml", "shop/policies.yaml", "shop/workloads.yaml"])
    assert.equal(fixSource(read(file)).text, read(file).text);
});

test("a diff shows what differs with its surroundings", async () => {
  assert.equal(
    unifiedDiff("f", "1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nfive\n6\n7\n8\n9\n10\n"),
    "--- f\n+++ f (fixed)\n@@ -2,9 +2,10 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n 9\n+10\n \n",
  );
  assert.equal(unifiedDiff("f", "a", "a"), "");
});
