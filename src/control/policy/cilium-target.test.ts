import assert from "node:assert/strict";
import { test } from "node:test";
import { type CiliumVersion, ciliumVersions, compareWithCilium } from "./cilium-target.ts";

const cnp = (spec: object, more: object = {}) => ({
  apiVersion: "cilium.io/v2",
  kind: "CiliumNetworkPolicy",
  metadata: { name: "p" },
  spec: { endpointSelector: {}, ...spec },
  ...more,
});
const ports = (port: object, rules?: object) => ({
  ingress: [{ toPorts: [{ ports: [port], ...(rules === undefined ? {} : { rules }) }] }],
});

const rows: readonly (readonly [name: string, object: object, in119: readonly string[], in120: readonly string[]])[] = [
  ["nothing special", cnp(ports({ port: "80", protocol: "TCP" }, { http: [{ path: "/" }] })), [], []],
  [
    "Kafka rules",
    cnp(ports({ port: "9092" }, { kafka: [{ topic: "t" }] })),
    [],
    ["refuses spec.ingress[0].toPorts[0].rules.kafka"],
  ],
  [
    "a bare address",
    cnp({ egress: [{ toCIDR: ["192.0.2.1", "192.0.2.0/24"] }] }),
    [],
    ["refuses spec.egress[0].toCIDR[0]"],
  ],
  [
    "the entity cluster-mesh",
    cnp({ ingress: [{ fromEntities: ["cluster-mesh"] }] }),
    ["refuses spec.ingress[0].fromEntities[0]"],
    [],
  ],
  [
    "wildcards in server names",
    cnp({ egress: [{ toPorts: [{ serverNames: ["*.a.b", "**.a.b", "x*.a"] }] }] }),
    ["refuses spec.egress[0].toPorts[0].serverNames[1]", "refuses spec.egress[0].toPorts[0].serverNames[2]"],
    [],
  ],
  [
    "fromRequires",
    cnp({ ingress: [{ fromRequires: [{}] }] }),
    ["refuses spec.ingress[0].fromRequires"],
    ["refuses spec.ingress[0].fromRequires"],
  ],
  ["an empty fromRequires", cnp({ ingress: [{ fromRequires: [] }] }), [], []],
  [
    "GRE",
    cnp(ports({ protocol: "GRE" })),
    ["refuses spec.ingress[0].toPorts[0].ports[0].protocol"],
    ["needs-option spec.ingress[0].toPorts[0].ports[0].protocol"],
  ],
  [
    "VRRP",
    cnp(ports({ protocol: "VRRP" })),
    ["needs-option spec.ingress[0].toPorts[0].ports[0].protocol"],
    ["needs-option spec.ingress[0].toPorts[0].ports[0].protocol"],
  ],
  [
    "an octal port",
    cnp(ports({ port: "010" })),
    ["differs spec.ingress[0].toPorts[0].ports[0].port"],
    ["differs spec.ingress[0].toPorts[0].ports[0].port"],
  ],
  [
    "ExtendedEchoReply",
    cnp({ ingress: [{ icmps: [{ fields: [{ type: "ExtendedEchoReply" }] }] }] }),
    ["refuses spec.ingress[0].icmps[0].fields[0].type"],
    ["refuses spec.ingress[0].icmps[0].fields[0].type"],
  ],
  [
    "denied names",
    cnp({ egressDeny: [{ tsilium: { toFQDNs: [{ matchName: "a.b" }] } }] }),
    ["ignores spec.egressDeny[0].tsilium"],
    ["ignores spec.egressDeny[0].tsilium"],
  ],
  [
    "rules of FTP",
    cnp(ports({ port: "21" }, { tsilium: { ftp: [{}] } })),
    ["refuses spec.ingress[0].toPorts[0].rules.tsilium"],
    ["refuses spec.ingress[0].toPorts[0].rules.tsilium"],
  ],
  [
    "a rate limit",
    cnp(ports({ port: "80" }, { http: [{ tsilium: { rateLimit: {} } }] })),
    ["ignores spec.ingress[0].toPorts[0].rules.http[0].tsilium"],
    ["ignores spec.ingress[0].toPorts[0].rules.http[0].tsilium"],
  ],
  [
    "nodes as peers, in specs",
    cnp({}, { specs: [{ ingress: [{ fromNodes: [{}] }] }] }),
    ["needs-option specs[0].ingress[0].fromNodes"],
    ["needs-option specs[0].ingress[0].fromNodes"],
  ],
  [
    "http: []",
    cnp(ports({ port: "80" }, { http: [] })),
    ["differs spec.ingress[0].toPorts[0].rules.http"],
    ["differs spec.ingress[0].toPorts[0].rules.http"],
  ],
  [
    "a staged policy",
    cnp({}, { metadata: { annotations: { "policy.tsilium.io/audit": "true" } } }),
    ['differs metadata.annotations["policy.tsilium.io/audit"]'],
    ['differs metadata.annotations["policy.tsilium.io/audit"]'],
  ],
  ["an AdminNetworkPolicy", { kind: "AdminNetworkPolicy", spec: {} }, ["ignores kind"], ["ignores kind"]],
  ["a ClusterNetworkPolicy", { kind: "ClusterNetworkPolicy", spec: {} }, ["ignores kind"], ["needs-option kind"]],
  ["a NetworkPolicy", { kind: "NetworkPolicy", spec: { podSelector: {} } }, [], []],
  [
    "a label called like a field",
    cnp({ ingress: [{ fromEndpoints: [{ matchLabels: { kafka: "x", serverNames: "*" } }] }] }),
    [],
    [],
  ],
];
for (const [name, object, in119, in120] of rows)
  test(`what Cilium 1.19 and 1.20 make of ${name}`, () => {
    const found = (version: CiliumVersion) =>
      compareWithCilium(object, version).map(({ code, path }) => `${code.slice("cilium-".length)} ${path}`);
    assert.deepEqual([found("1.19"), found("1.20")], [in119, in120]);
  });

test("whatever the object, nothing is thrown", () => {
  for (const version of ciliumVersions)
    for (const spec of [null, 1, "x", [], [[]], { ingress: null }, { ingress: [{ toPorts: [null] }] }])
      assert.ok(Array.isArray(compareWithCilium({ spec, specs: spec, metadata: null }, version)));
});
