import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { test } from "node:test";
import { parseManifests } from "#contracts/manifest";
import { repairPolicy } from "./repair.ts";

const examples = resolve(import.meta.dirname, "../../../examples");
const value = (file: string): unknown => parseManifests(readFileSync(`${examples}/${file}`, "utf8"))[0]?.value;
const policy = (spec: unknown): unknown => ({
  apiVersion: "cilium.io/v2",
  kind: "CiliumNetworkPolicy",
  metadata: { name: "p" },
  spec,
});

for (const name of ["service-account", "restrict-access"]) {
  test(`the broken ${name} is repaired to what the example of that name says`, () => {
    assert.deepEqual(repairPolicy(value(`seed/${name}.yaml`))?.object, value(`policies/${name}.yaml`));
  });
}

const cases: readonly { readonly name: string; readonly spec: unknown; readonly repaired: unknown }[] = [
  {
    name: "a port beside ports",
    spec: { endpointSelector: {}, ingress: [{ toPorts: [{ port: 80, protocol: "TCP" }] }] },
    repaired: { endpointSelector: {}, ingress: [{ toPorts: [{ ports: [{ port: "80", protocol: "TCP" }] }] }] },
  },
  {
    name: "rules beside toPorts",
    spec: {
      endpointSelector: {},
      ingress: [{ toPorts: [{ ports: [{ port: "80", protocol: "TCP" }] }], rules: { http: [{ method: "GET" }] } }],
    },
    repaired: {
      endpointSelector: {},
      ingress: [{ toPorts: [{ ports: [{ port: "80", protocol: "TCP" }], rules: { http: [{ method: "GET" }] } }] }],
    },
  },
  {
    name: "labels without matchLabels",
    spec: { endpointSelector: { app: "web" }, ingress: [{ fromEndpoints: [{ app: "client" }] }] },
    repaired: {
      endpointSelector: { matchLabels: { app: "web" } },
      ingress: [{ fromEndpoints: [{ matchLabels: { app: "client" } }] }],
    },
  },
];
for (const { name, spec, repaired } of cases) {
  test(`${name}: put where it belongs`, () => assert.deepEqual(repairPolicy(policy(spec))?.object, policy(repaired)));
}

test("what the engine would refuse all the same is not offered", () => {
  assert.equal(repairPolicy(policy({ endpointSelector: {}, ingress: [{ toPorts: [{ port: "70000" }] }] })), undefined);
  assert.equal(repairPolicy(policy({ endpointSelector: {}, ingres: [] })), undefined);
  assert.equal(repairPolicy("no object"), undefined);
});
