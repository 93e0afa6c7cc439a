import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { checkCommand } from "./command.ts";
import { collectPair, parseDurationMs } from "./flags.ts";

for (const [text, milliseconds] of [
  ["10s", 10_000],
  ["500ms", 500],
  ["2m", 120_000],
  ["1.5", 1500],
] as const) {
  test(`a duration of ${text} is ${milliseconds} ms`, () =>
    assert.equal(parseDurationMs("--timeout")(text), milliseconds));
}
for (const text of ["", "10h", "-1s", "s", "1e3"]) {
  test(`"${text}" is no duration`, () =>
    assert.throws(() => parseDurationMs("--timeout")(text), { code: "USAGE", message: /--timeout/ }));
}

test("pairs gather, the value may hold an equals sign", () => {
  const add = collectPair("--env");
  assert.deepEqual(add("B=x=y", add("A=1")), { A: "1", B: "x=y" });
  assert.throws(() => add("=x"), { code: "USAGE" });
  assert.throws(() => add("novalue"), { code: "USAGE" });
});

test("a command is looked up as execvp does", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "tsilium-run-"));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "data"), "");
  writeFileSync(join(folder, "tool"), "#!/bin/sh\n");
  chmodSync(join(folder, "tool"), 0o755);
  checkCommand("tool", folder);
  checkCommand(join(folder, "tool"), "");
  // A folder of PATH that can't be entered (here: a file) is passed over.
  checkCommand("tool", `${join(folder, "data")}:${folder}`);
  assert.throws(() => checkCommand("data", folder), { code: "COMMAND_NOT_EXECUTABLE" });
  assert.throws(() => checkCommand(folder, ""), { code: "COMMAND_NOT_EXECUTABLE" });
  assert.throws(() => checkCommand("absent", folder), { code: "COMMAND_NOT_FOUND" });
});
