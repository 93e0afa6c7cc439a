import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { TsiliumError } from "#core/runtime";
import { createAgentClient } from "./index.ts";

const socketPath = () => join(tmpdir(), `tsilium-client-${process.pid}-${Math.random().toString(36).slice(2)}.sock`);

async function serve(path: string, status: number, body: unknown, seen: string[] = []): Promise<Server> {
  const server = createServer((incoming, answer) => {
    seen.push(`${incoming.method} ${incoming.url}`);
    answer.writeHead(status, { "content-type": "application/json" });
    answer.end(JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return server;
}

test("an agent that is not running is said to be so, with the remedy", async () => {
  const client = createAgentClient(socketPath());
  await assert.rejects(client.status(), (error: unknown) => {
    assert.ok(error instanceof TsiliumError);
    assert.equal(error.code, "AGENT_NOT_RUNNING");
    assert.match(error.message, /tsilium up/);
    return true;
  });
});

test("a refusal of the agent arrives with its code, message and details", async () => {
  const path = socketPath();
  const server = await serve(path, 409, { code: "WORKLOAD_EXISTS", message: "there is one", details: { name: "a" } });
  const client = createAgentClient(path);
  await assert.rejects(client.createWorkload({ name: "a" }), (error: unknown) => {
    assert.ok(error instanceof TsiliumError);
    assert.deepEqual([error.code, error.message, error.details.name], ["WORKLOAD_EXISTS", "there is one", "a"]);
    return true;
  });
  client.close();
  server.close();
});

test("connections that the agent closed while we did not look are made anew", async () => {
  const path = socketPath();
  const server = await serve(path, 200, { ready: true });
  const client = createAgentClient(path);
  // Several at once leave several connections.
  await Promise.all([client.status(), client.status(), client.status()]);
  const closed = new Promise((resolve) => server.once("close", resolve));
  server.close();
  server.closeAllConnections();
  await closed;
  // In the same turn as the end of the old one: our side has not noticed yet.
  const next = await serve(path, 200, { ready: true });
  assert.equal((await client.status()).ready, true);
  client.close();
  next.close();
});

test("names are escaped in paths and waits become queries", async () => {
  const path = socketPath();
  const seen: string[] = [];
  const server = await serve(path, 200, {}, seen);
  const client = createAgentClient(path);
  await client.deleteWorkload("a/b", "c?", 5);
  await client.waitForPolicy({ kind: "CiliumNetworkPolicy", resourceVersion: "7" });
  client.close();
  server.close();
  assert.deepEqual(seen, [
    "DELETE /v1/workloads/a%2Fb/c%3F?graceMs=5",
    "GET /v1/policy/wait?kind=CiliumNetworkPolicy&resourceVersion=7",
  ]);
});
