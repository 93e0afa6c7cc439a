/** Our client and an independent one against our server. */
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { after, before, test } from "node:test";
import type { ConfigMap, ObjectChange } from "#contracts/kube";
import { createKubeClient } from "#contracts/kube";
import { createTestDirectory, createTestServer, type TestServer } from "./testing.ts";

let server: TestServer;
before(async () => {
  server = await createTestServer();
});
after(() => server.close());

const configMap = (name: string, data: Record<string, string> = {}, namespace = "default"): ConfigMap => ({
  metadata: { name, namespace },
  data,
});
const ref = (name: string) => ({ name, namespace: "default" });

/** Waits until a condition holds, for at most five seconds. */
async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 5000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test("the client makes, reads, changes, patches and deletes", async () => {
  const { client } = server;
  const made = await client.create("ConfigMap", configMap("life", { a: "1" }));
  assert.equal((await client.get("ConfigMap", ref("life")))?.metadata.uid, made.metadata.uid);
  const updated = await client.update("ConfigMap", { ...made, data: { a: "2" } });
  await assert.rejects(client.update("ConfigMap", { ...made, data: { a: "3" } }), {
    code: "KUBE_CONFLICT",
    message: /modified/,
  });
  await assert.rejects(client.create("ConfigMap", configMap("life")), { code: "KUBE_ALREADY_EXISTS" });
  const patched = await client.patch("ConfigMap", ref("life"), { data: { b: "3" } });
  assert.deepEqual(patched.data, { a: "2", b: "3" });
  assert.notEqual(patched.metadata.resourceVersion, updated.metadata.resourceVersion);
  await assert.rejects(client.delete("ConfigMap", ref("life"), { uid: "other" }), { code: "KUBE_CONFLICT" });
  assert.equal(await client.delete("ConfigMap", ref("life")), true);
  assert.equal(await client.delete("ConfigMap", ref("life")), false);
  assert.equal(await client.get("ConfigMap", ref("life")), undefined);
});

test("status is written apart from the object", async () => {
  const { client } = server;
  const pod = await client.create("Pod", {
    metadata: { name: "s", namespace: "default" },
    spec: { containers: [{ name: "c" }] },
  });
  const status = { phase: "Running", podIP: "10.0.0.1" } as const;
  const written = await client.updateStatus("Pod", { ...pod, status });
  assert.deepEqual(written.status, status);
  assert.equal(written.metadata.generation, 1);
  const applied = await client.patch("Pod", ref("s"), { status: { message: "x" } }, { subresource: "status" });
  assert.equal(applied.status?.podIP, "10.0.0.1");
});

test("an error carries the server's Status with its causes", async () => {
  const bad = { metadata: { name: "Bad", namespace: "default" } };
  await assert.rejects(
    server.client.create("ConfigMap", bad),
    (error: { code: string; details: { status: { details: object } } }) => {
      assert.equal(error.code, "KUBE_INVALID");
      assert.match(JSON.stringify(error.details.status.details), /metadata\.name/);
      return true;
    },
  );
});

test("long lists are fetched in pages", async () => {
  const namespace = "pages";
  await server.client.create("Namespace", { metadata: { name: namespace } });
  await Promise.all(
    Array.from({ length: 1100 }, (_, i) => server.client.create("ConfigMap", configMap(`c${i}`, {}, namespace))),
  );
  const listed = await server.client.list("ConfigMap", { namespace });
  assert.equal(listed.items.length, 1100);
  assert.equal(new Set(listed.items.map(({ metadata }) => metadata.name)).size, 1100);
});

