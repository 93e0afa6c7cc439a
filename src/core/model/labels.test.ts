import assert from "node:assert/strict";
import { test } from "node:test";
import { createLabels, findLabel, formatLabel, labelsKey, parseLabel } from "./labels.ts";

const rows: ReadonlyArray<readonly [string, { source: string; key: string; value: string }]> = [
  ["k8s:app=web", { source: "k8s", key: "app", value: "web" }],
  ["app=web", { source: "unspec", key: "app", value: "web" }],
  ["reserved:host", { source: "reserved", key: "host", value: "" }],
  ["cidr:10.0.0.0/8", { source: "cidr", key: "10.0.0.0/8", value: "" }],
  ["k8s:url=a:b=c", { source: "k8s", key: "url", value: "a:b=c" }],
];
for (const [text, label] of rows)
  test(`${text} is parsed by source, key and value`, () => assert.deepEqual(parseLabel(text), label));

test("equal sets have equal keys, whatever the order they were given in; the last of a key wins", () => {
  const a = createLabels([parseLabel("k8s:b=1"), parseLabel("k8s:a=2")]);
  const b = createLabels([parseLabel("k8s:a=1"), parseLabel("k8s:a=2"), parseLabel("k8s:b=1")]);
  assert.equal(labelsKey(a), labelsKey(b));
  assert.deepEqual(a.map(formatLabel), ["k8s:a=2", "k8s:b=1"]);
});

test("a label is found under any source, or only under the one asked for", () => {
  const labels = createLabels([parseLabel("k8s:app=web")]);
  assert.equal(findLabel(labels, "app")?.value, "web");
  assert.equal(findLabel(labels, "app", "reserved"), undefined);
});
