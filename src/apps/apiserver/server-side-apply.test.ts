import assert from "node:assert/strict";
import { test } from "node:test";
import { type ManagedFieldsEntry, resourceOf } from "#contracts/kube";
import { type Fields, fieldsOf, formatPaths } from "./field-sets.ts";
import { recordUpdate } from "./managed-fields.ts";
import { applyFields } from "./server-side-apply.ts";

const { schema } = resourceOf("Service");
const options = { force: false, apiVersion: "v1" };
const by = (manager: string) => ({ manager, time: "2030-01-01T00:00:00Z" });

interface State {
  value: Fields;
  entries: readonly ManagedFieldsEntry[];
}
const empty: State = { value: {}, entries: [] };

function apply(state: State, manager: string, wanted: Fields, force = false): State {
  const applied = applyFields(schema, state.value, state.entries, wanted, by(manager), { ...options, force });
  assert.ok(applied.ok, JSON.stringify(applied));
  return { value: applied.value, entries: applied.managedFields };
}
function conflicts(state: State, manager: string, wanted: Fields): string[] {
  const applied = applyFields(schema, state.value, state.entries, wanted, by(manager), options);
  return applied.ok ? [] : applied.conflicts.map((conflict) => `${conflict.manager}: ${conflict.path}`);
}
const update = (state: State, manager: string, value: Fields): State => ({
  value,
  entries: recordUpdate(schema, state.entries, state.value, value, by(manager), "v1"),
});
const owned = ({ entries }: State, manager: string) =>
  formatPaths(entries.find((entry) => entry.manager === manager)?.fieldsV1 ?? {});

const port = (number: number, more: object = {}) => ({ port: number, protocol: "TCP", ...more });

test("fields that are no longer stated go away", () => {
  const first = apply(empty, "a", {
    metadata: { labels: { x: "1", y: "2" } },
    spec: { type: "ClusterIP", ports: [port(80), port(443)] },
  });
  const second = apply(first, "a", { metadata: { labels: { x: "1" } }, spec: { ports: [port(443)] } });
  assert.deepEqual(second.value, { metadata: { labels: { x: "1" } }, spec: { ports: [port(443)] } });
  assert.deepEqual(owned(second, "a"), [
    ".metadata.labels.x",
    '.spec.ports[port=443,protocol="TCP"]',
    '.spec.ports[port=443,protocol="TCP"].port',
    '.spec.ports[port=443,protocol="TCP"].protocol',
  ]);
});

test("fields that another manager also states stay when one lets go", () => {
  let state = apply(empty, "a", { metadata: { labels: { x: "1" } }, spec: { ports: [port(80)] } });
  state = apply(state, "b", { metadata: { labels: { x: "1" } }, spec: { ports: [port(80, { name: "http" })] } });
  state = apply(state, "a", { spec: { type: "ClusterIP" } });
  assert.deepEqual(state.value, {
    metadata: { labels: { x: "1" } },
    spec: { ports: [port(80, { name: "http" })], type: "ClusterIP" },
  });
  assert.deepEqual(owned(state, "a"), [".spec.type"]);
});

test("another value for a field that someone else owns is a conflict; the same value is shared ownership", () => {
  const state = apply(empty, "a", { metadata: { labels: { x: "1" } }, spec: { type: "ClusterIP" } });
  assert.deepEqual(conflicts(state, "b", { metadata: { labels: { x: "2" } }, spec: { type: "NodePort" } }), [
    "a: .metadata.labels.x",
    "a: .spec.type",
  ]);
  const shared = apply(state, "b", { spec: { type: "ClusterIP" } });
  assert.deepEqual(owned(shared, "b"), [".spec.type"]);
  assert.deepEqual(owned(shared, "a"), [".metadata.labels.x", ".spec.type"]);
});

test("force takes the field over", () => {
  const state = apply(
    apply(empty, "a", { spec: { type: "ClusterIP", sessionAffinity: "None" } }),
    "b",
    { spec: { type: "NodePort" } },
    true,
  );
  assert.deepEqual(state.value, { spec: { type: "NodePort", sessionAffinity: "None" } });
  assert.deepEqual(owned(state, "a"), [".spec.sessionAffinity"]);
  assert.deepEqual(owned(state, "b"), [".spec.type"]);
});

test("an update takes what it changes, and a later apply of the old value is a conflict", () => {
  let state = apply(empty, "a", { spec: { type: "ClusterIP", sessionAffinity: "None" } });
  state = update(state, "editor", { spec: { type: "NodePort", sessionAffinity: "None" } });
  assert.deepEqual(owned(state, "editor"), [".spec.type"]);
  assert.deepEqual(owned(state, "a"), [".spec.sessionAffinity"]);
  assert.deepEqual(conflicts(state, "a", { spec: { type: "ClusterIP", sessionAffinity: "None" } }), [
    "editor: .spec.type",
  ]);
});

test("atomic maps and lists are owned and replaced as a whole", () => {
  let state = apply(empty, "a", { spec: { selector: { app: "web" }, externalIPs: ["192.0.2.1"] } });
  assert.deepEqual(owned(state, "a"), [".spec.selector", ".spec.externalIPs"]);
  state = apply(state, "a", { spec: { selector: { tier: "front" }, externalIPs: ["192.0.2.2"] } });
  assert.deepEqual(state.value, { spec: { selector: { tier: "front" }, externalIPs: ["192.0.2.2"] } });
  assert.deepEqual(conflicts(state, "b", { spec: { selector: { app: "x" } } }), ["a: .spec.selector"]);
});

test("items of a keyed list belong to several managers side by side", () => {
  let state = apply(empty, "a", { spec: { ports: [port(80, { name: "http" })] } });
  state = apply(state, "b", { spec: { ports: [port(443, { name: "https" })] } });
  assert.deepEqual(state.value, { spec: { ports: [port(80, { name: "http" }), port(443, { name: "https" })] } });
  state = apply(state, "a", {});
  assert.deepEqual(state.value, { spec: { ports: [port(443, { name: "https" })] } });
  assert.equal(state.entries.length, 1);
});

test("a set is united and thinned by value", () => {
  let state = apply(empty, "a", { metadata: { finalizers: ["x", "y"] } });
  state = apply(state, "b", { metadata: { finalizers: ["y", "z"] } });
  state = apply(state, "a", { metadata: { finalizers: ["x"] } });
  assert.deepEqual(state.value, { metadata: { finalizers: ["x", "y", "z"] } });
  state = apply(state, "b", {});
  assert.deepEqual(state.value, { metadata: { finalizers: ["x"] } });
});

test("applying the same twice changes nothing", () => {
  const wanted = { metadata: { labels: { x: "1" } }, spec: { ports: [port(80)] } };
  const once = apply(empty, "a", wanted);
  assert.deepEqual(apply(once, "a", wanted), once);
});

test("an item whose default key is left out is the same item", () => {
  const stated = fieldsOf(schema, { spec: { ports: [{ port: 80 }] } });
  assert.deepEqual(Object.keys(stated["f:spec"]!["f:ports"]!), ['k:{"port":80,"protocol":"TCP"}']);
});