test("an informer follows a server through a restart with changes in between", async () => {
  const directory = createTestDirectory();
  let restarted = await createTestServer({ directory });
  const port = Number(new URL(restarted.url).port);
  const client = await createKubeClient({ kubeconfig: restarted.agentKubeconfig });
  await restarted.client.create("ConfigMap", configMap("stays"));
  await restarted.client.create("ConfigMap", configMap("goes"));
  const changes: string[] = [];
  let syncs = 0;
  const informer = client.watchResource("ConfigMap", {
    onSync: () => syncs++,
    onChange: (batch: readonly ObjectChange<ConfigMap>[]) =>
      changes.push(...batch.map(({ kind, object }) => `${kind} ${object.metadata.name}`)),
  });
  await informer.synced;
  assert.deepEqual([...informer.objects.keys()], ["default/goes", "default/stays"]);
  await restarted.client.patch("ConfigMap", ref("stays"), { data: { a: "1" } });
  await until("the change is seen", () => changes.length === 1);

  await restarted.close();
  const between = await createTestServer({ directory }); // on another port: the informer can't see it
  await between.client.delete("ConfigMap", ref("goes"));
  await between.client.create("ConfigMap", configMap("comes"));
  await between.close();
  restarted = await createTestServer({ directory, port });
  await until("the gap is bridged", () => changes.length === 3);
  await restarted.client.patch("ConfigMap", ref("comes"), { data: { a: "1" } });
  await until("the watch goes on", () => changes.length === 4);
  assert.deepEqual(changes, ["changed stays", "deleted goes", "added comes", "changed comes"]);
  assert.equal(syncs, 1);
  informer.stop();
  client.close();
  await restarted.close();
  rmSync(directory, { recursive: true });
});

test("a server that is away, and a token that is not known, are told apart", async () => {
  const away = await createKubeClient({ server: "https://127.0.0.1:1", token: "x" });
  await assert.rejects(away.list("Pod"), { code: "KUBE_UNREACHABLE", message: /is it running\?/ });
  assert.equal(await away.ready(), false);
  away.close();
  const stranger = await createKubeClient({ server: server.url, ca: server.ca, token: "x" });
  await assert.rejects(stranger.list("Pod"), {
    code: "KUBE_UNAUTHORIZED",
    message: /kubeconfig that this server wrote/,
  });
  stranger.close();
  const distrustful = await createKubeClient({ server: server.url, token: server.tokens.admin });
  await assert.rejects(distrustful.list("Pod"), { code: "KUBE_UNREACHABLE", message: /certificate/ });
  distrustful.close();
});

test("the informer of @kubernetes/client-node sees what happens", async () => {
  const { CoreV1Api, KubeConfig, makeInformer, CustomObjectsApi } = await import("@kubernetes/client-node");
  const config = new KubeConfig();
  config.loadFromFile(server.adminKubeconfig);
  const core = config.makeApiClient(CoreV1Api);
  const namespace = "peer";
  await core.createNamespace({ body: { metadata: { name: namespace } } });
  await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: "early" } } });
  const seen: string[] = [];
  const informer = makeInformer(config, `/api/v1/namespaces/${namespace}/configmaps`, () =>
    core.listNamespacedConfigMap({ namespace }),
  );
  for (const event of ["add", "update", "delete"] as const)
    informer.on(event, (object) => seen.push(`${event} ${object.metadata?.name}`));
  informer.on("error", (error: unknown) => seen.push(`error ${error}`));
  await informer.start();
  await until("the informer has the first state", () => seen.includes("add early"));
  await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: "late" } } });
  await core.replaceNamespacedConfigMap({
    namespace,
    name: "late",
    body: { metadata: { name: "late" }, data: { a: "b" } },
  });
  await core.deleteNamespacedConfigMap({ namespace, name: "early" });
  await until("the informer has all changes", () => seen.includes("delete early"));
  assert.deepEqual(seen, ["add early", "add late", "update late", "delete early"]);
  await informer.stop(); // tells an "error AbortError" of its own

  const custom = config.makeApiClient(CustomObjectsApi);
  const where = { group: "cilium.io", version: "v2", namespace, plural: "ciliumnetworkpolicies" };
  const body = {
    apiVersion: "cilium.io/v2",
    kind: "CiliumNetworkPolicy",
    metadata: { name: "p" },
    spec: { endpointSelector: {}, ingress: [{}] },
  };
  const made = await custom.createNamespacedCustomObject({ ...where, body });
  assert.equal(made.metadata.generation, 1);
  assert.equal((await custom.listNamespacedCustomObject(where)).items.length, 1);
});
