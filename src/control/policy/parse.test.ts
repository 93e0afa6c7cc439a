import assert from "node:assert/strict";
import { test } from "node:test";
import { describeRule, parsePolicy } from "./index.ts";

const policy = (spec: object, kind = "CiliumNetworkPolicy") => ({
  apiVersion: "cilium.io/v2",
  kind,
  metadata: { name: "p", ...(kind === "CiliumNetworkPolicy" ? { namespace: "default" } : {}) },
  spec,
});
const subject = { endpointSelector: { matchLabels: { app: "a" } } };
const ingress = (item: object) => policy({ ...subject, ingress: [item] });
const port = (fields: object) => ingress({ toPorts: [{ ports: [fields] }] });

const messages: ReadonlyArray<readonly [name: string, object: unknown, path: string, message: RegExp, hint: RegExp]> = [
  [
    "no sections",
    policy(subject),
    "spec",
    /^rule must have at least one of Ingress, IngressDeny, Egress, EgressDeny$/,
    /ingress: \[\{\}\]/,
  ],
  [
    "no subject",
    policy({ ingress: [{}] }),
    "spec",
    /^rule must have one of EndpointSelector or NodeSelector$/,
    /endpointSelector/,
  ],
  [
    "two subjects",
    policy({ ...subject, nodeSelector: {}, ingress: [{}] }, "CiliumClusterwideNetworkPolicy"),
    "spec",
    /^rule cannot have both EndpointSelector and NodeSelector$/,
    /endpointSelector/,
  ],
  [
    "mixed peers",
    ingress({ fromEndpoints: [{}], fromCIDR: ["10.0.0.0/8"] }),
    "spec.ingress[0].fromCIDR",
    /^combining fromEndpoints and fromCIDR in one item is not supported$/,
    /item of its own/,
  ],
  [
    "an unknown entity",
    ingress({ fromEntities: ["wrld"] }),
    "spec.ingress[0].fromEntities[0]",
    /^unsupported entity: "wrld"$/,
    /write "world"/,
  ],
  [
    "a port above the last",
    port({ port: "99999" }),
    "spec.ingress[0].toPorts[0].ports[0].port",
    /found "99999", the highest port is 65535/,
    /endPort/,
  ],
  [
    "a range as text",
    port({ port: "6581-6586" }),
    "spec.ingress[0].toPorts[0].ports[0].port",
    /found "6581-6586", a range is not written/,
    /^write port: "6581" and endPort: 6586$/,
  ],
  [
    "a port as a number",
    port({ port: 80 }),
    "spec.ingress[0].toPorts[0].ports[0].port",
    /found the number 80, expected a string/,
    /put it in quotes: "80"/,
  ],
  ["an octal port", port({ port: "010" }), "spec.ingress[0].toPorts[0].ports[0].port", /octal: 8/, /^write "10"$/],
  [
    "no port",
    port({ protocol: "TCP" }),
    "spec.ingress[0].toPorts[0].ports[0]",
    /^port must be specified$/,
    /"0" stands for every port/,
  ],
  [
    "an unknown protocol",
    port({ port: "80", protocol: "TPC" }),
    "spec.ingress[0].toPorts[0].ports[0].protocol",
    /^invalid protocol "TPC", must be \{ tcp \| udp \| sctp \| .* \| any \}$/,
    /^write TCP$/,
  ],
  [
    "too many ports",
    ingress({ toPorts: [{ ports: Array.from({ length: 41 }, (_, i) => ({ port: String(i + 1) })) }] }),
    "spec.ingress[0].toPorts[0].ports",
    /^too many ports, the max is 40; found 41$/,
    /endPort/,
  ],
  [
    "HTTP over ANY",
    ingress({ toPorts: [{ ports: [{ port: "80" }], rules: { http: [{}] } }] }),
    "spec.ingress[0].toPorts[0].ports[0]",
    /^L7 rules can only apply to TCP \(not ANY\) except for DNS rules$/,
    /protocol: TCP/,
  ],
  [
    "HTTP on port 0",
    ingress({ toPorts: [{ ports: [{ port: "0", protocol: "TCP" }], rules: { http: [{}] } }] }),
    "spec.ingress[0].toPorts[0].ports[0].port",
    /^L7 rules can not be used when a port is 0$/,
    /name the ports/,
  ],
  [
    "ICMP beside ports",
    ingress({ toPorts: [{ ports: [{ port: "80" }] }], icmps: [{ fields: [{ type: 8 }] }] }),
    "spec.ingress[0].icmps",
    /^the ICMPs block may only be present without ToPorts$/,
    /separate item/,
  ],
  [
    "a wrong family",
    ingress({ icmps: [{ fields: [{ type: 8, family: "v6" }] }] }),
    "spec.ingress[0].icmps[0].fields[0].family",
    /^wrong family: "v6"$/,
    /write IPv6/,
  ],
  [
    "an ICMP name of the other family",
    ingress({ icmps: [{ fields: [{ type: "PacketTooBig" }] }] }),
    "spec.ingress[0].icmps[0].fields[0].type",
    /^ICMP type "PacketTooBig" not found in IPv4$/,
    /family: IPv6/,
  ],
  [
    "an address for a CIDR",
    ingress({ fromCIDR: ["10.0.0.1"] }),
    "spec.ingress[0].fromCIDR[0]",
    /unable to parse CIDR/,
    /10\.0\.0\.1\/32/,
  ],
  [
    "an empty CIDR",
    ingress({ fromCIDR: [""] }),
    "spec.ingress[0].fromCIDR[0]",
    /^IP must be specified$/,
    /address\/length/,
  ],
  [
    "an exception outside",
    ingress({ fromCIDRSet: [{ cidr: "10.0.0.0/8", except: ["11.0.0.0/8"] }] }),
    "spec.ingress[0].fromCIDRSet[0].except[0]",
    /^allow CIDR prefix 10\.0\.0\.0\/8 does not contain exclude CIDR prefix 11\.0\.0\.0\/8$/,
    /inside/,
  ],
  [
    "a CIDR rule without CIDR",
    ingress({ fromCIDRSet: [{}] }),
    "spec.ingress[0].fromCIDRSet[0]",
    /^one of cidr, cidrGroupRef, or cidrGroupSelector is required$/,
    /cidr/,
  ],
  [
    "a header without name",
    ingress({
      toPorts: [{ ports: [{ port: "80", protocol: "TCP" }], rules: { http: [{ headerMatches: [{ value: "x" }] }] } }],
    }),
    "spec.ingress[0].toPorts[0].rules.http[0].headerMatches[0]",
    /^Header name missing$/,
    /add name/,
  ],
  [
    "rules of two protocols",
    ingress({ toPorts: [{ ports: [{ port: "80", protocol: "TCP" }], rules: { http: [{}], dns: [{}] } }] }),
    "spec.ingress[0].toPorts[0].rules",
    /^multiple L7 protocol rule types specified in single rule$/,
    /keep one of/,
  ],
  [
    "no name",
    { apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy", spec: { ...subject, ingress: [{}] } },
    "",
    /^CiliumNetworkPolicy must have name$/,
    /metadata/,
  ],
  [
    "no spec",
    { apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy", metadata: { name: "p" } },
    "",
    /^spec or specs must be provided$/,
    /spec/,
  ],
  [
    "a misspelt field",
    ingress({ toPort: [] }),
    "spec.ingress[0].toPort",
    /no field "toPort"; nearest known: "toPorts"/,
    /write "toPorts"/,
  ],
  [
    "Kubernetes' word for it",
    policy({ podSelector: {}, ingress: [{ from: [] }] }),
    "spec.podSelector",
    /no field "podSelector"; nearest known: "endpointSelector"/,
    /write "endpointSelector"/,
  ],
];
for (const [name, object, path, message, hint] of messages)
  test(`${name}: refused at ${path || "the object"}`, () => {
    const parsed = parsePolicy(object);
    assert.equal(parsed.kind, "refused");
    const at = parsed.problems.filter((problem) => problem.path === path && problem.severity === "error");
    const found = at.find((problem) => message.test(problem.message));
    assert.ok(found, JSON.stringify(parsed.problems, null, 1));
    assert.match(found.hint, hint);
  });

test("a section of the wrong type is refused for that, not for being absent", () => {
  const parsed = parsePolicy(policy({ ...subject, ingress: { fromEndpoints: [{}] } }));
  assert.deepEqual(
    parsed.problems.map(({ code, path }) => [code, path]),
    [["wrong-type", "spec.ingress"]],
  );
});

test("all problems are returned at once", () => {
  const parsed = parsePolicy(
    ingress({ fromEntities: ["x", "y"], toPorts: [{ ports: [{ port: "x y" }, { port: "70000" }] }] }),
  );
  assert.equal(parsed.problems.filter((problem) => problem.severity === "error").length, 4);
});

for (const value of [
  undefined,
  null,
  5,
  "text",
  [],
  [{}],
  {},
  { kind: 7 },
  { kind: "CiliumNetworkPolicy", spec: [], specs: {}, metadata: [] },
])
  test(`${JSON.stringify(value)} is refused, not thrown`, () => assert.equal(parsePolicy(value).kind, "refused"));

test("a port that the schema lets through, but no agent, is said to do nothing", () => {
  const parsed = parsePolicy(port({ port: "6581-6586", protocol: "TCP" }));
  assert.ok(parsed.kind === "refused");
  assert.match(parsed.effect!, /schema lets it through.*nothing of it enforced/);
});

test("a policy is described in words", () => {
  const parsed = parsePolicy(
    policy({
      ...subject,
      ingress: [
        {
          fromEntities: ["world"],
          toPorts: [{ ports: [{ port: "443", protocol: "TCP" }], rules: { http: [{ method: "GET", path: "/x" }] } }],
        },
      ],
      ingressDeny: [{ fromCIDRSet: [{ cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] }] }],
      egress: [{}],
    }),
  );
  assert.ok(parsed.kind === "accepted");
  assert.deepEqual(
    parsed.rules.flatMap((rule) => describeRule(rule)),
    [
      "Every endpoint of namespace default with app=a goes into ingress default deny.",
      "It accepts entity world on tcp/443, only requests GET /x.",
      "It never accepts 10.0.0.0/8 except 10.1.0.0/16 on every port and protocol, with no L7 rule.",
      "Every endpoint of namespace default with app=a goes into egress default deny.",
      "By this rule it reaches no one.",
    ],
  );
});
