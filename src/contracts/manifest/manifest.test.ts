import assert from "node:assert/strict";
import { test } from "node:test";
import { formatPath, formatProblems, parseManifests, parsePath } from "./index.ts";

const text = `apiVersion: v1
kind: Thing
spec:
  items:
  - name: first
    "odd.key/x": 1
  - name: second
    empty: null
`;

const places: ReadonlyArray<readonly [path: string, at: "key" | "value", line: number, column: number]> = [
  ["kind", "value", 2, 7],
  ["kind", "key", 2, 1],
  ["spec.items", "value", 4, 3],
  ["spec.items[1]", "value", 7, 5],
  ["spec.items[1].name", "value", 7, 11],
  ['spec.items[0]["odd.key/x"]', "value", 6, 18],
  ['spec.items[0]["odd.key/x"]', "key", 6, 5],
  ["spec.items[0].missing", "value", 5, 5],
  ["spec.items[7].name", "value", 4, 3],
  ["spec.items[0].odd.key/x", "key", 6, 5],
  ["nowhere", "value", 1, 1],
];
for (const [path, at, line, column] of places)
  test(`the ${at} of ${path} stands at ${line}:${column}`, () => {
    const [manifest] = parseManifests(text);
    const position = manifest!.locate(path, at);
    assert.deepEqual([position.line, position.column], [line, column]);
  });

test("paths survive being written and read", () => {
  for (const path of ["a.b[0].c", 'a["x.y/z"][3]', 'a["quo\\"te"]', ""])
    assert.equal(formatPath(parsePath(path)), path);
});

const broken: ReadonlyArray<readonly [name: string, text: string, code: string, line: number]> = [
  ["a duplicate key", "a: 1\nb: 2\na: 3\n", "duplicate-key", 3],
  ["a tab as indentation", "a:\n\tb: 1\n", "yaml-syntax", 2],
  ["an unclosed bracket", "a: [1, 2\n", "yaml-syntax", 2],
  ["bad indentation", "a:\n  b: 1\n c: 2\n", "yaml-syntax", 3],
  ["an unknown alias", "a: *nobody\n", "yaml-alias", 1],
];
for (const [name, source, code, line] of broken)
  test(`${name} is refused with its line`, () => {
    const problem = parseManifests(source, { file: "x.yaml" }).flatMap((m) => m.problems)[0];
    assert.deepEqual([problem?.code, problem?.line, problem?.file], [code, line, "x.yaml"]);
  });

test("aliases that explode are refused", () => {
  let bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n";
  for (let i = 1; i < 9; i++)
    bomb += `a${i}: &a${i} [${Array(9)
      .fill(`*a${i - 1}`)
      .join(",")}]\n`;
  assert.equal(parseManifests(bomb)[0]!.problems[0]?.code, "yaml-alias");
});

test("nesting that exhausts the parser is refused, not thrown", () => {
  const problems = parseManifests("[".repeat(200_000)).flatMap((m) => m.problems);
  assert.ok(problems.length > 0);
});

test("several documents; empty ones are left out", () => {
  const manifests = parseManifests("a: 1\n---\n---\nb: 2\n");
  assert.deepEqual(
    manifests.map((m) => m.value),
    [{ a: 1 }, { b: 2 }],
  );
  assert.equal(manifests[1]!.locate("b").line, 4);
});

test("a problem is shown with the line, a caret and the hint", () => {
  const [manifest] = parseManifests(text, { file: "t.yaml" });
  const problems = manifest!.locateProblems([
    { path: "spec.items[1].name", code: "bad", severity: "error", message: "no such name", hint: "choose another" },
  ]);
  assert.equal(
    formatProblems(problems, new Map([["t.yaml", text]])),
    [
      "error[bad]: no such name",
      " --> t.yaml:7:11  spec.items[1].name",
      "  |",
      "7 |   - name: second",
      "  |           ^^^^^^",
      "  = hint: choose another",
      "",
    ].join("\n"),
  );
});

test("no-break spaces as indentation are one problem, and the rest is read as if they were spaces", () => {
  const [manifest] = parseManifests("a:\n \u00a0b: 1\n\u00a0\u00a0c:\n \u00a0-\u00a0d: 2\n", { file: "x" });
  assert.deepEqual(manifest!.value, { a: { b: 1, c: [{ d: 2 }] } });
  assert.deepEqual(
    manifest!.problems.map((p) => [p.code, p.line, p.column, p.message.slice(0, 7)]),
    [["odd-blank", 2, 2, "3 lines"]],
  );
});

test("no-break spaces inside of values are nobody's business", () => {
  assert.deepEqual(parseManifests("a: x\u00a0y\n")[0]!.problems, []);
});
