import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { TestNode, type TestWorkload, worldAddresses } from "./node.ts";

const families = [4, 6] as const;

describe("policy over real packets", () => {
  let node: TestNode;
  let web: TestWorkload;
  let client: TestWorkload;
  let other: TestWorkload;

  before(async () => {
    node = await TestNode.start();
    [web, client, other] = await Promise.all([node.workload("web"), node.workload("client"), node.workload("other")]);
    await web.tell({ op: "serve-http", port: 80 });
    await web.tell({ op: "serve-http", port: 81 });
    await web.tell({ op: "serve-echo", port: 7 });
    await web.tell({ op: "serve-udp", port: 53 });
  });
  after(async () => {
    assert.deepEqual(await node?.close(), []);
  });

  const ask = (from: TestWorkload, to: TestWorkload, family: 4 | 6, port = 80, path = "/") =>
    from.tell({ op: "get", url: to.url(family, port, path), timeoutMs: 600 });

  test("without policy everything is open, and both ends see each other's own address", async () => {
    for (const family of families) {
      const answer = await ask(other, web, family);
      assert.equal(answer.status, 200, answer.error);
      assert.equal(answer.body, `hello ${family === 4 ? other.ipv4 : other.ipv6}`);
    }
    const reply = await other.tell({ op: "udp", host: web.ipv4, port: 53, text: "datagram" });
    assert.equal(reply.text, "datagram");
  });

  test("an L4 rule lets the named peer through on the named port, and nobody else", async () => {
    await node.apply(`apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: default}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: client}}]
    toPorts: [{ports: [{port: "80", protocol: TCP}, {port: "7", protocol: TCP}]}]
`);
    for (const family of families) {
      assert.equal((await ask(client, web, family)).status, 200, `client, IPv${family}`);
      assert.equal((await ask(other, web, family)).error, "timeout", `other, IPv${family}`);
      assert.equal((await ask(client, web, family, 81)).error, "timeout", `client on port 81, IPv${family}`);
    }
    assert.equal(
      (await client.tell({ op: "udp", host: web.ipv4, port: 53, text: "x", timeoutMs: 400 })).error,
      "timeout",
    );
  });

  test("the node itself may always come in", async () => {
    const host = await node.peer("node");
    for (const family of families)
      assert.equal((await host.tell({ op: "get", url: web.url(family, 80) })).status, 200, `IPv${family}`);
  });

  test("a revoked allow cuts the connection that it had let in", async () => {
    const opened = await client.tell({ op: "connect", host: web.ipv4, port: 7 });
    assert.ok(opened.connection !== undefined, opened.error);
    const { connection } = opened;
    assert.equal((await client.tell({ op: "echo", connection, text: "before" })).text, "before");
    await node.apply(`apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: default}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: client}}]
    toPorts: [{ports: [{port: "80", protocol: TCP}]}]
`);
    assert.equal((await client.tell({ op: "echo", connection, text: "after", timeoutMs: 500 })).error, "timeout");
    assert.equal((await ask(client, web, 4)).status, 200);
  });

  test("an HTTP rule answers 403 to what it does not allow, and the server never sees it", async () => {
    await node.apply(`apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: default}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: client}}]
    toPorts:
    - ports: [{port: "80", protocol: TCP}]
      rules: {http: [{method: GET, path: "/public.*"}]}
`);
    for (const family of families) {
      const allowed = await ask(client, web, family, 80, `/public-${family}`);
      assert.equal(allowed.status, 200, allowed.error);
      assert.equal(
        allowed.body,
        `hello ${family === 4 ? client.ipv4 : client.ipv6}`,
        "the server sees the client's address",
      );
      const denied = await ask(client, web, family, 80, `/private-${family}`);
      assert.deepEqual([denied.status, denied.body?.trim()], [403, "Access denied"]);
      assert.equal((await ask(other, web, family, 80, "/public-other")).error, "timeout");
    }
    const { seen = [] } = await web.tell({ op: "seen" });
    assert.ok(seen.includes("GET /public-4") && seen.includes("GET /public-6"));
    assert.deepEqual(
      seen.filter((line) => line.includes("private") || line.includes("other")),
      [],
    );
  });

  test("a client may use a port again at once whose last connection the proxy has closed", async () => {
    for (const family of families) {
      let again = 0;
      for (let i = 0; i < 12; i++) {
        const answer = await client.tell({
          op: "get",
          url: web.url(family, 80, "/public-again"),
          timeoutMs: 900,
          localPort: 41_000 + (i % 3),
        });
        // The client's own socket lingers if it was the first to close: then the port is not free, and that is no test.
        if (answer.error === "EADDRINUSE") continue;
        assert.equal(answer.status, 200, `IPv${family}, request ${i}: ${answer.error}`);
        if (i >= 3) again++;
      }
      assert.ok(again > 0, "no port was used again");
    }
  });

  test("a bad policy is refused whole, and what was in force stays", async () => {
    await assert.rejects(
      node.apply(`apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: default}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: other}}]
    toPorts: [{ports: [{port: "99999", protocol: TCP}]}]
`),
      /spec\.ingress\[0\]\.toPorts\[0\]\.ports\[0\]\.port/,
    );
    assert.equal((await ask(other, web, 4, 80, "/public")).error, "timeout");
    assert.equal((await ask(client, web, 4, 80, "/public-still")).status, 200);
  });

  test("with the policy gone everything is open again", async () => {
    await node.delete("CiliumNetworkPolicy", "web");
    for (const family of families) assert.equal((await ask(other, web, family)).status, 200, `IPv${family}`);
  });

  test("the world is reached from the node's address, and CIDR rules decide about it", async () => {
    const world = await node.peer("world");
    await world.tell({ op: "serve-http", port: 8080 });
    const urls = { 4: `http://${worldAddresses.world4}:8080/`, 6: `http://[${worldAddresses.world6}]:8080/` } as const;
    for (const family of families) {
      const answer = await client.tell({ op: "get", url: urls[family], timeoutMs: 1000 });
      assert.equal(answer.status, 200, `IPv${family}: ${answer.error}`);
      assert.equal(answer.body, `hello ${family === 4 ? worldAddresses.node4 : worldAddresses.node6}`);
    }
    await node.apply(`apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: egress, namespace: default}
spec:
  endpointSelector: {matchLabels: {app: client}}
  egress:
  - toCIDR: ["192.0.2.0/24"]
`);
    assert.equal((await client.tell({ op: "get", url: urls[4], timeoutMs: 600 })).status, 200);
    assert.equal((await client.tell({ op: "get", url: urls[6], timeoutMs: 600 })).error, "timeout");
    assert.equal((await ask(client, web, 4)).error, "timeout", "a CIDR never means a pod");
    assert.equal((await other.tell({ op: "get", url: urls[6], timeoutMs: 1000 })).status, 200, "others are free");
    await node.delete("CiliumNetworkPolicy", "egress");
    assert.equal((await client.tell({ op: "get", url: urls[6], timeoutMs: 1000 })).status, 200);
  });
});
