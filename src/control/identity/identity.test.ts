import assert from "node:assert/strict";
import { test } from "node:test";
import {
  createLabels,
  type EndpointId,
  formatLabels,
  type Identity,
  type NumericIdentity,
  parseAddress,
  parseLabel,
  parsePrefix,
  Reserved,
} from "#core/model";
import {
  createPrefixIdentities,
  filterLabels,
  namedPorts,
  parseLabelPattern,
  planIdentities,
  planIpcache,
  podLabels,
  prefixLabels,
} from "./index.ts";

const labels = (...texts: string[]) => createLabels(texts.map(parseLabel));
const identity = (id: number, ...texts: string[]): Identity => ({
  id: id as NumericIdentity,
  labels: labels(...texts),
});

test("a pod has its own labels, its namespace's, and those that say where it belongs", () => {
  const found = podLabels(
    {
      metadata: { name: "p", namespace: "shop", labels: { app: "web" } },
      spec: {
        serviceAccountName: "server",
        containers: [{ name: "c", ports: [{ name: "HTTP", containerPort: 80 }, { containerPort: 81 }] }],
      },
    },
    { metadata: { name: "shop", labels: { team: "red" } } },
  );
  assert.deepEqual(formatLabels(found), [
    "gen:io.cilium.k8s.named-ports=http.TCP.80",
    "k8s:app=web",
    "k8s:io.cilium.k8s.namespace.labels.team=red",
    "k8s:io.cilium.k8s.policy.cluster=default",
    "k8s:io.cilium.k8s.policy.serviceaccount=server",
    "k8s:io.kubernetes.pod.namespace=shop",
  ]);
});

test("a pod can't forge the labels of another namespace or service account", () => {
  const forged = {
    "io.kubernetes.pod.namespace": "kube-system",
    "io.cilium.k8s.policy.serviceaccount": "admin",
    "io.cilium.k8s.namespace.labels.team": "blue",
  };
  const found = podLabels({ metadata: { name: "p", namespace: "shop", labels: forged } }, undefined, "c1");
  assert.deepEqual(formatLabels(found), [
    "k8s:io.cilium.k8s.policy.cluster=c1",
    "k8s:io.kubernetes.pod.namespace=shop",
  ]);
});

test("named ports survive being labels, however many", () => {
  const ports = Array.from({ length: 20 }, (_, i) => ({ name: `port-number-${i}`, containerPort: 1000 + i }));
  const found = podLabels({ metadata: { name: "p" }, spec: { containers: [{ name: "c", ports }] } }, undefined);
  assert.ok(found.every((label) => label.value.length <= 63));
  assert.deepEqual(
    namedPorts(found)
      .map((p) => p.port)
      .sort(),
    ports.map((p) => p.containerPort),
  );
});

const kept: ReadonlyArray<readonly [label: string, kept: boolean]> = [
  ["k8s:app=web", true],
  ["k8s:app.kubernetes.io/name=web", true],
  ["k8s:io.kubernetes.pod.namespace=default", true],
  ["k8s:io.kubernetes.container.name=x", false],
  ["k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=x", true],
  ["k8s:pod-template-hash=abc", false],
  ["k8s:controller-revision-hash=abc", false],
  ["k8s:statefulset.kubernetes.io/pod-name=web-0", false],
  ["k8s:topology.kubernetes.io/zone=a", false],
  ["k8s:node.beta.kubernetes.io/x=a", false],
  ["reserved:host", true],
];
for (const [label, expected] of kept)
  test(`${label} ${expected ? "makes" : "does not make"} an identity`, () => {
    assert.equal(filterLabels(labels(label)).length, expected ? 1 : 0);
  });

test("a filter with inclusive patterns only keeps what they name", () => {
  const filter = { onlyIncluded: true, patterns: ["k8s:app", "!app\\.internal"].map(parseLabelPattern) };
  const found = filterLabels(labels("k8s:app=1", "k8s:app.internal/x=1", "k8s:other=1"), filter);
  assert.deepEqual(formatLabels(found), ["k8s:app=1"]);
});

test("known label sets keep their numbers, new ones get free numbers, the rest is named as unwanted", () => {
  const plan = planIdentities({
    existing: [identity(256, "k8s:a=1"), identity(258, "k8s:b=1")],
    wanted: [labels("k8s:b=1"), labels("k8s:c=1"), labels("k8s:d=1"), labels("k8s:c=1")],
    nowMs: 0,
  });
  assert.deepEqual(
    [...plan.assigned].map(([key, { id }]) => [key, id]),
    [
      ["k8s:b=1", 258],
      ["k8s:c=1", 257],
      ["k8s:d=1", 259],
    ],
  );
  assert.deepEqual(
    plan.created.map(({ id }) => id),
    [257, 259],
  );
  assert.deepEqual(
    plan.unwanted.map(({ id }) => id),
    [256],
  );
});

