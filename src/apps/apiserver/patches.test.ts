import assert from "node:assert/strict";
import { test } from "node:test";
import { resourceOf } from "#contracts/kube";
import { jsonPatch, mergePatch, strategicMergePatch } from "./patches.ts";

// The examples of RFC 7386, appendix A.
const mergeRows: [unknown, unknown, unknown][] = [
  [{ a: "b" }, { a: "c" }, { a: "c" }],
  [{ a: "b" }, { b: "c" }, { a: "b", b: "c" }],
  [{ a: "b" }, { a: null }, {}],
  [{ a: "b", b: "c" }, { a: null }, { b: "c" }],
  [{ a: ["b"] }, { a: "c" }, { a: "c" }],
  [{ a: "c" }, { a: ["b"] }, { a: ["b"] }],
  [{ a: { b: "c" } }, { a: { b: "d", c: null } }, { a: { b: "d" } }],
  [{ a: [{ b: "c" }] }, { a: [1] }, { a: [1] }],
  [
    ["a", "b"],
    ["c", "d"],
    ["c", "d"],
  ],
  [{ a: "b" }, ["c"], ["c"]],
  [{ a: "foo" }, null, null],
  [{ e: null }, { a: 1 }, { e: null, a: 1 }],
  [[1, 2], { a: "b", c: null }, { a: "b" }],
  [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
];
for (const [target, patch, result] of mergeRows) {
  test(`merging ${JSON.stringify(patch)} into ${JSON.stringify(target)} gives ${JSON.stringify(result)}`, () => {
    assert.deepEqual(mergePatch(target, patch), result);
  });
}

const jsonRows: Record<string, { target: unknown; patch: unknown[]; result: unknown }> = {
  "add a member": { target: { a: 1 }, patch: [{ op: "add", path: "/b", value: 2 }], result: { a: 1, b: 2 } },
  "add to the middle of a list": { target: [1, 3], patch: [{ op: "add", path: "/1", value: 2 }], result: [1, 2, 3] },
  "add to the end of a list": { target: [1], patch: [{ op: "add", path: "/-", value: 2 }], result: [1, 2] },
  "remove a member": { target: { a: 1, b: 2 }, patch: [{ op: "remove", path: "/a" }], result: { b: 2 } },
  "remove an item": { target: { a: [1, 2] }, patch: [{ op: "remove", path: "/a/0" }], result: { a: [2] } },
  "replace a value": {
    target: { a: { b: 1 } },
    patch: [{ op: "replace", path: "/a/b", value: 2 }],
    result: { a: { b: 2 } },
  },
  "replace everything": { target: { a: 1 }, patch: [{ op: "replace", path: "", value: [] }], result: [] },
  "move a value": {
    target: { a: { b: 1 }, c: {} },
    patch: [{ op: "move", from: "/a/b", path: "/c/d" }],
    result: { a: {}, c: { d: 1 } },
  },
  "copy a value": { target: { a: [1] }, patch: [{ op: "copy", from: "/a", path: "/b" }], result: { a: [1], b: [1] } },
  "test and change": {
    target: { a: [{ b: 1 }] },
    patch: [
      { op: "test", path: "/a/0", value: { b: 1 } },
      { op: "add", path: "/a/0/c", value: null },
    ],
    result: { a: [{ b: 1, c: null }] },
  },
  "escaped names": {
    target: { "a/b": 1, "c~d": 2 },
    patch: [
      { op: "remove", path: "/a~1b" },
      { op: "remove", path: "/c~0d" },
    ],
    result: {},
  },
};
for (const [name, { target, patch, result }] of Object.entries(jsonRows)) {
  test(`JSON patch: ${name}`, () => {
    const before = structuredClone(target);
    assert.deepEqual(jsonPatch(target, patch), result);
    assert.deepEqual(target, before, "the target itself must not change");
  });
}

const wrongPatches: Record<string, { patch: unknown; says: RegExp }> = {
  "that is no list": { patch: {}, says: /must be a list/ },
  "without op": { patch: [{ path: "/a" }], says: /operation 0 must have/ },
  "with an unknown op": { patch: [{ op: "frob", path: "/a" }], says: /unknown op "frob"/ },
  "that removes what is not there": { patch: [{ op: "remove", path: "/x" }], says: /there is no "x"/ },
  "with an index out of range": { patch: [{ op: "add", path: "/list/5", value: 1 }], says: /"5" is no index/ },
  "with a leading zero": { patch: [{ op: "replace", path: "/list/00", value: 1 }], says: /no index/ },
  "with a failing test": { patch: [{ op: "test", path: "/a", value: 2 }], says: /another/ },
  "with a path without slash": { patch: [{ op: "add", path: "a", value: 2 }], says: /begins with \// },
  "through a number": { patch: [{ op: "add", path: "/a/b", value: 2 }], says: /no object or list/ },
  "without value": { patch: [{ op: "add", path: "/b" }], says: /"value" is missing/ },
};
for (const [name, { patch, says }] of Object.entries(wrongPatches)) {
  test(`a JSON patch ${name} is refused`, () => {
    assert.throws(() => jsonPatch({ a: 1, list: [1] }, patch), { code: "API_REFUSED", message: says });
  });
}

const { schema } = resourceOf("Service");
const service = {
  metadata: { name: "s", labels: { a: "1", b: "2" }, finalizers: ["x", "y"] },
  spec: {
    ports: [
      { port: 80, name: "http" },
      { port: 443, name: "https" },
    ],
    externalIPs: ["192.0.2.1"],
  },
};
const strategicRows: Record<string, { patch: unknown; result: (s: typeof service) => unknown }> = {
  "items merge by their key": {
    patch: { spec: { ports: [{ port: 443, targetPort: 8443 }] } },
    result: (s) => ({ ...s, spec: { ...s.spec, ports: [s.spec.ports[0], { ...s.spec.ports[1], targetPort: 8443 }] } }),
  },
  "new items are appended": {
    patch: { spec: { ports: [{ port: 53 }] } },
    result: (s) => ({ ...s, spec: { ...s.spec, ports: [...s.spec.ports, { port: 53 }] } }),
  },
  "items are deleted by directive": {
    patch: { spec: { ports: [{ port: 80, $patch: "delete" }] } },
    result: (s) => ({ ...s, spec: { ...s.spec, ports: [s.spec.ports[1]] } }),
  },
  "a list is replaced by directive": {
    patch: { spec: { ports: [{ port: 1 }, { $patch: "replace" }] } },
    result: (s) => ({ ...s, spec: { ...s.spec, ports: [{ port: 1 }] } }),
  },
  "order is set": {
    patch: { spec: { "$setElementOrder/ports": [{ port: 443 }, { port: 80 }] } },
    result: (s) => ({ ...s, spec: { ...s.spec, ports: [s.spec.ports[1], s.spec.ports[0]] } }),
  },
  "lists without merge strategy are replaced": {
    patch: { spec: { externalIPs: ["192.0.2.2"] } },
    result: (s) => ({ ...s, spec: { ...s.spec, externalIPs: ["192.0.2.2"] } }),
  },
  "sets are united, and thinned by directive": {
    patch: { metadata: { finalizers: ["z"], "$deleteFromPrimitiveList/finalizers": ["x"] } },
    result: (s) => ({ ...s, metadata: { ...s.metadata, finalizers: ["y", "z"] } }),
  },
  "null removes": {
    patch: { metadata: { labels: { a: null } } },
    result: (s) => ({ ...s, metadata: { ...s.metadata, labels: { b: "2" } } }),
  },
  "an object is replaced by directive": {
    patch: { metadata: { labels: { $patch: "replace", c: "3" } } },
    result: (s) => ({ ...s, metadata: { ...s.metadata, labels: { c: "3" } } }),
  },
  "other keys go by $retainKeys": {
    patch: { spec: { $retainKeys: ["ports"] } },
    result: (s) => ({ ...s, spec: { ports: s.spec.ports } }),
  },
};
for (const [name, { patch, result }] of Object.entries(strategicRows)) {
  test(`strategic merge patch: ${name}`, () => {
    assert.deepEqual(strategicMergePatch(schema, service, patch), result(service));
  });
}

test("a strategic merge patch with an item without its key is refused", () => {
  assert.throws(() => strategicMergePatch(schema, service, { spec: { ports: [{ name: "x" }] } }), {
    message: /no "port"/,
  });
});
