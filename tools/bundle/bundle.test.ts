import assert from "node:assert/strict";
import { test } from "node:test";
import { createContext, runInContext } from "node:vm";
import { bundleEngine } from "./bundle.ts";

test("the engine is under 100 KB, and so is what judges requests; the latter is fetched only when asked for", async () => {
  const files = new Map((await bundleEngine("module")).map((file) => [file.name, file]));
  const sizeOf = (name: string): number => {
    const { gzippedBytes, imports } = files.get(name)!;
    return imports.reduce((sum, one) => sum + sizeOf(one), gzippedBytes);
  };
  const engine = sizeOf("policy.js");
  assert.ok(engine < 100_000, `${engine} bytes`);
  const whole = [...files.values()].reduce((sum, { gzippedBytes }) => sum + gzippedBytes, 0);
  assert.ok(whole > engine && whole - engine < 100_000, `${whole} bytes`);
  const isRegexEngineIn = (name: string) => files.get(name)!.text.includes("missing closing )");
  assert.ok(!isRegexEngineIn("policy.js"), "regular expressions are in the engine's own file");
});

test("where there is no Node it explains, compares, replays, suggests and judges requests", async () => {
  const [script] = await bundleEngine("script");
  // What a browser has besides the language: the engine takes no more.
  const context = createContext({ TextEncoder });
  runInContext(script!.text, context);
  assert.equal(runInContext("typeof process + typeof Buffer + typeof require", context), "undefinedundefinedundefined");
  const answer = runInContext(
    `(async () => {
      const { createWorld, findParty, explainConnection, diffWorlds, createReplay, EvidenceCollector, suggestPolicies, loadRequestJudging, expectIn, parsePolicy } = tsiliumPolicy;
      const rules = { http: [{ method: "GET", path: "/a.*", headers: ["X-Token: é"] }] };
      const policy = (http) => ({
        apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy", metadata: { name: "web" },
        spec: {
          endpointSelector: { matchLabels: { app: "web" } },
          ingress: [{ fromEndpoints: [{ matchLabels: { app: "client" } }], toPorts: [{ ports: [{ port: "80", protocol: "TCP" }], ...(http ? { rules } : {}) }] }],
        },
      });
      const pod = (app) => ({ kind: "Pod", metadata: { name: app, labels: { app } }, spec: { containers: [] } });
      const objects = [pod("web"), pod("client"), pod("other"), policy(true)].map((object) => ({ object }));
      const { judgeRequest, checkRegex } = await loadRequestJudging();
      const world = createWorld(objects, { compileRegex: checkRegex });
      const [from, to] = ["other", "web"].map((name) => findParty(world, name));
      const connection = expectIn(world, judgeRequest).from("client").to("web").on(80);
      connection.http("GET", "/abc", { headers: { "x-token": "\\u00c3\\u00a9" } }).isAllowed();
      connection.http("GET", "/b").isDenied();
      const flow = JSON.stringify({ verdict: "FORWARDED", traffic_direction: "INGRESS", is_reply: false, l4: { TCP: { destination_port: 80 } },
        source: { labels: ["k8s:app=other", "k8s:io.kubernetes.pod.namespace=default"] }, destination: { labels: ["k8s:app=web", "k8s:io.kubernetes.pod.namespace=default"] } });
      const replay = createReplay(world, { judge: judgeRequest });
      replay.addLine(flow);
      const evidence = new EvidenceCollector();
      evidence.addLine(flow);
      return JSON.stringify([
        explainConnection(world, { from, to, protocol: 6, port: 80 }, judgeRequest).outcome,
        diffWorlds(objects, [...objects, { object: policy(false) }]).sentences.map(({ text }) => text),
        replay.result().changes.map(({ kind }) => kind),
        suggestPolicies(evidence.result()).policies.length,
        parsePolicy({ kind: "NetworkPolicie" }).kind,
        checkRegex("a(") === undefined,
      ]);
    })()`,
    context,
  );
  assert.deepEqual(JSON.parse(await answer), [
    "denied",
    ["client gains web:80/TCP for all but GET /a.* X-Token: é"],
    ["loss"],
    2,
    "refused",
    false,
  ]);
});
