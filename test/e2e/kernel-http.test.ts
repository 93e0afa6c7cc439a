/** HTTP rules judged in the kernel, on a whole node: with and without agent and proxy, through changes of policy, and the way to the proxy. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { HttpJudge } from "#contracts/agent";
import { TestNode, type TestWorkload } from "./node.ts";

const policy = (rules: string) => `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: default}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: client}}]
    toPorts:
    - ports: [{port: "80", protocol: TCP}]
      rules: {http: [${rules}]}
`;
const publicOnly = policy('{method: GET, path: "/public([/?].*)?"}');

describe("HTTP rules in the kernel", () => {
  let node: TestNode;
  let web: TestWorkload;
  let client: TestWorkload;

  /** Who judges the requests on web's port 80. */
  const judge = async (): Promise<HttpJudge | undefined> =>
    (await node.client.endpoint(web.workload.id)).policyStatus.entries.find(({ port }) => port === "80")?.http;
  const get = async (path: string, family: 4 | 6 = 4) =>
    (await client.tell({ op: "get", url: web.url(family, 80, path), timeoutMs: 2000 })).status;
  const component = async () => (await node.client.status()).components.find(({ name }) => name === "kernel-http");
  /** A connection that stays open, and what its next request is answered. */
  const connection = async () => {
    const { connection: number = 0 } = await client.tell({ op: "connect", host: web.ipv4, port: 80 });
    return async (path: string) => {
      const text = `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`;
      const answer = await client.tell({ op: "echo", connection: number, text, timeoutMs: 2000 });
      return Number(/HTTP\/1.1 (\d+)/.exec(answer.text ?? "")?.[1] ?? 0);
    };
  };
  const stopProxy = async () => process.kill((await node.client.status()).proxy.pid!, "SIGSTOP");
  const goOnProxy = async () => process.kill((await node.client.status()).proxy.pid!, "SIGCONT");

  before(async () => {
    node = await TestNode.start();
    [web, client] = await Promise.all([node.workload("web"), node.workload("client")]);
    await web.tell({ op: "serve-http", port: 80 });
    await node.apply(publicOnly);
  });
  after(async () => assert.deepEqual(await node?.close(), []));

  test("a request is judged without the proxy, and the server sees nothing of a denied one", async () => {
    assert.equal((await judge())?.judge, "kernel");
    assert.equal((await component())?.state, "ok");
    await stopProxy();
    try {
      for (const family of [4, 6] as const) {
        assert.equal(await get("/public", family), 200);
        assert.equal(await get("/private", family), 403);
        assert.equal(await get("/public/../private", family), 403);
      }
    } finally {
      await goOnProxy();
    }
    const { seen = [] } = await web.tell({ op: "seen" });
    assert.deepEqual([...new Set(seen)], ["GET /public"]);
  });

  test("a changed policy judges the next request of an open connection", async () => {
    const ask = await connection();
    assert.equal(await ask("/public"), 200);
    assert.equal(await ask("/private"), 403);
    await node.apply(policy('{path: "/private"}'));
    assert.equal(await ask("/private"), 200);
    assert.equal(await ask("/public"), 403);
    await node.apply(publicOnly);
    assert.equal(await ask("/public"), 200);
  });

  test("without an agent requests are judged as before, and the next agent finds the same program", async () => {
    const ask = await connection();
    assert.equal(await ask("/public"), 200);
    const before = await judge();
    await node.killAgent();
    assert.equal(await ask("/public"), 200);
    assert.equal(await ask("/private"), 403);
    assert.equal(await get("/public"), 200);
    assert.equal(await get("/private"), 403);
    await node.startAgent();
    assert.deepEqual(await judge(), before);
    assert.equal(await ask("/public"), 200);
    assert.equal(await ask("/private"), 403);
  });

  test("five hundred rules on a port", async () => {
    await node.apply(
      policy(Array.from({ length: 500 }, (_, i) => `{method: GET, path: "/item-${i}/[a-z]+"}`).join(", ")),
    );
    assert.equal((await judge())?.judge, "kernel");
    assert.equal(await get("/item-0/a"), 200);
    assert.equal(await get("/item-499/details"), 200);
    assert.equal(await get("/item-500/details"), 403);
    await node.apply(publicOnly);
  });

  test("a rule that the kernel can't judge exactly takes its port to the proxy, and says why", async () => {
    await node.apply(policy('{path: "/public\\\\b.*"}'));
    const found = await judge();
    assert.equal(found?.judge, "proxy");
    assert.match(found?.reason ?? "", /the path \/public\\b\.\* uses word boundaries/);
    assert.match(
      node.cli(["endpoint", "get", "web"]),
      /requests are judged by the proxy: the path .* uses word boundaries/,
    );
    assert.equal(await get("/public"), 200);
    assert.equal(await get("/private"), 403);
    await node.apply(publicOnly);
    assert.match(node.cli(["endpoint", "get", "web"]), /redirect kernel/);
  });

  test("a client that speaks HTTP/2 is taken to the proxy when it tries again; other clients are not", async () => {
    const preface = () => {
      try {
        return execFileSync("nsenter", [`--net=/run/netns/${client.workload.netnsName}`, "curl", "-sS", "-m", "3", "--http2-prior-knowledge", web.url(4, 80, "/public")], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }); // biome-ignore format: one command
      } catch (error) {
        return (error as { stderr: string }).stderr;
      }
    };
    preface();
    const learnt = async () => (await judge())?.learnt?.map(({ peer, port, protocol }) => ({ peer, port, protocol }));
    const [one] = (await learnt()) ?? [];
    assert.equal(one?.protocol, "HTTP/2");
    assert.equal(one?.port, 80);
    assert.match(node.cli(["endpoint", "get", "web"]), /goes to the proxy: it spoke HTTP\/2 on port 80/);
    await stopProxy();
    // Its connections are the proxy's now, which does not answer.
    assert.equal(await get("/public"), undefined);
    await goOnProxy();
    assert.equal(await get("/public"), 200);
    await node.killAgent();
    await node.startAgent();
    assert.equal((await learnt())?.length, 1, "it is known to the next agent, too");
    await node.delete("CiliumNetworkPolicy", "web");
    for (let i = 0; i < 200 && !node.cli(["map", "show", "http_learnt"]).includes("[]"); i++) {
      if (!/H2/.test(node.cli(["map", "show", "http_learnt"]))) break;
      await delay(100);
    }
    assert.doesNotMatch(node.cli(["map", "show", "http_learnt"]), /H2/);
    await node.apply(publicOnly);
    assert.equal((await judge())?.learnt, undefined);
  });

  test("an agent that is told so leaves all requests to the proxy, and says so", async () => {
    await node.stopAgent();
    await node.startAgent("--no-kernel-http");
    assert.deepEqual(await judge(), { judge: "proxy", reason: "switched off by --no-kernel-http" });
    assert.deepEqual(await component(), {
      name: "kernel-http",
      state: "off",
      message: "switched off by --no-kernel-http; the proxy judges",
    });
    assert.equal(await get("/public"), 200);
    assert.equal(await get("/private"), 403);
    await node.stopAgent();
    await node.startAgent();
    assert.equal((await judge())?.judge, "kernel");
    assert.equal(await get("/public"), 200);
  });
});
