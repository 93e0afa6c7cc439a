import assert from "node:assert/strict";
import { test } from "node:test";
import { createLabels, type NumericIdentity, parseLabel, Reserved } from "#core/model";
import {
  createPolicyEngine,
  decide,
  type ExplainedFlow,
  explainFlow,
  formatExplanation,
  parsePolicy,
} from "./index.ts";

const pod = (id: number, namespace: string, ...labels: string[]) => ({
  id: id as NumericIdentity,
  labels: createLabels(
    [...labels, `k8s:io.kubernetes.pod.namespace=${namespace}`, "k8s:io.cilium.k8s.policy.cluster=default"].map(
      parseLabel,
    ),
  ),
});
const client = pod(1001, "default", "k8s:app=client");
const server = pod(1002, "default", "k8s:app=server");
const foreign = pod(1003, "shop", "k8s:app=client");

function engineWith(...specs: object[]) {
  const engine = createPolicyEngine();
  for (const identity of [client, server, foreign]) engine.upsertIdentity(identity);
  engine.addSubject(server.id);
  for (const [i, spec] of specs.entries()) {
    const parsed = parsePolicy({
      apiVersion: "cilium.io/v2",
      kind: "CiliumNetworkPolicy",
      metadata: { name: `p${i}` },
      spec,
    });
    assert.ok(parsed.kind === "accepted", JSON.stringify(parsed.problems));
    engine.upsertRules(`p${i}`, parsed.rules);
  }
  engine.flush();
  return engine;
}

const subject = { endpointSelector: { matchLabels: { app: "server" } } };
const web = {
  ...subject,
  ingress: [
    { fromEndpoints: [{ matchLabels: { app: "client" } }], toPorts: [{ ports: [{ port: "80", protocol: "TCP" }] }] },
  ],
};
const from = (peer: NumericIdentity, port = 80, protocol = 6): ExplainedFlow => ({
  subject: server.id,
  direction: "ingress",
  peer,
  protocol,
  port,
});

const rows: ReadonlyArray<readonly [name: string, specs: object[], flow: ExplainedFlow, lines: string[]]> = [
  ["no policy", [], from(client.id), ["allowed: no policy selects the endpoint in this direction"]],
  ["an allow", [web], from(client.id), ["allowed by CiliumNetworkPolicy default/p0 spec.ingress[0]"]],
  ["the host", [web], from(Reserved.host), ["allowed by implicit rule allow-localhost-ingress"]],
  [
    "a deny",
    [web, { ...subject, ingressDeny: [{ fromEndpoints: [{}] }] }],
    from(client.id),
    ["denied by CiliumNetworkPolicy default/p1 spec.ingressDeny[0]"],
  ],
  [
    "a wrong port",
    [web],
    from(client.id, 81),
    [
      "denied: no rule allows it",
      "default deny because of CiliumNetworkPolicy default/p0 spec",
      "nearest: CiliumNetworkPolicy default/p0 spec.ingress[0]",
      "spec.ingress[0].toPorts[0].ports[0]: expected tcp/80, found tcp/81",
    ],
  ],
  [
    "a peer of another namespace",
    [web],
    from(foreign.id),
    [
      "denied: no rule allows it",
      "default deny because of CiliumNetworkPolicy default/p0 spec",
      "nearest: CiliumNetworkPolicy default/p0 spec.ingress[0]",
      "spec.ingress[0].fromEndpoints[0]: expected k8s:io.kubernetes.pod.namespace=default, found k8s:io.kubernetes.pod.namespace=shop",
    ],
  ],
  [
    "the nearest of several",
    [
      web,
      {
        ...subject,
        ingress: [
          {
            fromEndpoints: [{ matchLabels: { app: "other" } }],
            toPorts: [{ ports: [{ port: "443", protocol: "TCP" }] }],
          },
        ],
      },
    ],
    from(client.id, 8080, 17),
    [
      "denied: no rule allows it",
      "default deny because of CiliumNetworkPolicy default/p0 spec, CiliumNetworkPolicy default/p1 spec",
      "nearest: CiliumNetworkPolicy default/p0 spec.ingress[0]",
      "spec.ingress[0].toPorts[0].ports[0]: expected tcp/80, found udp/8080",
    ],
  ],
  [
    "nothing to be near to",
    [{ ...subject, ingress: [{}] }],
    from(client.id),
    ["denied: no rule allows it", "default deny because of CiliumNetworkPolicy default/p0 spec"],
  ],
];
for (const [name, specs, flow, lines] of rows)
  test(`a flow is explained: ${name}`, () =>
    assert.deepEqual(formatExplanation(explainFlow(engineWith(...specs), flow)), lines));

test("a denial keeps its explanation when its subject has ended, and an allowed flow is not made a denial", () => {
  const engine = engineWith(web);
  const denied = explainFlow(engine, from(foreign.id, 81));
  engine.removeSubject(server.id);
  engine.flush();
  assert.deepEqual(formatExplanation(explainFlow(engine, from(foreign.id, 81))), formatExplanation(denied));
  assert.equal(denied.kind, "default-deny");
  assert.equal(explainFlow(engine, from(client.id, 80)).kind, "unenforced");
});

test("the remedy is the smallest policy that allows the flow, as YAML", () => {
  const explanation = explainFlow(engineWith(web), from(foreign.id, 81));
  assert.ok(explanation.kind === "default-deny");
  assert.equal(
    explanation.remedy.yaml,
    `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata:
  name: allow-from-app-client-in-namespace-shop
  namespace: default
spec:
  endpointSelector:
    matchLabels:
      app: server
  ingress:
  - fromEndpoints:
    - matchLabels:
        app: client
        k8s:io.kubernetes.pod.namespace: shop
    toPorts:
    - ports:
      - port: "81"
        protocol: TCP
`,
  );
});

const denied: ReadonlyArray<readonly [name: string, flow: ExplainedFlow]> = [
  ["another port", from(client.id, 81)],
  ["another namespace", from(foreign.id)],
  ["the world", { ...from(Reserved["world-ipv4"]), peerAddress: "192.0.2.1" }],
  ["the world without an address", from(Reserved["world-ipv6"])],
  ["a remote node", from(Reserved["remote-node"], 53, 17)],
  ["ICMP", from(client.id, 8, 1)],
  ["ICMPv6", from(client.id, 128, 58)],
  ["SCTP", from(client.id, 9, 132)],
];
for (const [name, flow] of denied)
  test(`the remedy against a denial of ${name} is valid and works`, () => {
    const engine = engineWith(web);
    const explanation = explainFlow(engine, flow);
    assert.ok(explanation.kind === "default-deny");
    const parsed = parsePolicy(explanation.remedy.object);
    assert.ok(parsed.kind === "accepted", JSON.stringify(parsed.problems));
    engine.upsertRules("remedy", parsed.rules);
    // A remedy that names an address works once that has an identity.
    const prefix =
      engine.neededPrefixes()[0] === undefined
        ? undefined
        : { id: 0x0100_0001 as NumericIdentity, labels: [], prefix: "192.0.2.1/32" };
    if (prefix) engine.upsertIdentity(prefix);
    engine.flush();
    const { verdict } = decide(
      engine.policyOf(server.id)!,
      flow.direction,
      prefix?.id ?? flow.peer,
      flow.protocol,
      flow.port,
    );
    assert.equal(verdict, "FORWARDED");
  });
