import assert from "node:assert/strict";
import { test } from "node:test";
import { shortLabels } from "./labels.ts";

const common = [
  "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=shop",
  "k8s:io.cilium.k8s.policy.cluster=default",
  "k8s:io.kubernetes.pod.namespace=shop",
];
const account = (name: string) => `k8s:io.cilium.k8s.policy.serviceaccount=${name}`;

const rows: Readonly<Record<string, readonly [labels: readonly string[], text: string]>> = {
  "what every identity carries is left out": [["k8s:app=web", account("default"), ...common], "app=web in shop"],
  "a service account of its own is shown": [[account("client"), ...common], "serviceaccount=client in shop"],
  "a workload without labels is still somewhere": [[account("default"), ...common], "no labels in shop"],
  "a label without a value is its key": [["k8s:canary", ...common], "canary in shop"],
  "reserved identities stay": [["reserved:host"], "reserved:host"],
  "prefixes stay": [["10.0.0.0/8"], "10.0.0.0/8"],
  nothing: [[""], ""],
};

for (const [name, [labels, text]] of Object.entries(rows)) {
  test(`labels for people: ${name}`, () => assert.equal(shortLabels(labels), text));
}
