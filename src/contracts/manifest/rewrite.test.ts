import assert from "node:assert/strict";
import { test } from "node:test";
import { parseManifests, rewriteManifests } from "./index.ts";

const text = `# top
a: 1 # one
b:
  # about c
  c: {d: "x"}
  # gone
  e: 2
list:
- x # first
- y
---
# untouched
k:   [ 1,2 ]
`;

const rows: readonly (readonly [name: string, value: object, rewritten: string])[] = [
  [
    "a changed value keeps its comment",
    { a: "2", b: { c: { d: "x" }, e: 2 }, list: ["x", "y"] },
    text.replace("a: 1", 'a: "2"'),
  ],
  [
    "an entry that moves takes its comment along, and one whose place is gone goes to the top",
    { a: 1, b: { c: { d: "x" } }, list: ["x", "y"], new: { e: 2 } },
    text.replace("  # gone\n  e: 2\n", "").replace("- y\n", "- y\nnew:\n  # gone\n  e: 2\n"),
  ],
];
for (const [name, value, rewritten] of rows)
  test(name, () =>
    assert.equal(
      rewriteManifests(text, (own) => ("k" in (own as object) ? own : value)),
      rewritten,
    ),
  );

test("what keeps its value keeps its text", () =>
  assert.equal(
    rewriteManifests(text, (own) => own),
    text,
  ));

test("the new value is what a reader finds, and no comment is lost", () => {
  const value = { z: [{ c: { d: "y" } }, { list: ["y"] }], e: 3 };
  const out = rewriteManifests(text, (own) => ("k" in (own as object) ? own : value));
  assert.deepEqual(parseManifests(out)[0]?.value, value);
  for (const comment of ["# top", "# one", "# about c", "# gone", "# first", "# untouched"])
    assert.ok(out.includes(comment), comment);
});
