/** The workbench beside a running node: its verdicts from live objects are those that packets met, and its recordings can be replayed. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { TestNode, type TestWorkload } from "./node.ts";

const policy = (from: string) => `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: default}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: ${from}}}]
    toPorts:
    - ports: [{port: "80", protocol: TCP}]
      rules: {http: [{method: GET, path: "/open.*"}]}
`;

describe("the workbench beside a running node", () => {
  const folder = mkdtempSync(join(tmpdir(), "tsilium-workbench-"));
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  let node: TestNode;
  let web: TestWorkload;
  let client: TestWorkload;
  let other: TestWorkload;

  before(async () => {
    node = await TestNode.start();
    [web, client, other] = await Promise.all([node.workload("web"), node.workload("client"), node.workload("other")]);
    await web.tell({ op: "serve-http", port: 80 });
    await node.apply(policy("client"));
    const ask = async (from: TestWorkload, path: string) =>
      from.tell({ op: "get", url: web.url(4, 80, path), timeoutMs: 600 });
    assert.equal((await ask(client, "/open")).status, 200);
    assert.equal((await ask(client, "/closed")).status, 403);
    assert.equal((await ask(other, "/open")).error, "timeout");
  });
  after(async () => {
    rmSync(folder, { recursive: true, force: true });
    assert.deepEqual(await node?.close(), []);
  });

  const json = (...args: readonly string[]) => JSON.parse(node.cli([...args, "-o", "json"]));

  test("simulate --live shows who reaches whom, as packets found it", () => {
    const { reach } = json("policy", "simulate", "--live") as {
      readonly reach: readonly {
        readonly from: string;
        readonly to: string;
        readonly ports: { readonly first?: number };
        readonly verdict: string;
      }[];
    };
    const verdict = (from: string) =>
      reach.find((one) => one.from === from && one.to === "web" && one.ports.first === 80)?.verdict;
    assert.deepEqual([verdict("client"), verdict("other")], ["http", "denied"]);
  });

  test("diff --live says what applying a file changes", () => {
    const { sentences } = json("policy", "diff", "--live", file("proposed.yaml", policy("other"))) as {
      readonly sentences: readonly { readonly text: string }[];
    };
    assert.deepEqual(
      sentences.map(({ text }) => text),
      ["client loses web:80/TCP for GET /open.*", "other gains web:80/TCP for GET /open.*"],
    );
  });

  test("test --live holds expectations against what is in force", () => {
    const tests = file(
      "tests.yaml",
      `tests:
- {from: client, to: web, on: 80, http: GET /open, expect: {allowedBy: web}}
- {from: client, to: web, on: 80, http: GET /closed, expect: denied}
- {from: other, to: web, on: 80, expect: {deniedBy: default/web}}
`,
    );
    const { ok, results } = json("policy", "test", tests, "--live") as {
      readonly ok: boolean;
      readonly results: readonly unknown[];
    };
    assert.equal(ok, true, JSON.stringify(results));
    assert.equal(results.length, 3);
  });

  interface Replayed {
    readonly judged: number;
    readonly changes: readonly {
      readonly kind: string;
      readonly from: string;
      readonly request?: string;
      readonly before: { readonly rules: readonly string[] };
    }[];
  }

  test("replay --live of the observer's own flows: what is in force would decide the same again", () => {
    const { judged, changes } = json("policy", "replay", "--live") as Replayed;
    assert.deepEqual(changes, []);
    assert.ok(judged >= 4, `${judged} flows were judged`);
  });

  test("replay --live with a proposal: what client had is lost, what other was denied is gained", () => {
    const { changes } = json("policy", "replay", "--live", "-f", file("proposed.yaml", policy("other"))) as Replayed;
    const kinds = new Set(changes.map(({ kind, from }) => `${kind} ${from}`));
    assert.deepEqual([...kinds].sort(), ["gain default/other", "loss default/client"]);
    const lost = changes.find(({ kind, request }) => kind === "loss" && request === "GET /open");
    assert.match(lost!.before.rules[0]!, /^CiliumNetworkPolicy default\/web spec\.ingress\[0\]/);
  });

  test("what is suggested from the observer's flows lets the same through again", () => {
    const suggested = file("suggested.yaml", node.cli(["policy", "suggest", "--http"]));
    const { changes } = json("policy", "replay", "-f", suggested) as Replayed;
    assert.deepEqual(
      changes.filter(({ kind }) => kind === "loss"),
      [],
    );
  });
});
