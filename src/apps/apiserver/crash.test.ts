/** The server as a process: what it acknowledged outlives it, however it ends. */
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { createServer } from "node:net";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { createKubeClient, type KubeClient } from "#contracts/kube";
import { TsiliumError } from "#core/runtime";
import { createTestDirectory, spawnServer } from "./testing.ts";

const writers = 8;
const filler = "x".repeat(2000);

/** Writes until the server is gone; notes what it acknowledged. */
async function writeUntilGone(client: KubeClient, writer: string, acknowledged: Map<string, number>): Promise<void> {
  const ref = { name: writer, namespace: "default" };
  try {
    for (let n = 1; ; n++) {
      const data = { n: String(n), filler, check: `${n}` };
      if (n === 1) await client.create("ConfigMap", { metadata: ref, data });
      else await client.patch("ConfigMap", ref, { data });
      acknowledged.set(writer, n);
      // Two objects in one write: the namespace and its service account.
      if (n % 7 === 0) {
        await client.create("Namespace", { metadata: { name: `${writer}-${n}` } });
        acknowledged.set(`${writer}-${n}`, n);
      }
    }
  } catch (error) {
    if (!(error instanceof TsiliumError) || error.code !== "KUBE_UNREACHABLE") throw error;
  }
}

test("kill -9 in a write loop: every acknowledged write is there, and none is there by half", {
  timeout: 60_000,
}, async (t) => {
  const directory = createTestDirectory();
  const acknowledged = new Map<string, number>();
  let revision = 0;
  for (let round = 0; round < 4; round++) {
    const server = await spawnServer(directory);
    const client = await createKubeClient({ kubeconfig: server.ready.adminKubeconfig });
    const writing = Array.from({ length: writers }, (_, i) => writeUntilGone(client, `r${round}-w${i}`, acknowledged));
    await delay(150 + Math.random() * 350);
    assert.equal(await server.end("SIGKILL"), null);
    await Promise.all(writing);
    client.close();

    const restarted = await spawnServer(directory);
    const reader = await createKubeClient({ kubeconfig: restarted.ready.adminKubeconfig });
    const maps = await reader.list("ConfigMap", { namespace: "default" });
    const found = new Map(maps.items.map((item) => [item.metadata.name!, item.data!]));
    const namespaces = new Set((await reader.list("Namespace")).items.map(({ metadata }) => metadata.name!));
    const accounts = new Set((await reader.list("ServiceAccount")).items.map(({ metadata }) => metadata.namespace!));
    for (const [name, n] of acknowledged) {
      const data = found.get(name);
      if (data === undefined) assert.ok(namespaces.has(name), `${name} was acknowledged and is gone`);
      else {
        // The write under way when the server died may be there as well: it just could not be answered any more.
        assert.ok(Number(data.n) === n || Number(data.n) === n + 1, `${name}: acknowledged ${n}, found ${data.n}`);
        assert.equal(data.check, data.n);
        assert.equal(data.filler, filler);
      }
    }
    assert.deepEqual([...namespaces].sort(), [...accounts].sort(), "a namespace and its account come together");
    const versions = maps.items.map(({ metadata }) => metadata.resourceVersion);
    assert.equal(new Set(versions).size, versions.length, "no version is given twice");
    const now = Number(maps.metadata.resourceVersion);
    assert.ok(now >= revision, "versions never go back");
    revision = now;
    reader.close();
    assert.equal(await restarted.end("SIGTERM"), 0);
  }
  const patches = [...acknowledged].filter(([name]) => /^r\d+-w\d+$/.test(name)).reduce((sum, [, n]) => sum + n, 0);
  t.diagnostic(`${patches} acknowledged writes of objects, ${acknowledged.size} objects`);
  rmSync(directory, { recursive: true });
});

test("the process says when it is ready, quickly, and ends in order while watches are open", {
  timeout: 20_000,
}, async (t) => {
  const directory = createTestDirectory();
  await (await spawnServer(directory)).end("SIGTERM"); // the first start makes keys, and warms the cache of compiled sources
  const server = await spawnServer(directory);
  t.diagnostic(`ready after ${server.ready.startMs} ms`);
  assert.ok(server.ready.startMs < 1000, `ready after ${server.ready.startMs} ms`);
  const client = await createKubeClient({ kubeconfig: server.ready.agentKubeconfig });
  const informer = client.watchResource("Pod", { onSync: () => undefined, onChange: () => undefined });
  await informer.synced;
  const startedMs = performance.now();
  assert.equal(await server.end("SIGTERM"), 0);
  assert.ok(performance.now() - startedMs < 1500, "open watches must not delay the end");
  client.close();
  rmSync(directory, { recursive: true });
});

test("a used port and wrong arguments are told on stderr, with exit codes 1 and 2", { timeout: 20_000 }, async () => {
  const directory = createTestDirectory();
  const blocker = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => blocker.once("listening", resolve));
  const { port } = blocker.address() as { port: number };
  await assert.rejects(
    spawnServer(directory, ["--port", String(port)]),
    /ended with 1: .*"code":"ADDRESS_IN_USE".*port \d+ is in use/,
  );
  blocker.close();
  await assert.rejects(spawnServer(directory, ["--port", "many"]), /ended with 2: --port must be a number/);
  await assert.rejects(spawnServer(directory, ["--prot", "1"]), /ended with 2: .*--prot/);
  rmSync(directory, { recursive: true });
});
