import assert from "node:assert/strict";
import { test } from "node:test";
import { Ajv } from "ajv";
import fc from "fast-check";
import { parsePrefix } from "#core/model";
import { resourceOf, resources } from "./resources.ts";
import type { Schema } from "./schema.ts";
import { checkStructure } from "./structural.ts";

const policy = (spec: unknown) => ({
  apiVersion: "cilium.io/v2",
  kind: "CiliumNetworkPolicy",
  metadata: { name: "p" },
  spec,
});
const check = (spec: unknown) => checkStructure(resourceOf("CiliumNetworkPolicy").schema, policy(spec));
const endpointSelector = {};
const withPort = (port: unknown) => ({ endpointSelector, ingress: [{ toPorts: [{ ports: [port] }] }] });

const refused: Record<string, { spec: unknown; path: string; says: RegExp }> = {
  "a rule without subject": {
    spec: { ingress: [{}] },
    path: "spec",
    says: /exactly one of endpointSelector, nodeSelector/,
  },
  "a rule with two subjects": {
    spec: { endpointSelector, nodeSelector: {}, ingress: [{}] },
    path: "spec",
    says: /only one of endpointSelector, nodeSelector/,
  },
  "a null subject": { spec: { endpointSelector: null, ingress: [{}] }, path: "spec", says: /none is/ },
  "a rule without directions": {
    spec: { endpointSelector },
    path: "spec",
    says: /at least one of ingress, ingressDeny/,
  },
  "a numeric port": {
    spec: withPort({ port: 80 }),
    path: "spec.ingress[0].toPorts[0].ports[0].port",
    says: /must be string, is integer/,
  },
  "port 65536": { spec: withPort({ port: "65536" }), path: "spec.ingress[0].toPorts[0].ports[0].port", says: /65535/ },
  "a port with its protocol": {
    spec: withPort({ port: "80 tcp" }),
    path: "spec.ingress[0].toPorts[0].ports[0].port",
    says: /name/,
  },
  "an unknown protocol": {
    spec: withPort({ port: "80", protocol: "TPC" }),
    path: "spec.ingress[0].toPorts[0].ports[0].protocol",
    says: /supported values: "TCP"/,
  },
  "an end port beyond 65535": {
    spec: withPort({ port: "80", endPort: 70000 }),
    path: "spec.ingress[0].toPorts[0].ports[0].endPort",
    says: /at most 65535/,
  },
  "41 ports": {
    spec: { endpointSelector, ingress: [{ toPorts: [{ ports: Array.from({ length: 41 }, () => ({ port: "1" })) }] }] },
    path: "spec.ingress[0].toPorts[0].ports",
    says: /at most 40/,
  },
  "http and dns rules together": {
    spec: { endpointSelector, egress: [{ toPorts: [{ ports: [{ port: "53" }], rules: { http: [{}], dns: [{}] } }] }] },
    path: "spec.egress[0].toPorts[0].rules",
    says: /only one of http, dns/,
  },
  "empty rules": {
    spec: { endpointSelector, ingress: [{ toPorts: [{ rules: {} }] }] },
    path: "spec.ingress[0].toPorts[0].rules",
    says: /exactly one of http, dns/,
  },
  "a bare address as prefix": {
    spec: { endpointSelector, egress: [{ toCIDR: ["10.0.0.1"] }] },
    path: "spec.egress[0].toCIDR[0]",
    says: /must be a prefix/,
  },
  "cidr and cidrGroupRef together": {
    spec: { endpointSelector, egress: [{ toCIDRSet: [{ cidr: "10.0.0.0/8", cidrGroupRef: "x" }] }] },
    path: "spec.egress[0].toCIDRSet[0]",
    says: /only one of/,
  },
  "an unknown entity": {
    spec: { endpointSelector, ingress: [{ fromEntities: ["wrold"] }] },
    path: "spec.ingress[0].fromEntities[0]",
    says: /Unsupported value: "wrold"/,
  },
  "a removed field that is not empty": {
    spec: { endpointSelector, ingress: [{ fromRequires: ["x"] }] },
    path: "spec.ingress[0].fromRequires",
    says: /at most 0 items/,
  },
  "an unknown ICMP type": {
    spec: { endpointSelector, ingress: [{ icmps: [{ fields: [{ type: "Ping" }] }] }] },
    path: "spec.ingress[0].icmps[0].fields[0].type",
    says: /Number from 0 to 255/,
  },
  "ICMP type 256": {
    spec: { endpointSelector, ingress: [{ icmps: [{ fields: [{ type: 256 }] }] }] },
    path: "spec.ingress[0].icmps[0].fields[0].type",
    says: /"256"/,
  },
  "a label value with a space": {
    spec: { endpointSelector: { matchLabels: { app: "a b" } }, ingress: [{}] },
    path: "spec.endpointSelector.matchLabels.app",
    says: /must match/,
  },
  "an operator that is none": {
    spec: { endpointSelector: { matchExpressions: [{ key: "a", operator: "Equals" }] }, ingress: [{}] },
    path: "spec.endpointSelector.matchExpressions[0].operator",
    says: /supported values: "In"/,
  },
  "a list where an object belongs": {
    spec: { endpointSelector: [], ingress: [{}] },
    path: "spec.endpointSelector",
    says: /is array/,
  },
  "a log text of 33 characters": {
    spec: { endpointSelector, ingress: [{}], log: { value: "x".repeat(33) } },
    path: "spec.log.value",
    says: /at most 32/,
  },
};

