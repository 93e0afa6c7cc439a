/** Socket redirect over real sockets: who takes part, that nothing is lost or overtaken, that policy and back pressure hold. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { TestNode, type TestWorkload } from "./node.ts";

const script = join(import.meta.dirname, "stream_peer.py");
const annotated = { "tsilium.io/socket-redirect": "true" };
const megabyte = 1024 * 1024;

/** TCP segments with payload that left and reached this workload's interface: redirected bytes never get there. */
function bytesOnWire({ pid }: TestWorkload): number {
  const text = readFileSync(`/proc/${pid}/net/dev`, "utf8");
  const [received, , , , , , , , sent] = /eth0:\s*(.*)/.exec(text)![1]!.trim().split(/\s+/).map(Number);
  return received! + sent!;
}

describe("socket redirect", () => {
  let node: TestNode;
  let server: TestWorkload;
  let client: TestWorkload;
  let plain: TestWorkload;
  const stops: (() => void)[] = [];

  const python = (workload: TestWorkload, ...args: string[]) =>
    spawn("nsenter", [`--net=${workload.workload.netnsPath}`, "python3", script, ...args], {
      stdio: ["ignore", "pipe", "inherit"],
    });
  const serve = (mode: string, port: number) =>
    new Promise<void>((resolve, reject) => {
      const child = python(server, mode, "::", String(port));
      stops.push(() => child.kill("SIGKILL"));
      child.stdout.once("data", () => resolve());
      child.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
    });
  const ask = (from: TestWorkload, mode: string, address: string, ...args: string[]) =>
    new Promise<Record<string, number | string>>((resolve, reject) => {
      const child = python(from, mode, address, ...args);
      let text = "";
      child.stdout.on("data", (part) => (text += part));
      child.once("close", (code) => {
        if (code === 0) resolve(JSON.parse(text) as Record<string, number | string>);
        else reject(new Error(`the client ended with ${code}: ${text}`));
      });
    });

  before(async () => {
    node = await TestNode.start();
    server = await node.workload("server", { app: "server" }, { annotations: annotated });
    client = await node.workload("client", { app: "client" }, { annotations: annotated });
    plain = await node.workload("plain", { app: "client" });
    await serve("echo", 7000);
    await serve("sink", 7001);
    await serve("stuck", 7002);
  });
  after(async () => {
    for (const stop of stops) stop();
    await node.close();
  });

  test("is said in the status", async () => {
    const status = await node.client.status();
    const component = status.components.find(({ name }) => name === "socket-redirect");
    assert.deepEqual(component, { name: "socket-redirect", state: "ok", message: "for 2 endpoints" });
  });

  for (const family of [4, 6] as const)
    test(`bytes between two that want it pass by the wire, in order and complete, over IPv${family}`, async () => {
      const address = family === 4 ? server.ipv4 : server.ipv6;
      const before = bytesOnWire(client);
      const answer = await ask(client, "echo-client", address, "7000", "2000");
      assert.equal(answer.wrong, 0);
      assert.equal(answer.exchanges, 2000);
      const crossed = bytesOnWire(client) - before;
      assert.ok(crossed < 5000, `${crossed} bytes went over the interface for ${Number(answer.bytes) * 2} of payload`);
    });

  test("a gigabyte of random writes arrives as it was sent", async () => {
    const answer = await ask(client, "upload", server.ipv4, "7001", String(1024 * megabyte));
    assert.equal(answer.sent, answer.received);
    assert.equal(answer.digest, answer.expected);
  });

  test("one that does not want it goes by TCP", async () => {
    const before = bytesOnWire(plain);
    const answer = await ask(plain, "echo-client", server.ipv4, "7000", "100");
    assert.equal(answer.wrong, 0);
    assert.ok(bytesOnWire(plain) - before > Number(answer.bytes) * 2);
  });

  test("a reader that does not read holds its sender, and costs a few megabytes", async () => {
    const answer = await ask(client, "flood", server.ipv4, "7002", String(200 * megabyte));
    assert.ok(Number(answer.accepted) < 24 * megabyte, `${answer.accepted} bytes were taken`);
  });

  test("many short connections lose nothing", async () => {
    const answer = await ask(client, "short", server.ipv4, "7000", "500");
    assert.equal(answer.wrong, 0);
  });

  test("a policy that revokes a connection cuts it, though its bytes take no wire", async () => {
    const running = ask(client, "until-cut", server.ipv4, "7000", "8");
    await delay(500);
    await node.apply(`apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: nobody, namespace: default}
spec:
  endpointSelector: {matchLabels: {app: server}}
  ingress: [{fromEndpoints: [{matchLabels: {app: somebody}}]}]
`);
    await node.waitEnforced();
    const cut = await running;
    await node.delete("CiliumNetworkPolicy", "nobody");
    await node.waitEnforced();
    assert.ok(Number(cut.exchanges) > 10);
    assert.equal(cut.cut, 1);
  });

  test("connections go on when the agent is killed, and its successor takes over", async () => {
    const running = ask(client, "echo-for", server.ipv4, "7000", "4");
    await delay(300);
    await node.killAgent();
    await delay(500);
    await node.startAgent();
    const answer = await running;
    assert.equal(answer.wrong, 0);
    const before = bytesOnWire(client);
    const again = await ask(client, "echo-client", server.ipv4, "7000", "500");
    assert.ok(bytesOnWire(client) - before < 5000);
    assert.equal(again.wrong, 0);
  });
});
