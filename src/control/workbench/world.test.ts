import assert from "node:assert/strict";
import { test } from "node:test";
import { judgeConnection } from "./connection.ts";
import { pod, policy } from "./testing.ts";
import { createWorld, type WorldObject } from "./world.ts";

const group: WorldObject = {
  object: {
    apiVersion: "cilium.io/v2",
    kind: "CiliumCIDRGroup",
    metadata: { name: "partners" },
    spec: { externalCIDRs: ["203.0.113.0/24"] },
  },
};
const named = policy("web", { endpointSelector: {}, egress: [{ toCIDRSet: [{ cidrGroupRef: "partners" }] }] });

test("CIDR groups among the objects are resolved", () => {
  const prefixes = (...objects: WorldObject[]) => createWorld(objects).prefixes.map(({ prefix }) => prefix);
  assert.deepEqual(prefixes(pod("web", { app: "web" }), named), []);
  assert.deepEqual(prefixes(pod("web", { app: "web" }), named, group), ["203.0.113.0/24"]);
});

test("a staged policy denies nothing before its time is up", () => {
  const base = policy("web", { endpointSelector: { matchLabels: { app: "web" } }, ingress: [{}] }).object as {
    readonly metadata: object;
  };
  const annotations = {
    "policy.tsilium.io/audit": "true",
    "policy.tsilium.io/audit-until": "2030-01-01T00:00:00Z",
  };
  const staged = { object: { ...base, metadata: { ...base.metadata, annotations } } };
  const outcome = (now: string) => {
    const world = createWorld([pod("web", { app: "web" }), pod("db", { app: "db" }), staged], {
      nowMs: Date.parse(now),
    });
    const [db, web] = world.groups;
    return judgeConnection(world, db!, web!, 6, 80).map((one) => one.outcome);
  };
  assert.deepEqual(outcome("2029-12-31"), ["allowed", "allowed"]);
  assert.deepEqual(outcome("2030-01-01"), ["allowed", "denied"]);
});
