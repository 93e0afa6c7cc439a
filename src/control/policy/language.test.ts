/** The whole language: what is read becomes rules; what Cilium refuses is refused in its words, at the place of the mistake. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { needsOf, type ParsedPolicy, parsePolicy, type Rule, unenforceable } from "./index.ts";

const policy = (spec: object, kind = "CiliumNetworkPolicy") => ({
  apiVersion: "cilium.io/v2",
  kind,
  metadata: { name: "p", ...(kind === "CiliumNetworkPolicy" ? { namespace: "default" } : {}) },
  spec,
});
const subject = { endpointSelector: { matchLabels: { app: "a" } } };
const ingress = (item: object) => policy({ ...subject, ingress: [item] });
const egress = (item: object) => policy({ ...subject, egress: [item] });
const ofNodes = (spec: object) => policy({ nodeSelector: {}, ...spec }, "CiliumClusterwideNetworkPolicy");
const tcp = (port: string) => ({ port, protocol: "TCP" });
const out = (list: object) => egress({ toPorts: [list] });
const on = (rules: object, port: object = tcp("80")) => out({ ports: [port], rules });
const dns = { dns: [{ matchName: "example.org" }] };
const list = "spec.egress[0].toPorts[0]";

const messages: readonly (readonly [name: string, object: unknown, path: string, message: RegExp])[] = [
  [
    "a policy for nodes in a namespace",
    policy({ nodeSelector: {}, ingress: [{}] }),
    "spec.nodeSelector",
    /^rule cannot have NodeSelector/,
  ],
  [
    "requests to a node",
    ofNodes({ ingress: [{ toPorts: [{ ports: [tcp("80")], rules: { http: [{}] } }] }] }),
    "spec.ingress[0].toPorts[0].rules.http",
    /^L7 policy is not supported on host ingress yet$/,
  ],
  [
    "requests of a node",
    ofNodes({ egress: [{ toPorts: [{ ports: [tcp("80")], rules: { http: [{}] } }] }] }),
    `${list}.rules.http`,
    /^L7 protocol HTTP is not supported on host egress yet$/,
  ],
  ["requirements", ingress({ fromRequires: [{}] }), "spec.ingress[0].fromRequires", /was removed in Cilium 1\.19/],
  [
    "DNS on ingress",
    ingress({ toPorts: [{ ports: [{ port: "53" }], rules: dns }] }),
    "spec.ingress[0].toPorts[0].rules.dns",
    /^DNS rules are not allowed on ingress$/,
  ],
  ["DNS without a port", out({ ports: [], rules: dns }), list, /^port 53 must be specified for DNS rules$/],
  [
    "DNS on a range",
    on(dns, { port: "53", endPort: 60, protocol: "UDP" }),
    `${list}.ports[0].endPort`,
    /^DNS rules do not support port ranges$/,
  ],
  [
    "two ways to name",
    egress({ toFQDNs: [{ matchName: "a.b", matchPattern: "*" }] }),
    "spec.egress[0].toFQDNs[0]",
    /^only one of MatchName or MatchPattern is allowed in an FQDNSelector$/,
  ],
  [
    "a name with other characters",
    egress({ toFQDNs: [{ matchName: "https://a.b" }] }),
    "spec.egress[0].toFQDNs[0].matchName",
    /^Invalid characters in MatchName: "https:\/\/a\.b"$/,
  ],
  [
    "a pattern with other characters",
    egress({ toFQDNs: [{ matchPattern: "*.a?" }] }),
    "spec.egress[0].toFQDNs[0].matchPattern",
    /^Invalid characters in MatchPattern/,
  ],
  [
    "names beside other peers",
    egress({ toFQDNs: [{ matchName: "a.b" }], toEntities: ["world"] }),
    "spec.egress[0].toFQDNs",
    /^combining toEntities and toFQDNs in one item is not supported$/,
  ],
  [
    "server names beside requests",
    out({ ports: [tcp("443")], serverNames: ["a.b"], rules: { http: [{}] } }),
    `${list}.serverNames`,
    /^ServerNames are not allowed with L7 rules without TLS termination$/,
  ],
  [
    "an empty server name",
    out({ ports: [tcp("443")], serverNames: [""] }),
    `${list}.serverNames[0]`,
    /^empty server name is not allowed$/,
  ],
  [
    "TLS without a secret's name",
    out({ ports: [tcp("443")], terminatingTLS: { secret: { namespace: "a" } } }),
    `${list}.terminatingTLS.secret`,
    /^Secret name missing$/,
  ],
  [
    "a listener on ingress",
    ingress({ toPorts: [{ ports: [tcp("80")], listener: { envoyConfig: { name: "e" }, name: "l" } }] }),
    "spec.ingress[0].toPorts[0].listener",
    /^Listener is not allowed on ingress \(l\)$/,
  ],
  [
    "a listener beside requests",
    out({ ports: [tcp("80")], rules: { http: [{}] }, listener: { envoyConfig: { name: "e" }, name: "l" } }),
    `${list}.listener`,
    /^Listener is not allowed with L7 rules \(l\)$/,
  ],
  [
    "a priority out of range",
    out({ ports: [tcp("80")], listener: { envoyConfig: { name: "e" }, name: "l", priority: 101 } }),
    `${list}.listener.priority`,
    /1 to 100/,
  ],
  [
    "an unknown header action",
    on({ http: [{ headerMatches: [{ name: "X", value: "y", mismatch: "DROP" }] }] }),
    `${list}.rules.http[0].headerMatches[0].mismatch`,
    /^Invalid header action: DROP$/,
  ],
  [
    "a header's secret without name",
    on({ http: [{ headerMatches: [{ name: "X", secret: { namespace: "a" } }] }] }),
    `${list}.rules.http[0].headerMatches[0].secret`,
    /^Secret name missing$/,
  ],
  [
    "a port of GRE",
    out({ ports: [{ port: "80", protocol: "GRE" }] }),
    `${list}.ports[0].port`,
    /^port must be empty or 0$/,
  ],
  [
    "too many types",
    ingress({ icmps: [{ fields: Array.from({ length: 41 }, () => ({ type: 8 })) }] }),
    "spec.ingress[0].icmps[0].fields",
    /^too many types, the max is 40/,
  ],
  ["no rules in rules", on({}), `${list}.rules`, /^rules is empty/],
  [
    "an unknown mode",
    ingress({ fromEndpoints: [{}], authentication: { mode: "requird" } }),
    "spec.ingress[0].authentication.mode",
    /expected one of disabled, required, test-always-fail/,
  ],
  [
    "a log that is too long",
    policy({ ...subject, ingress: [{}], log: { value: "x".repeat(33) } }),
    "spec.log.value",
    /at most 32 printable characters/,
  ],
  [
    "a log that does not print",
    policy({ ...subject, ingress: [{}], log: { value: "a\nb" } }),
    "spec.log.value",
    /printable/,
  ],
  [
    "requests that are denied",
    policy({ ...subject, egressDeny: [{ toPorts: [{ ports: [tcp("80")], rules: { http: [{}] } }] }] }),
    "spec.egressDeny[0].toPorts[0].rules",
    /^deny rules cannot carry L7 rules$/,
  ],
  [
    "names that are denied, outside of tsilium",
    policy({ ...subject, egressDeny: [{ toFQDNs: [{ matchName: "a.b" }] }] }),
    "spec.egressDeny[0].toFQDNs",
    /"toFQDNs" is known, but not in an item of egressDeny/,
  ],
  [
    "a service without name",
    egress({ toServices: [{ k8sService: { namespace: "a" } }] }),
    "spec.egress[0].toServices[0].k8sService",
    /^serviceName is missing$/,
  ],
  ["a group of no provider", ingress({ fromGroups: [{}] }), "spec.ingress[0].fromGroups[0]", /names no provider/],
  [
    "a role beside a request of Kafka",
    on({ kafka: [{ role: "produce", apiKey: "fetch" }] }),
    `${list}.rules.kafka[0]`,
    /^Cannot set both Role and APIKey$/,
  ],
  ["rules for a parser without name", on({ l7: [{ a: "b" }] }), `${list}.rules`, /l7proto/],
  [
    "two protocols of ours",
    on({ tsilium: { ftp: [{}], smtp: [{}] } }),
    `${list}.rules.tsilium`,
    /^multiple L7 protocol rule types/,
  ],
  [
    "a command with its argument",
    on({ tsilium: { ftp: [{ command: "RETR x" }] } }),
    `${list}.rules.tsilium.ftp[0].command`,
    /expected a command/,
  ],
  [
    "a size in words",
    on({ tsilium: { smtp: [{ maxSize: "ten" }] } }),
    `${list}.rules.tsilium.smtp[0].maxSize`,
    /expected a size in bytes/,
  ],
  [
    "a limit without a number",
    on({ http: [{ tsilium: { rateLimit: { per: "1m" } } }] }),
    `${list}.rules.http[0].tsilium.rateLimit`,
    /^requests is missing$/,
  ],
  [
    "a limit per century",
    on({ http: [{ tsilium: { rateLimit: { requests: 1, per: "1c" } } }] }),
    `${list}.rules.http[0].tsilium.rateLimit.per`,
    /expected a time up to 24h/,
  ],
];

for (const [name, object, path, message] of messages)
  test(`${name}: refused at ${path}`, () => {
    const parsed = parsePolicy(object);
    assert.equal(parsed.kind, "refused", JSON.stringify(parsed));
    const errors = parsed.problems.filter((problem) => problem.severity === "error");
    const found = errors.find((problem) => problem.path === path && message.test(problem.message));
    assert.ok(found, JSON.stringify(errors, null, 1));
  });

function rulesOf(object: unknown): readonly Rule[] {
  const parsed: ParsedPolicy = parsePolicy(object);
  assert.equal(parsed.kind, "accepted", JSON.stringify(parsed.problems));
  return parsed.kind === "accepted" ? parsed.rules : [];
}

function onlyList(object: unknown) {
  const { ports } = rulesOf(object)[0]!.statements[0]!;
  assert.ok(ports !== "any");
  return ports[0]!;
}

const place = `${list}.rules`;

test("names are in lower case with a trailing dot", () => {
  const { peers } = rulesOf(
    egress({ toFQDNs: [{ matchName: "Example.ORG" }, { matchPattern: "**.Example.org." }] }),
  )[0]!.statements[0]!;
  assert.deepEqual(
    (peers as readonly object[]).map((peer) => ("name" in peer ? peer.name : peer)),
    [{ matchName: "example.org." }, { matchPattern: "**.example.org." }],
  );
});

test("DNS rules go with any transport", () => {
  const { l7, matches } = onlyList(on({ dns: [{ matchPattern: "*" }] }, { port: "53", protocol: "ANY" }));
  assert.deepEqual(l7, { protocol: "dns", rules: [{ matchPattern: "*.", place: `${place}.dns[0]` }] });
  assert.equal(matches.length, 3);
});

test("rules of Kafka, FTP, SMTP and of parsers from outside become rules of their protocols", () => {
  const rules = (of: object) => onlyList(on(of)).l7;
  assert.deepEqual(rules({ kafka: [{ role: "Produce", topic: "t", clientID: "c" }] }), {
    protocol: "kafka",
    rules: [{ role: "produce", clientId: "c", topic: "t", place: `${place}.kafka[0]` }],
  });
  assert.deepEqual(rules({ l7proto: "memcached", l7: [{ command: "get" }] }), {
    protocol: "custom",
    parser: "memcached",
    rules: [{ match: { command: "get" }, place: `${place}.l7[0]` }],
  });
  assert.deepEqual(rules({ tsilium: { ftp: [{ command: "retr", path: "/pub/.*" }] } }), {
    protocol: "ftp",
    rules: [{ command: "RETR", path: "/pub/.*", place: `${place}.tsilium.ftp[0]` }],
  });
  assert.deepEqual(rules({ tsilium: { smtp: [{ to: ".*@example.org", maxSize: "10Ki" }] } }), {
    protocol: "smtp",
    rules: [{ to: ".*@example.org", maxSizeBytes: 10240, place: `${place}.tsilium.smtp[0]` }],
  });
  assert.deepEqual(rules({ tsilium: { custom: { parser: "p", rules: [{ k: "v" }] } } }), {
    protocol: "custom",
    parser: "p",
    rules: [{ match: { k: "v" }, place: `${place}.tsilium.custom.rules[0]` }],
  });
});

test("gRPC calls and limits are HTTP rules", () => {
  assert.deepEqual(onlyList(on({ tsilium: { grpc: [{ service: "a.B", method: "Get.*" }] } })).l7, {
    protocol: "http",
    rules: [{ grpc: { service: "a.B", method: "Get.*" }, place: `${place}.tsilium.grpc[0]` }],
  });
  const limited = { path: "/x", tsilium: { rateLimit: { requests: 5, per: "1m", burst: 2 } } };
  assert.deepEqual(onlyList(on({ http: [limited] })).l7, {
    protocol: "http",
    rules: [{ path: "/x", rateLimit: { requests: 5, perMs: 60_000, burst: 2 }, place: `${place}.http[0]` }],
  });
});

test("an empty list of names is the same as none", () => {
  const [statement] = rulesOf(egress({ toFQDNs: [], toPorts: [{ ports: [tcp("80")] }] }))[0]!.statements;
  assert.equal(statement!.peers, "any");
});

test("a statement tells what it needs, and a node that lacks it refuses with the place", () => {
  const everything = policy(
    {
      nodeSelector: {},
      egress: [
        { toFQDNs: [{ matchName: "a.b" }], toPorts: [{ ports: [{ port: "53" }], rules: dns }] },
        { toServices: [{ k8sService: { serviceName: "s" } }] },
        { toNodes: [{}], authentication: { mode: "required" } },
        {
          toPorts: [
            { ports: [tcp("443")], serverNames: ["a"], terminatingTLS: { secret: { name: "s" } } },
            { ports: [tcp("444")], listener: { envoyConfig: { name: "e" }, name: "l" } },
            { ports: [{ protocol: "GRE" }] },
          ],
        },
      ],
      egressDeny: [{ tsilium: { toFQDNs: [{ matchName: "evil.example" }] } }],
    },
    "CiliumClusterwideNetworkPolicy",
  );
  const rules = rulesOf(everything);
  assert.deepEqual(
    needsOf(rules).map(({ capability, path }) => `${capability} ${path}`),
    [
      "node-policies spec.nodeSelector",
      "fqdn-peers spec.egress[0].toFQDNs[0]",
      "dns spec.egress[0].toPorts[0].rules.dns",
      "services spec.egress[1].toServices[0]",
      "node-peers spec.egress[2].toNodes[0]",
      "authentication spec.egress[2].authentication",
      "server-names spec.egress[3].toPorts[0].serverNames",
      "tls-inspection spec.egress[3].toPorts[0].terminatingTLS",
      "listeners spec.egress[3].toPorts[1].listener",
      "extended-protocols spec.egress[3].toPorts[2].ports[0]",
      "fqdn-deny spec.egressDeny[0].tsilium.toFQDNs[0]",
    ],
  );
  const missing = unenforceable(rules, new Set(["node-policies", "dns", "fqdn-peers"]));
  assert.equal(missing.length, 8);
  assert.match(missing[0]!.message, /^peers that are services: not enforced by this version/);
});

test("what every node enforces needs nothing", () => {
  const plain = ingress({ fromEndpoints: [{}], toPorts: [{ ports: [tcp("80")], rules: { http: [{ path: "/" }] } }] });
  assert.deepEqual(needsOf(rulesOf(plain)), []);
});

test("names without a DNS rule are warned of: nothing tells their addresses", () => {
  const alone = parsePolicy(egress({ toFQDNs: [{ matchName: "a.b" }] }));
  assert.ok(alone.problems.some(({ code }) => code === "names-unknown"));
  const both = {
    ...subject,
    egress: [{ toFQDNs: [{ matchName: "a.b" }] }, { toPorts: [{ ports: [{ port: "53" }], rules: dns }] }],
  };
  assert.ok(!parsePolicy(policy(both)).problems.some(({ code }) => code === "names-unknown"));
});