for (const [name, { spec, path, says }] of Object.entries(refused)) {
  test(`a policy with ${name} is refused at ${path}`, () => {
    const { problems } = check(spec);
    const found = problems.find((problem) => problem.path === path);
    assert.ok(found, `problems were ${JSON.stringify(problems)}`);
    assert.match(found.message, says);
  });
}

test("all problems of a policy are told at once, with hints", () => {
  const { problems } = check({
    endpointSelector,
    ingress: [{ toPorts: [{ ports: [{ port: 80, protocol: "UPD" }] }] }],
    egress: [{ toCIDR: ["10.0.0.1"] }],
  });
  assert.deepEqual(
    problems.map(({ path, hint }) => ({ path, hint })),
    [
      { path: "spec.ingress[0].toPorts[0].ports[0].port", hint: 'write it in quotes: "80"' },
      { path: "spec.ingress[0].toPorts[0].ports[0].protocol", hint: 'did you mean "UDP"?' },
      { path: "spec.egress[0].toCIDR[0]", hint: 'did you mean "10.0.0.1/32"?' },
    ],
  );
});

test("unknown fields are found at every depth, with the field that was meant", () => {
  const { unknownFields } = check({
    endpointSelector: { matchLabel: { a: "b" } },
    ingres: [],
    ingress: [{ fromEndpoints: [{ toPorts: [] }], toPorts: [{ rules: { http: [{ paht: "/", zzz: 1 }] } }] }],
  });
  assert.deepEqual(unknownFields, [
    { path: "spec.endpointSelector.matchLabel", nearest: "matchLabels" },
    { path: "spec.ingres", nearest: "ingress" },
    { path: "spec.ingress[0].fromEndpoints[0].toPorts" },
    { path: "spec.ingress[0].toPorts[0].rules.http[0].paht", nearest: "path" },
    { path: "spec.ingress[0].toPorts[0].rules.http[0].zzz" },
  ]);
});

test("the checked value has no unknown fields, no nulls, and its defaults", () => {
  const spec = { endpointSelector, ingress: [{ icmps: [{ fields: [{ type: 8, extra: 1 }] }] }], description: null };
  assert.deepEqual(
    check(spec).value,
    policy({ endpointSelector, ingress: [{ icmps: [{ fields: [{ type: 8, family: "IPv4" }] }] }] }),
  );
});

test("a value that needs no change is handed back as it is", () => {
  const value = policy({ endpointSelector, ingress: [{ fromEntities: ["cluster-mesh"] }] });
  const checked = checkStructure(resourceOf("CiliumNetworkPolicy").schema, value);
  assert.equal(checked.value, value);
  assert.deepEqual(checked.problems, []);
});

