import assert from "node:assert/strict";
import { test } from "node:test";
import { matchesFields, matchesLabels, parseFieldQuery, parseLabelQuery } from "./selector.ts";

const labels = { app: "web", tier: "front", "example.com/zone": "a", size: "10" };
const rows: Record<string, boolean> = {
  "": true,
  "app=web": true,
  "app==web": true,
  "app=db": false,
  "app!=db": true,
  "missing!=x": true,
  "app in (web,db)": true,
  "app in (db)": false,
  "app notin (db, x)": true,
  "missing notin (x)": true,
  app: true,
  missing: false,
  "!missing": true,
  "!app": false,
  "example.com/zone=a": true,
  "app=web,tier=front": true,
  "app=web,tier in (back)": false,
  "size>9": true,
  "size<10": false,
  "app>9": false,
};
for (const [text, expected] of Object.entries(rows)) {
  test(`label selector "${text}" ${expected ? "matches" : "does not match"}`, () => {
    const parsed = parseLabelQuery(text);
    assert.ok(parsed.ok);
    assert.equal(matchesLabels(parsed.value, labels), expected);
  });
}

for (const text of ["a in b", "=x", "a=b=c", "a in (b", ",", "a,,b", "a b", "!"]) {
  test(`label selector "${text}" is refused`, () => assert.equal(parseLabelQuery(text).ok, false));
}

const pod = { metadata: { name: "web", namespace: "shop" }, spec: { nodeName: "n1", hostNetwork: true } };
const fieldRows: Record<string, boolean> = {
  "metadata.name=web": true,
  "metadata.name!=web": false,
  "spec.nodeName=n1,metadata.namespace=shop": true,
  "spec.nodeName==n2": false,
  "status.phase=": true,
  "spec.hostNetwork=true": true,
};
for (const [text, expected] of Object.entries(fieldRows)) {
  test(`field selector "${text}" ${expected ? "matches" : "does not match"}`, () => {
    const parsed = parseFieldQuery(text, ["spec.nodeName", "status.phase", "spec.hostNetwork"]);
    assert.ok(parsed.ok);
    assert.equal(matchesFields(parsed.value, pod), expected);
  });
}

test("a field selector on a field that can't be selected by names those that can", () => {
  const parsed = parseFieldQuery("spec.image=x", ["spec.nodeName"]);
  assert.ok(!parsed.ok);
  assert.match(parsed.problem, /spec\.image.*metadata\.name, metadata\.namespace, spec\.nodeName/);
});
