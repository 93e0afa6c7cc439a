import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { test } from "node:test";
import { checkSources, hasErrors } from "./check.ts";

const root = resolve(import.meta.dirname, "../../../..");
const check = (text: string) => checkSources([{ file: "p.yaml", text }]);
const places = async (text: string) =>
  (await check(text)).problems.map(({ code, line, column }) => `${code} ${line}:${column}`);

const policy = (ports: string, name = "p") => `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: ${name}}
spec:
  endpointSelector: {}
  ingress:
  - toPorts:
    - ${ports}
`;

test("a good policy has no problem", async () => {
  const result = await check(policy('ports: [{port: "80", protocol: TCP}]'));
  assert.deepEqual([result.problems, result.policies, result.objects.length], [[], 1, 1]);
});

test("problems stand where the text is, in the order of the text", async () => {
  const text = `${policy('ports: [{port: "99999", protocol: TCP}]')}---\n${policy('portz: [{port: "80"}]', "q")}`;
  assert.deepEqual((await places(text)).slice(0, 2), ["invalid-value 8:22", "unknown-field 17:7"]);
  assert.equal(hasErrors(await check(text)), true);
});

test("a bracket that is not closed is named as what it is", async () => {
  const [problem] = (await check("kind: Pod\nmetadata: {name: p\nspec:\n")).problems;
  assert.deepEqual([problem?.line, problem?.hint], [3, 'close the "{" above this place with "}"']);
});

test("inside a List the path leads through its items", async () => {
  const item = policy('ports: [{port: "99999", protocol: TCP}]').trimEnd().replaceAll("\n", "\n  ");
  const [problem] = (await check(`apiVersion: v1\nkind: List\nitems:\n- ${item}\n`)).problems;
  assert.equal(problem?.path, "items[0].spec.ingress[0].toPorts[0].ports[0].port");
  assert.equal(problem?.line, 11);
});

test("a regex that the proxy could not take is refused", async () => {
  const rules = 'ports: [{port: "80", protocol: TCP}]\n      rules: {http: [{path: "/a(?=b)"}]}';
  assert.deepEqual(await places(policy(rules)), ["invalid-regex 9:29"]);
});

test("other kinds are left to the API server", async () => {
  const result = await check("apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n");
  assert.deepEqual([result.problems, result.policies, result.objects.length], [[], 0, 1]);
});

for (const [name, errors] of [
  ["service-account", 9],
  ["restrict-access", 2],
] as const) {
  test(`the ${name} that people wrote is refused with ${errors} errors, and repaired`, async () => {
    const file = `examples/seed/${name}.yaml`;
    const result = await checkSources([{ file, text: readFileSync(`${root}/${file}`, "utf8") }]);
    assert.equal(result.problems.filter(({ severity }) => severity === "error").length, errors);
    const [refused] = result.refused;
    assert.ok(refused?.effect !== undefined && refused.repaired !== undefined);
    assert.equal(hasErrors(await check(refused.repaired)), false);
  });
}