test("a part of an object needs nothing and gets no defaults", () => {
  const part = { spec: { ingress: [{ icmps: [{ fields: [{ type: 8 }] }] }] } };
  const checked = checkStructure(resourceOf("CiliumNetworkPolicy").schema, part, { partial: true });
  assert.equal(checked.value, part);
  assert.deepEqual(checked.problems, []);
});

test("hostile texts are judged in linear time", () => {
  const startedMs = performance.now();
  check({
    endpointSelector,
    egress: [{ toFQDNs: [{ matchName: `${"a".repeat(254)}!` }, { matchPattern: `${"*".repeat(254)}!` }] }],
  });
  check(withPort({ port: `${"a".repeat(62)}!` }));
  check(withPort({ port: `${"a-".repeat(31)}!` }));
  check({ endpointSelector, egress: [{ toCIDRSet: [{ cidrGroupRef: `${"a".repeat(252)}!` }] }] });
  assert.ok(performance.now() - startedMs < 500);
});

test("a key __proto__ changes no prototype", () => {
  const labels = JSON.parse('{"__proto__": "x", "constructor": "y"}');
  const { value, problems } = checkStructure(resourceOf("ConfigMap").schema, { metadata: { name: "c" }, data: labels });
  assert.deepEqual(problems, []);
  assert.equal(Object.getPrototypeOf((value as { data: object }).data), Object.prototype);
});

/** Our schema in the dialect of ajv: int-or-string and formats spelled out. */
function toJsonSchema(schema: Schema): object {
  const { properties, items, additionalProperties, description: _d, default: _f, ...rest } = schema;
  const plain = Object.fromEntries(Object.entries(rest).filter(([key]) => !key.startsWith("x-")));
  const isOpen = schema["x-kubernetes-preserve-unknown-fields"] === true;
  if (schema["x-kubernetes-int-or-string"]) {
    // ajv applies patterns to text only; ours to numbers as well: here to those that the generators below make.
    const { pattern } = schema;
    const fitting = [-1, 1, 8, 80].filter(
      (number) => pattern === undefined || new RegExp(pattern, "u").test(`${number}`),
    );
    return { anyOf: [{ enum: fitting }, { type: "string", ...plain }] };
  }
  return {
    ...plain,
    ...(properties && {
      properties: Object.fromEntries(Object.entries(properties).map(([name, field]) => [name, toJsonSchema(field)])),
    }),
    ...(items && { items: toJsonSchema(items) }),
    ...(additionalProperties
      ? { additionalProperties: toJsonSchema(additionalProperties) }
      : schema.type === "object" && !isOpen
        ? { additionalProperties: false }
        : {}),
  };
}

const wrongValues: fc.Arbitrary<unknown> = fc.constantFrom<unknown>(
  1,
  "x",
  true,
  [],
  {},
  ["a"],
  -1,
  1.5,
  "10.0.0.0/8",
  "",
);

/** Values near a schema: mostly right, sometimes wrong. */
const arbitraryOf = (schema: Schema): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 60, arbitrary: rightValues(schema) }, { weight: 1, arbitrary: wrongValues });

function rightValues(schema: Schema): fc.Arbitrary<unknown> {
  if (schema["x-kubernetes-int-or-string"]) return fc.constantFrom<unknown>(8, 80, "EchoRequest", "http");
  if (schema.enum) return fc.constantFrom(...schema.enum);
  switch (schema.type) {
    case "string":
      return rightText(schema);
    case "integer":
    case "number":
      return fc.oneof(
        { weight: 9, arbitrary: fc.constantFrom(1, 100) },
        { weight: 1, arbitrary: fc.constantFrom(0, 101, 65536) },
      );
    case "boolean":
      return fc.boolean();
    case "array":
      return fc.array(arbitraryOf(schema.items!), { maxLength: schema.maxItems === 0 ? 0 : 2 });
    case "object":
      if (schema.additionalProperties) {
        return fc.dictionary(fc.constantFrom("app", "k8s:tier"), arbitraryOf(schema.additionalProperties), {
          maxKeys: 2,
        });
      }
      return rightRecord(schema);
    default:
      return wrongValues;
  }
}

