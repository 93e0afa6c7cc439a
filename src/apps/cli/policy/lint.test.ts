import assert from "node:assert/strict";
import { resolve } from "node:path";
import { test } from "node:test";
import { readWorldObjects } from "#apps/library";
import { isWorkloadKind } from "#contracts/kube";
import { readSources } from "#contracts/manifest";
import { checkSources, lintSources } from "./check.ts";
import { sarifLog } from "./sarif.ts";

const shop = resolve(import.meta.dirname, "../../../../examples/shop");
const material = readWorldObjects(await readSources([shop]));
const sources = await readSources([`${shop}/doubtful`]);

test("findings stand where the policy's text is", async () => {
  const found = await lintSources(await checkSources(sources), sources, material);
  assert.deepEqual(
    found.map(({ code, line, column }) => `${code} ${line}:${column}`),
    ["egress-not-accepted 12:11", "port-not-exposed 14:19"],
  );
});

test("without workloads nothing is said of workloads", async () =>
  assert.deepEqual(await lintSources(await checkSources(sources), sources, []), []));

test("manifests of workloads beside policies are no problem, and are taken into account", async () => {
  const all = await readSources([shop]);
  const checked = await checkSources(all, false, isWorkloadKind);
  assert.deepEqual(
    checked.problems.filter(({ severity }) => severity === "error"),
    [],
  );
  assert.deepEqual(await lintSources(checked, all, []), []);
});

test("a SARIF log names rule, level and place of each problem", async () => {
  const problem = { path: "spec.x", code: "a-code", severity: "error", message: "no", hint: "do", at: "key" } as const;
  const place = { file: "a b.yaml", line: 3, column: 5, length: 4 };
  const [run] = (sarifLog([{ ...problem, ...place }]) as { runs: { tool: object; results: object[] }[] }).runs;
  assert.deepEqual(run?.results, [
    {
      ruleId: "a-code",
      ruleIndex: 0,
      level: "error",
      message: { text: "no. Hint: do" },
      locations: [
        {
          physicalLocation: {
            artifactLocation: { uri: "a%20b.yaml" },
            region: { startLine: 3, startColumn: 5, endColumn: 9 },
          },
          logicalLocations: [{ fullyQualifiedName: "spec.x" }],
        },
      ],
    },
  ]);
  assert.deepEqual(sarifLog([]), {
    ...sarifLog([]),
    version: "2.1.0",
    runs: [
      { tool: { driver: { name: "tsilium policy check", rules: [] } }, columnKind: "utf16CodeUnits", results: [] },
    ],
  });
});
