import assert from "node:assert/strict";
import { test } from "node:test";
import { stripVTControlCharacters } from "node:util";
import { formatDump } from "./map.ts";

test("fields of keys and values become columns, nested ones with their path", () => {
  const text = formatDump({
    name: "ipcache",
    truncated: false,
    entries: [
      { key: "10.0.0.1/32", value: { identity: 256, endpoint: { id: 3 } } },
      { key: "0.0.0.0/0", value: { identity: 9 } },
    ],
  });
  assert.deepEqual(stripVTControlCharacters(text).split("\n"), [
    "KEY           IDENTITY   ENDPOINT.ID",
    "10.0.0.1/32   256        3",
    "0.0.0.0/0     9",
  ]);
});
