import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createAgentClient } from "#contracts/agent";
import { TsiliumError } from "#core/runtime";
import { type AgentOperations, serveLocalApi } from "./local-api.ts";

const socketPath = join(tmpdir(), `tsilium-local-api-${process.pid}.sock`);
const calls: unknown[] = [];
const problems: string[] = [];

/** Operations that note how they were called; what a test does not name is never called. */
const operations = new Proxy({} as AgentOperations, {
  get:
    (_, name) =>
    async (...given: unknown[]) => {
      calls.push([name, ...given]);
      if (name === "endpoint" && given[0] === 404)
        throw new TsiliumError("NO_SUCH_ENDPOINT", "there is no endpoint 404");
      if (name === "identities") throw new Error("a bug");
      return name === "metrics" ? "# text\n" : { called: name };
    },
});
let server: Awaited<ReturnType<typeof serveLocalApi>>;
before(async () => {
  server = await serveLocalApi(socketPath, operations, (operation) => problems.push(operation));
});
after(async () => {
  await server.close();
  rmSync(socketPath, { force: true });
});

function send(method: string, path: string, body?: string): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, method, path }, (incoming) => {
      let text = "";
      incoming.on("data", (bytes) => {
        text += bytes;
      });
      incoming.on("end", () => resolve({ status: incoming.statusCode ?? 0, text }));
    });
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}

test("every operation of the client reaches the agent with what it was given", async () => {
  const client = createAgentClient(socketPath);
  calls.length = 0;
  const workload = { name: "web", labels: { app: "web" }, keep: true };
  const endpoint = { containerId: "c/1", netnsPath: "/run/netns/x", pod: { namespace: "default", name: "web" } };
  await client.createWorkload(workload);
  await client.deleteWorkload("default", "web", 5);
  await client.createEndpoint(endpoint);
  await client.deleteEndpoint("c/1");
  await client.endpoint(7);
  await client.map("ct4");
  await client.waitForPolicy({ kind: "Pod", absent: true, timeoutMs: 5 });
  assert.equal(await client.metrics(), "# text\n");
  client.close();
  assert.deepEqual(calls, [
    ["createWorkload", workload],
    ["deleteWorkload", "default", "web", 5],
    ["createEndpoint", endpoint],
    ["deleteEndpoint", "c/1"],
    ["endpoint", 7],
    ["map", "ct4"],
    ["waitForPolicy", { kind: "Pod", absent: true, timeoutMs: 5 }],
    ["metrics"],
  ]);
});

for (const [name, method, path, body, status, pattern] of [
  ["an unknown operation", "GET", "/v2/status", undefined, 404, /no operation GET \/v2\/status/],
  ["a wrong method", "PUT", "/v1/workloads", undefined, 404, /NO_SUCH_OPERATION/],
  ["no JSON", "POST", "/v1/workloads", "{", 400, /not JSON/],
  ["not an object", "POST", "/v1/workloads", "[]", 400, /must be a JSON object/],
  [
    "all faults of a body at once",
    "POST",
    "/v1/workloads",
    '{"labels":1,"colour":2}',
    400,
    /name is missing; labels is of the wrong type; colour is not a field/,
  ],
  [
    "a pod without a name",
    "POST",
    "/v1/endpoints",
    '{"containerId":"c","netnsPath":"n","pod":{"namespace":"d"}}',
    400,
    /pod: name is missing/,
  ],
  ["a number that is none", "GET", "/v1/endpoints/x", undefined, 400, /whole number/],
  ["a path that can't be decoded", "GET", "/v1/maps/%E0%A4%A", undefined, 400, /BAD_REQUEST/],
  ["what is not there", "GET", "/v1/endpoints/404", undefined, 404, /NO_SUCH_ENDPOINT/],
  ["a body beyond the limit", "POST", "/v1/workloads", `{"name":"${"x".repeat(1 << 20)}"}`, 400, /larger than/],
] as const) {
  test(`${name}: ${status}`, async () => {
    const answer = await send(method, path, body);
    assert.equal(answer.status, status);
    assert.match(answer.text, pattern);
  });
}

test("a fault of the agent's own is 500 and reported", async () => {
  problems.length = 0;
  assert.equal((await send("GET", "/v1/identities")).status, 500);
  assert.deepEqual(problems, ["GET /v1/identities"]);
});

test("a socket that another agent serves is not taken from it", async () => {
  await assert.rejects(
    serveLocalApi(socketPath, operations, () => undefined),
    { code: "INSTANCE_IN_USE" },
  );
  assert.equal((await send("GET", "/v1/status")).status, 200);
});