function rightText({ format }: Schema): fc.Arbitrary<string> {
  if (format === "cidr") return fc.constantFrom("10.0.0.0/8", "fd00::/8", "10.0.0.1/32");
  if (format === "date-time") return fc.constant("2030-01-31T12:00:00Z");
  const odd = fc.constantFrom("x y", "A".repeat(64), "*.example.com", "65536");
  return fc.oneof({ weight: 20, arbitrary: fc.constantFrom("80", "web", "a.b") }, { weight: 1, arbitrary: odd });
}

/** Few fields at a time, and mostly those that may stand together: else hardly any value would be valid. */
function rightRecord(schema: Schema): fc.Arbitrary<unknown> {
  const fields = (groups: Schema["oneOf"]) => groups?.flatMap((group) => group.required) ?? [];
  const required = schema.required ?? [];
  const exclusive = fields(schema.oneOf);
  const alternatives = fields(schema.anyOf);
  const free = Object.keys(schema.properties ?? {}).filter(
    (name) => ![...required, ...exclusive, ...alternatives].includes(name),
  );
  const one = (names: string[]) =>
    fc.oneof(
      {
        weight: 40,
        arbitrary: fc.subarray(names, { minLength: Math.min(1, names.length), maxLength: Math.min(1, names.length) }),
      },
      { weight: 1, arbitrary: fc.subarray(names) },
    );
  return fc
    .tuple(fc.subarray(free, { maxLength: Math.min(2, free.length) }), one(exclusive), one(alternatives))
    .chain((chosen) => {
      const names = [...required, ...chosen.flat()];
      return fc.record(
        Object.fromEntries(
          names.map((name): [string, fc.Arbitrary<unknown>] => [name, arbitraryOf(schema.properties![name]!)]),
        ),
      );
    });
}

for (const kind of ["CiliumNetworkPolicy", "NetworkPolicy", "CiliumEndpoint", "Service"] as const) {
  test(`ajv and our checker agree on what a valid ${kind} is`, (t) => {
    const { schema } = resourceOf(kind);
    const { spec, status } = schema.properties!;
    const part = spec ?? status!;
    const ajv = new Ajv({ strict: false, allErrors: true, unicodeRegExp: true });
    ajv.addFormat("cidr", (text) => parsePrefix(text) !== undefined);
    ajv.addFormat("date-time", (text) => !Number.isNaN(Date.parse(text)));
    for (const numeric of ["int32", "int64", "byte"]) ajv.addFormat(numeric, true);
    const oracle = ajv.compile(toJsonSchema(part));
    const seed = Date.now() & 0x7fff_ffff;
    t.diagnostic(`seed ${seed}`);
    let valid = 0;
    fc.assert(
      fc.property(arbitraryOf(part), (value) => {
        const { problems, unknownFields } = checkStructure(part, value);
        const ours = problems.length === 0 && unknownFields.length === 0;
        assert.equal(ours, oracle(value), JSON.stringify({ value, problems, unknownFields, ajv: oracle.errors }));
        if (ours) valid++;
      }),
      { numRuns: 1500, seed },
    );
    assert.ok(valid > 10, `only ${valid} of the values were valid: the generator is too wild to tell anything`);
  });
}

test("every kind has a schema in which all fields are described", () => {
  const undescribed: string[] = [];
  const visit = (schema: Schema, path: string): void => {
    if (!schema.description) undescribed.push(path);
    for (const [name, field] of Object.entries(schema.properties ?? {})) visit(field, `${path}.${name}`);
    if (schema.items) visit(schema.items, `${path}[]`);
    if (schema.additionalProperties) visit(schema.additionalProperties, `${path}{}`);
  };
  for (const { kind, schema } of resources) visit(schema, kind);
  assert.deepEqual(undescribed, []);
});
