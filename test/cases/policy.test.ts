/** Every case file against the engine alone. TSILIUM_UPDATE=1 rewrites `entries`, `problems` and `repaired.yaml`; flows stay as people wrote them. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { formatTable, parseCaseFile, replaceSection } from "./case-file.ts";
import { entriesOf, judgeFlow, loadCase, problemRows } from "./run-case.ts";

const folder = join(import.meta.dirname, "policy");
const update = process.env.TSILIUM_UPDATE === "1";
const names = readdirSync(folder)
  .filter((name) => name.endsWith(".txtar"))
  .sort();

test("there are enough cases", () => assert.ok(names.length >= 60, `${names.length}`));

for (const name of names) {
  const path = join(folder, name);
  let text = readFileSync(path, "utf8");
  test(`${name.replace(".txtar", "")}: ${text.split("\n", 1)[0]}`, () => {
    const file = parseCaseFile(text);
    const loaded = loadCase(file);
    if (update) {
      for (const { of, all } of file.entries) {
        const rows = entriesOf(loaded, file, of, all);
        text = replaceSection(
          text,
          `${all ? "all " : ""}entries of ${of}`,
          formatTable(["direction", "peer", "port", "action"], rows),
        );
      }
      if (file.problems)
        text = replaceSection(
          text,
          "problems",
          formatTable(["severity", "at", "code", "path"], problemRows(loaded.problems)),
        );
      if (file.repaired !== undefined) text = replaceSection(text, "repaired.yaml", loaded.repaired ?? "");
      writeFileSync(path, text);
      return;
    }
    if (file.problems) assert.deepEqual(problemRows(loaded.problems), file.problems);
    else assert.deepEqual(problemRows(loaded.problems.filter((problem) => problem.severity === "error")), []);
    if (file.repaired !== undefined) assert.equal(loaded.repaired, file.repaired);
    for (const { of, all, rows } of file.entries) assert.deepEqual(entriesOf(loaded, file, of, all), rows);
    for (const flow of file.flows) {
      const found = judgeFlow(loaded, file, flow);
      assert.equal(
        `${found.verdict} ${found.reason}`.trim(),
        `${flow.verdict} ${flow.reason}`.trim(),
        `line ${flow.line}: ${flow.text}`,
      );
      if (flow.rule !== undefined) assert.equal(found.rule, flow.rule, `line ${flow.line}: ${flow.text}`);
    }
    assert.ok(file.flows.length + file.entries.length > 0 || file.problems !== undefined, "the case expects nothing");
  });
}
