import assert from "node:assert/strict";
import { test } from "node:test";
import type { ObjectMeta } from "./meta.ts";
import { checkMetadata } from "./metadata.ts";
import { nearestName } from "./nearest.ts";
import { type Kind, resourceOf } from "./resources.ts";

const wrong: Record<string, { kind?: Kind; metadata: ObjectMeta; path: string }> = {
  "no name": { metadata: {}, path: "metadata.name" },
  "an upper-case name": { metadata: { name: "Web" }, path: "metadata.name" },
  "a name that begins with a dash": { metadata: { name: "-a" }, path: "metadata.name" },
  "a name of 254 characters": { metadata: { name: "a".repeat(254) }, path: "metadata.name" },
  "a namespace with a dot": { kind: "Namespace", metadata: { name: "a.b" }, path: "metadata.name" },
  "a service that begins with a digit": { kind: "Service", metadata: { name: "1a" }, path: "metadata.name" },
  "a label key with two slashes": { metadata: { name: "a", labels: { "a/b/c": "x" } }, path: "metadata.labels" },
  "a label key with a bad prefix": { metadata: { name: "a", labels: { "A_b/c": "x" } }, path: "metadata.labels" },
  "an empty label key": { metadata: { name: "a", labels: { "": "x" } }, path: "metadata.labels" },
  "a label value of 64 characters": { metadata: { name: "a", labels: { a: "x".repeat(64) } }, path: "metadata.labels" },
  "a label value with a space": { metadata: { name: "a", labels: { a: "x y" } }, path: "metadata.labels" },
  "annotations of 300 kB": {
    metadata: { name: "a", annotations: { a: "x".repeat(300_000) } },
    path: "metadata.annotations",
  },
};
for (const [name, { kind = "Pod", metadata, path }] of Object.entries(wrong)) {
  test(`metadata with ${name} is refused`, () => {
    assert.deepEqual(
      checkMetadata(resourceOf(kind), metadata).map((problem) => problem.path),
      [path],
    );
  });
}

test("good metadata passes", () => {
  const labels = { app: "web", "app.kubernetes.io/name": "Web_1.x", empty: "" };
  assert.deepEqual(
    checkMetadata(resourceOf("Pod"), { name: "web.1", labels, annotations: { "Any.One/x": "ä b" } }),
    [],
  );
});

const slips: Record<string, string | undefined> = {
  ingres: "ingress",
  Ingress: "ingress",
  igress: "egress",
  fromEndpoint: "fromEndpoints",
  fromEnpdoints: "fromEndpoints",
  fromEnd: "fromEndpoints",
  something: undefined,
  x: undefined,
};
for (const [written, meant] of Object.entries(slips)) {
  test(`"${written}" is ${meant === undefined ? "no slip of a known name" : `a slip of ${meant}`}`, () => {
    assert.equal(nearestName(written, ["egress", "ingress", "fromEndpoints", "toPorts"]), meant);
  });
}
