import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { TestNode, type TestWorkload, tracesOf } from "./node.ts";

const policy = `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: default}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: client}}]
    toPorts:
    - ports: [{port: "9", protocol: TCP}, {port: "80", protocol: TCP}]
    - ports: [{port: "8080", protocol: TCP}]
      rules: {http: [{method: GET}]}
`;

describe("enforcement outlives the agent", () => {
  let node: TestNode;
  let web: TestWorkload;
  let client: TestWorkload;
  let other: TestWorkload;

  before(async () => {
    node = await TestNode.start();
    [web, client, other] = await Promise.all([node.workload("web"), node.workload("client"), node.workload("other")]);
    await web.tell({ op: "serve-http", port: 80 });
    await web.tell({ op: "serve-http", port: 8080 });
    await web.tell({ op: "serve-sink", port: 9 });
    await node.apply(policy);
  });
  after(async () => {
    await node?.close();
  });

  test("kill -9 during 1000 requests, with and without the proxy, and a bulk transfer: nothing fails, nothing wrong passes", async () => {
    const work = Promise.all([
      client.tell({ op: "burst", url: web.url(4, 80), count: 500, pauseMs: 2 }),
      client.tell({ op: "burst", url: web.url(6, 8080), count: 500, pauseMs: 2 }),
      client.tell({ op: "transfer", host: web.ipv4, port: 9, bytes: 1_000_000_000, bytesPerSecond: 250_000_000 }),
      other.tell({ op: "burst", url: web.url(4, 80), count: 6, timeoutMs: 500 }),
    ]);
    await new Promise((resolve) => setTimeout(resolve, 300));
    await node.killAgent();
    await new Promise((resolve) => setTimeout(resolve, 300));
    await node.startAgent();
    assert.equal(node.agentReady.restoredEndpoints, 3);
    const [plain, proxied, transfer, denied] = await work;
    assert.deepEqual([plain.statuses, plain.failures], [{ 200: 500 }, []]);
    assert.deepEqual([proxied.statuses, proxied.failures], [{ 200: 500 }, []]);
    assert.equal(transfer.error, undefined);
    assert.equal(transfer.received, transfer.sent);
    assert.ok(Number(transfer.sent) >= 1_000_000_000);
    assert.deepEqual(denied.statuses, { timeout: 6 });
  });

  test("after the restart everything is as it was, and changes are enforced", async () => {
    const status = await node.client.status();
    assert.equal(status.counts.endpointsReady, 3);
    await node.delete("CiliumNetworkPolicy", "web");
    assert.equal((await other.tell({ op: "get", url: web.url(4, 80) })).status, 200);
    await node.apply(policy);
    assert.equal((await other.tell({ op: "get", url: web.url(4, 80), timeoutMs: 500 })).error, "timeout");
  });

  test("a policy that was deleted while no agent ran is gone after the restart; one that came is in force", async () => {
    await node.stopAgent();
    await node.deleteObject("CiliumNetworkPolicy", "web");
    assert.equal(
      (await other.tell({ op: "get", url: web.url(4, 80), timeoutMs: 500 })).error,
      "timeout",
      "still in force",
    );
    await node.startAgent();
    assert.equal((await other.tell({ op: "get", url: web.url(4, 80) })).status, 200);
  });

  test("without the API server the pinned state stays in force, and the agent waits for it", async () => {
    await node.apply(policy);
    await node.killAgent();
    await node.killApiServer();
    const agent = node.startAgent();
    // It serves its API before it is ready; how soon depends on what else the machine does.
    await eventually(async () => {
      const status = await node.client.status();
      assert.equal(status.ready, false);
      assert.match(status.components.find((c) => c.name === "api-server")?.message ?? "", /API server/);
    });
    assert.equal((await other.tell({ op: "get", url: web.url(4, 80), timeoutMs: 500 })).error, "timeout");
    assert.equal((await client.tell({ op: "get", url: web.url(4, 80) })).status, 200);
    await node.startApiServer();
    await agent;
    assert.equal((await node.client.status()).ready, true);
  });

  test("a second agent is refused, and the first is named", async () => {
    await assert.rejects(
      node.startAgent(),
      new RegExp(`an agent runs in this network namespace already: process ${node.agentReady.pid}`),
    );
    assert.equal((await node.client.status()).ready, true);
  });

  test("a workload whose processes have ended is removed with all it had", async () => {
    const short = await node.client.createWorkload({ name: "short" });
    node.exec("sh", "-c", `echo $$ > ${short.cgroupProcsPath}; exec sleep 0.1`);
    for (let i = 0; i < 100 && (await node.client.workloads()).some((w) => w.name === "short"); i++)
      await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepEqual((await node.client.workloads()).map((w) => w.name).sort(), ["client", "other", "web"]);
    assert.equal(await node.object("Pod", "short"), undefined);
    assert.equal((await node.client.endpoints()).length, 3);
  });

  test("clean-up leaves nothing behind", async () => {
    const { instance } = node;
    const result = await node.client.cleanup();
    assert.deepEqual(result.problems, []);
    assert.deepEqual(tracesOf(instance), []);
    assert.deepEqual(node.exec("ip", "-o", "link").match(/tsl\w+/g), null);
    assert.equal(node.exec("ip", "rule").includes("2004"), false);
  });
});

/** Tries until it succeeds, but no longer than ten seconds; then fails as the last attempt did. */
async function eventually(attempt: () => Promise<void>): Promise<void> {
  const deadline = performance.now() + 10_000;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