test("a number is not given out again within its grace period", () => {
  const released = new Map([[256 as NumericIdentity, 1000]]);
  const idAt = (nowMs: number) =>
    planIdentities({ existing: [], wanted: [labels("k8s:x=1")], released, nowMs, graceMs: 500 }).created[0]?.id;
  assert.equal(idAt(1499), 257);
  assert.equal(idAt(1500), 256);
});

test("two agents that allocated the same labels at once agree on the lower number", () => {
  const plan = planIdentities({
    existing: [identity(300, "k8s:a=1"), identity(299, "k8s:a=1")],
    wanted: [labels("k8s:a=1")],
    nowMs: 0,
  });
  assert.equal(plan.assigned.get("k8s:a=1")?.id, 299);
  assert.deepEqual(
    plan.unwanted.map(({ id }) => id),
    [300],
  );
});

test("when all numbers are taken, what is left over is said", () => {
  const existing = Array.from({ length: 65535 - 256 + 1 }, (_, i) => identity(256 + i, `k8s:n=${i}`));
  const plan = planIdentities({ existing, wanted: [labels("k8s:new=1")], nowMs: 0 });
  assert.equal(plan.unserved.length, 1);
});

test("a prefix keeps its number while it is wanted; a number does not change hands at once", () => {
  const prefixes = createPrefixIdentities();
  const [a, b, c] = ["10.0.0.0/8", "10.1.0.0/16", "fd00::/8"].map((text) => parsePrefix(text)!);
  const first = prefixes.update([a!, b!, parsePrefix("0.0.0.0/0")!]);
  assert.deepEqual(
    first.added.map((i) => [i.prefix, i.id]),
    [
      ["10.0.0.0/8", 0x01000001],
      ["10.1.0.0/16", 0x01000002],
    ],
  );
  const second = prefixes.update([b!, c!]);
  assert.deepEqual(
    second.removed.map((i) => i.id),
    [0x01000001],
  );
  assert.deepEqual(
    second.added.map((i) => i.id),
    [0x01000003],
  );
  assert.equal(prefixes.find(b!)?.id, 0x01000002);
});

test("numbers of an earlier run are taken over", () => {
  const prefixes = createPrefixIdentities([[parsePrefix("10.0.0.0/8")!, 0x01000007 as NumericIdentity]]);
  prefixes.update(["10.0.0.0/8", "10.2.0.0/16"].map((text) => parsePrefix(text)!));
  assert.deepEqual(
    prefixes.list().map((i) => i.id),
    [0x01000007, 0x01000008],
  );
});

test("labels of prefixes carry the world of their family", () => {
  assert.deepEqual(formatLabels(prefixLabels(parsePrefix("10.0.0.0/8")!)), ["cidr:10.0.0.0/8", "reserved:world-ipv4"]);
  assert.deepEqual(formatLabels(prefixLabels(parsePrefix("fd00::/8")!)), ["cidr:fd00--0/8", "reserved:world-ipv6"]);
  assert.deepEqual(formatLabels(prefixLabels(parsePrefix("::/0")!)), ["reserved:world-ipv6"]);
});

test("the ipcache knows node before endpoints before prefixes, and the world by default", () => {
  const prefixes = createPrefixIdentities();
  prefixes.update(["10.0.1.10/32", "10.0.0.0/8"].map((text) => parsePrefix(text)!));
  const rows = planIpcache({
    nodeAddresses: [parseAddress("10.0.1.1")!],
    endpoints: [
      { prefix: parsePrefix("10.0.1.10/32")!, identity: 1000 as NumericIdentity, endpointId: 5 as EndpointId },
      { prefix: parsePrefix("10.0.1.1/32")!, identity: 1001 as NumericIdentity, endpointId: 6 as EndpointId },
    ],
    prefixes: prefixes.list(),
  });
  assert.deepEqual(Object.fromEntries([...rows].map(([prefix, row]) => [prefix, [row.identity, row.endpointId]])), {
    "10.0.1.1/32": [Reserved.host, 0],
    "10.0.1.10/32": [1000, 5],
    "10.0.0.0/8": [0x01000002, 0],
    "0.0.0.0/0": [9, 0],
    "::/0": [10, 0],
  });
});
