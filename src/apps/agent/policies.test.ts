import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openRecordFolder } from "./files.ts";
import { createJudgedPolicies, type PolicyObject, policyKey } from "./policies.ts";

const directory = mkdtempSync(join(tmpdir(), "tsilium-policies-"));
after(() => rmSync(directory, { recursive: true }));
let folders = 0;
const folder = () => join(directory, String(++folders));

const object = (generation: number, port: string, uid = "u1"): PolicyObject => ({
  apiVersion: "cilium.io/v2",
  kind: "CiliumNetworkPolicy",
  metadata: { name: "web", namespace: "default", uid, generation, resourceVersion: String(generation) },
  spec: {
    endpointSelector: { matchLabels: { app: "web" } },
    ingress: [{ toPorts: [{ ports: [{ port, protocol: "TCP" }] }] }],
  },
});
const key = policyKey(object(1, "80"));

test("a good version is in force; a bad one after it is refused and the good one stays, over a restart too", () => {
  const path = folder();
  const first = createJudgedPolicies(openRecordFolder(path));
  first.put(object(1, "80"));
  assert.equal(first.table.get(key)?.state, "valid");
  first.put(object(2, "99999"));
  const judged = first.table.get(key)!;
  assert.equal(judged.state, "last-good");
  assert.equal(judged.rules.length, 1);
  assert.equal(judged.problems[0]?.path, "spec.ingress[0].toPorts[0].ports[0].port");

  const second = createJudgedPolicies(openRecordFolder(path));
  second.put(object(2, "99999"));
  assert.equal(second.table.get(key)?.state, "last-good");
  assert.deepEqual(second.table.get(key)?.rules, judged.rules);
  second.put(object(3, "81"));
  assert.equal(second.table.get(key)?.state, "valid");
  assert.deepEqual(openRecordFolder(path).readAll(), [], "the record is not needed any more");
});

test("a damaged record of the good version is as none", () => {
  const path = folder();
  const first = createJudgedPolicies(openRecordFolder(path));
  first.put(object(1, "80"));
  first.put(object(2, "99999"));
  for (const [name] of openRecordFolder(path).readAll()) writeFileSync(join(path, `${name}.json`), '{"metadata":');
  const second = createJudgedPolicies(openRecordFolder(path));
  second.put(object(2, "99999"));
  assert.deepEqual([second.table.get(key)?.state, second.table.get(key)?.rules], ["refused", []]);
});

test("a policy that was never good has no rules", () => {
  const policies = createJudgedPolicies(openRecordFolder(folder()));
  policies.put(object(1, "99999"));
  assert.deepEqual([policies.table.get(key)?.state, policies.table.get(key)?.rules], ["refused", []]);
});

test("a namesake of a deleted policy does not inherit its rules", () => {
  const path = folder();
  const policies = createJudgedPolicies(openRecordFolder(path));
  policies.put(object(1, "80"));
  policies.put(object(2, "99999"));
  const restarted = createJudgedPolicies(openRecordFolder(path));
  restarted.put(object(1, "99999", "u2"));
  assert.equal(restarted.table.get(key)?.state, "refused");
});

test("a change of status alone leaves the rules as the very same object", () => {
  const policies = createJudgedPolicies(openRecordFolder(folder()));
  policies.put(object(1, "80"));
  const { rules } = policies.table.get(key)!;
  const touched = object(1, "80");
  policies.put({ ...touched, metadata: { ...touched.metadata, resourceVersion: "9" } });
  assert.equal(policies.table.get(key)?.rules, rules);
  assert.equal(policies.table.get(key)?.resourceVersion, "9");
});

test("a removed policy is gone", () => {
  const policies = createJudgedPolicies(openRecordFolder(folder()));
  policies.put(object(1, "80"));
  policies.remove(object(1, "80"));
  assert.equal(policies.table.size, 0);
});

test("half-written records of a crash are removed", () => {
  const path = folder();
  const records = openRecordFolder(path);
  records.write("a", "{}");
  records.write("a", '{"new":1}');
  assert.deepEqual(records.readAll(), [["a", '{"new":1}']]);
});

test("an annotation that stages a policy counts, though it does not raise the generation", () => {
  const policies = createJudgedPolicies(openRecordFolder(folder()));
  const plain = object(1, "80");
  policies.put(plain);
  assert.equal(policies.table.get(key)?.rules[0]?.audit, undefined);
  policies.put({ ...plain, metadata: { ...plain.metadata, annotations: { "policy.tsilium.io/audit": "true" } } });
  assert.deepEqual(policies.table.get(key)?.rules[0]?.audit, {});
  policies.put(plain);
  assert.equal(policies.table.get(key)?.rules[0]?.audit, undefined);
});
