import assert from "node:assert/strict";
import { test } from "node:test";
import { stripVTControlCharacters } from "node:util";
import { formatAge, formatBytes, formatTable } from "./output.ts";

test("columns line up whatever colours their cells have, and lines have no trailing blanks", () => {
  const columns = [
    { title: "NAME", cell: (row: readonly string[]) => row[0]! },
    { title: "STATE", cell: (row: readonly string[]) => row[1]! },
    { title: "MORE", wide: true, cell: () => "x" },
  ];
  const rows = [
    ["a", "\u001b[32mready\u001b[39m"],
    ["longer", ""],
  ];
  const plain = (wide: boolean) => stripVTControlCharacters(formatTable(columns, rows, wide)).split("\n");
  assert.deepEqual(plain(false), ["NAME     STATE", "a        ready", "longer"]);
  assert.deepEqual(plain(true), ["NAME     STATE   MORE", "a        ready   x", "longer           x"]);
});

const now = Date.parse("2026-01-02T00:00:00Z");
for (const [since, age] of [
  ["2026-01-01T23:59:48Z", "12s"],
  ["2026-01-01T23:54:57Z", "5m3s"],
  ["2026-01-01T23:55:00Z", "5m"],
  ["2026-01-01T20:00:00Z", "4h"],
  ["2025-12-28T00:00:00Z", "5d"],
  ["2026-01-02T00:00:05Z", "0s"],
  ["nonsense", "-"],
] as const) {
  test(`the age of ${since} is ${age}`, () => assert.equal(formatAge(since, now), age));
}

test("bytes have a unit that people read", () => {
  assert.deepEqual([0, 999, 1500, 98_765_432, 2e9].map(formatBytes), ["0 B", "999 B", "1.5 kB", "98.8 MB", "2.0 GB"]);
});
