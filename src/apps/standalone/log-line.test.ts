import assert from "node:assert/strict";
import { test } from "node:test";
import { stripVTControlCharacters } from "node:util";
import { formatLogLine } from "./log-line.ts";

const format = (line: string, least: "info" | "warn" = "info") => {
  const text = formatLogLine("agent", line, least);
  return text === undefined ? undefined : stripVTControlCharacters(text);
};
const line =
  '{"level":"warn","time":"2026-01-02T03:04:05.678Z","component":"agent","pod":"default/web","tries":2,"msg":"slow"}';

test("a log line becomes time, component, level, message and fields", () => {
  assert.equal(format(line), "03:04:05 agent     warn  slow   pod=default/web tries=2");
});

test("lines below the wanted level are left out", () => {
  assert.equal(format(line.replace("warn", "info"), "warn"), undefined);
  assert.notEqual(format(line, "warn"), undefined);
});

test("what is no log line is shown as it is, with its origin", () => {
  assert.equal(format("Segmentation fault"), "agent     Segmentation fault");
  assert.equal(format("{broken"), "agent     {broken");
});
