/** The two policies that people start from: refused as they are written, with exact places, the consequence and the repair. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { formatProblems, parseManifests } from "#contracts/manifest";
import { parsePolicy, repairPolicy } from "#control/policy";

function read(file: string) {
  const text = readFileSync(join(import.meta.dirname, "seed", file), "utf8");
  const [manifest] = parseManifests(text, { file });
  const parsed = parsePolicy(manifest!.value);
  assert.ok(parsed.kind === "refused");
  const problems = [...manifest!.problems, ...manifest!.locateProblems(parsed.problems)];
  return { text, value: manifest!.value, parsed, problems };
}

const places = (problems: ReturnType<typeof read>["problems"]) =>
  problems.map(({ severity, line, column, code, path }) => `${severity} ${line}:${column} ${code} ${path}`.trim());

test("service-account.yaml is refused with every misplaced line", () => {
  const { problems, parsed } = read("service-account.yaml");
  const peer = "spec.ingress[0].fromEndpoints[0]";
  assert.deepEqual(places(problems), [
    "error 4:2 odd-blank",
    "warning 7:18 selects-everything spec.endpointSelector.matchLabels",
    'error 8:5 misplaced-field spec.endpointSelector["io.cilium.k8s.policy.serviceaccount"]',
    `warning 11:24 selects-everything ${peer}.matchLabels`,
    `error 12:11 misplaced-field ${peer}["io.cilium.k8s.policy.serviceaccount"]`,
    `error 13:11 misplaced-field ${peer}.toPorts`,
    `warning 14:15 matches-no-port ${peer}.toPorts[0]`,
    `warning 14:22 null-field ${peer}.toPorts[0].ports`,
    `error 15:15 misplaced-field ${peer}.toPorts[1].port`,
    `warning 15:15 matches-no-port ${peer}.toPorts[1]`,
    `error 16:11 misplaced-field ${peer}.protocol`,
    `error 17:11 misplaced-field ${peer}.rules`,
    `error 18:11 misplaced-field ${peer}.http`,
    `error 20:11 misplaced-field ${peer}.path`,
  ]);
  assert.match(parsed.effect!, /strict validation rejects it; a client without it drops the unknown fields silently/);
  assert.match(parsed.effect!, /Every endpoint of namespace default goes into ingress default deny\./);
  assert.match(
    parsed.effect!,
    /It accepts every endpoint of namespace default on every port and protocol, with no L7 rule\./,
  );
});

test("service-account.yaml is repaired to what its author meant", () => {
  const { value } = read("service-account.yaml");
  const repair = repairPolicy(value)!;
  assert.equal(
    repair.yaml,
    `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata:
  name: service-account
spec:
  endpointSelector:
    matchLabels:
      io.cilium.k8s.policy.serviceaccount: server
  ingress:
  - fromEndpoints:
    - matchLabels:
        io.cilium.k8s.policy.serviceaccount: client
    toPorts:
    - ports:
      - port: "3555"
        protocol: TCP
      rules:
        http:
        - method: GET
          path: /mypath
`,
  );
  assert.deepEqual(
    repair.problems.map(({ severity, code }) => [severity, code]),
    [["info", "full-match"]],
  );
  assert.equal(parsePolicy(parseManifests(repair.yaml)[0]!.value).kind, "accepted");
});

test("restrict-access.yaml is refused for want of a subject, and what follows from that is said", () => {
  const { problems, parsed } = read("restrict-access.yaml");
  assert.deepEqual(places(problems), ["error 4:2 odd-blank", "error 5:1 missing-field spec"]);
  assert.match(parsed.effect!, /selects no subject.*Nothing would be enforced/);
});

test("restrict-access.yaml is repaired, with a warning that DNS is cut", () => {
  const { value } = read("restrict-access.yaml");
  const repair = repairPolicy(value)!;
  assert.equal(
    repair.yaml,
    `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata:
  name: restrict-access
spec:
  endpointSelector: {}
  ingress:
  - fromEndpoints:
    - matchLabels:
        app: frontend
  egress:
  - toEndpoints:
    - matchLabels:
        app: backend
`,
  );
  assert.deepEqual(
    repair.problems.map(({ severity, code }) => [severity, code]),
    [["warning", "dns-cut"]],
  );
  assert.deepEqual(
    repair.changes.map(({ path }) => path),
    ["spec"],
  );
});

test("problems are shown with the line and a caret under the culprit", () => {
  const { text, problems } = read("service-account.yaml");
  const shown = formatProblems(problems, new Map([["service-account.yaml", text]]));
  const at = shown.indexOf('error[misplaced-field]: "port"');
  assert.deepEqual(
    shown
      .slice(at)
      .split("\n")
      .slice(0, 6)
      .map((line) => line.replaceAll("\u00a0", " ")),
    [
      'error[misplaced-field]: "port" is known, but not in an item of toPorts',
      "  --> service-account.yaml:15:15  spec.ingress[0].fromEndpoints[0].toPorts[1].port",
      "   |",
      '15 |             - port: "3555"',
      "   |               ^^^^",
      "   = hint: it belongs in toPorts[].ports[]: check the indentation",
    ],
  );
});
