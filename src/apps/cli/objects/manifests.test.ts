import assert from "node:assert/strict";
import { test } from "node:test";
import { findDuplicates, readObjects } from "./manifests.ts";

const read = (text: string) => readObjects([{ file: "x.yaml", text }]);

test("several documents and the items of a List are objects, each with its place", () => {
  const { objects, problems } = read(
    "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: b}}\n",
  );
  assert.deepEqual(problems, []);
  assert.deepEqual(
    objects.map(({ object, resource, root }) => [resource.kind, object.metadata.name, root]),
    [
      ["Namespace", "a", ""],
      ["Pod", "b", "items[0]"],
    ],
  );
});

const refused: readonly {
  readonly name: string;
  readonly text: string;
  readonly code: string;
  readonly place: string;
}[] = [
  { name: "an empty file", text: "# nothing\n", code: "empty", place: "undefined:undefined" },
  { name: "text that is no YAML", text: "a: [1\n", code: "yaml-syntax", place: "2:1" },
  { name: "a list", text: "- a\n- b\n", code: "wrong-type", place: "1:1" },
  { name: "an object without a kind", text: "apiVersion: v1\n", code: "missing-field", place: "1:1" },
  {
    name: "an unknown kind",
    text: "apiVersion: v1\nkind: Podd\nmetadata: {name: a}\n",
    code: "unknown-kind",
    place: "2:7",
  },
  {
    name: "a version that the kind does not have",
    text: "apiVersion: cilium.io/v1\nkind: CiliumNetworkPolicy\nmetadata: {name: a}\n",
    code: "unknown-version",
    place: "1:13",
  },
  {
    name: "an object without a name",
    text: "apiVersion: v1\nkind: Pod\nmetadata: {}\n",
    code: "missing-field",
    place: "3:1",
  },
];
for (const { name, text, code, place } of refused) {
  test(`${name} is refused with its place`, () => {
    const { objects, problems } = read(text);
    assert.deepEqual(objects, []);
    assert.equal(problems[0]?.code, code);
    assert.equal(`${problems[0]?.line}:${problems[0]?.column}`, place);
  });
}

const named = (kind: string, metadata: string) => `apiVersion: v1\nkind: ${kind}\nmetadata: ${metadata}\n---\n`;
const duplicates = (...files: readonly string[]) =>
  findDuplicates(readObjects(files.map((text, i) => ({ file: `${i}.yaml`, text }))).objects, "warning").map(
    ({ file, line, path, severity, message }) => `${file}:${line} ${path} ${severity}: ${message}`,
  );

test("a name that stands twice in a file is an error, in two files what the caller says", () => {
  assert.deepEqual(duplicates(named("Pod", "{name: a}") + named("Pod", "{name: a, namespace: default}")), [
    "0.yaml:7 metadata.name error: there is a Pod a of namespace default already, in line 3: this one would replace it",
  ]);
  assert.deepEqual(duplicates(named("Namespace", "{name: a}"), named("Namespace", "{name: a}")), [
    "1.yaml:3 metadata.name warning: there is a Namespace a already, in 0.yaml, line 3: this one would replace it",
  ]);
});

test("the same name for another kind or in another namespace is no duplicate", () =>
  assert.deepEqual(
    duplicates(named("Pod", "{name: a}") + named("Service", "{name: a}") + named("Pod", "{name: a, namespace: b}")),
    [],
  ));
