import assert from "node:assert/strict";
import { mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { connect } from "node:tls";
import { createTestDirectory, createTestServer, type RawOptions, type TestServer } from "./testing.ts";

let server: TestServer;
before(async () => {
  server = await createTestServer({
    validate: (kind, object) =>
      kind === "CiliumNetworkPolicy" && object.metadata.name?.startsWith("bad")
        ? [
            { path: "spec.ingress[0]", message: "means nothing", hint: "say something" },
            { path: "spec", message: "is doubtful", severity: "warning" },
          ]
        : [],
  });
});
after(() => server.close());

let counter = 0;
const fresh = (what: string) => `${what}-${counter++}`;
const configMaps = "/api/v1/namespaces/default/configmaps";
const policies = "/apis/cilium.io/v2/namespaces/default/ciliumnetworkpolicies";
const configMap = (name: string, more: object = {}) => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name },
  ...more,
});
const policy = (name: string, spec: object = { endpointSelector: {}, ingress: [{}] }) => ({
  apiVersion: "cilium.io/v2",
  kind: "CiliumNetworkPolicy",
  metadata: { name },
  spec,
});
const merge = { "content-type": "application/merge-patch+json" };

test("without a token only health and version are answered", async () => {
  for (const path of ["/healthz", "/readyz", "/livez", "/version"]) {
    assert.equal((await server.request("GET", path, { token: "" })).httpStatus, 200, path);
  }
  for (const path of ["/api", "/apis", "/api/v1/namespaces", "/openapi/v3", "/nowhere"]) {
    const answer = await server.request("GET", path, { token: "" });
    assert.equal(answer.httpStatus, 401, path);
    assert.equal(answer.json.reason, "Unauthorized");
  }
  assert.equal((await server.request("GET", "/api", { token: "wrong" })).httpStatus, 401);
});

test("the agent may write what it is the author of, and neither policies nor secrets", async () => {
  const asAgent = (method: string, path: string, body?: object, headers?: Record<string, string>) =>
    server.request(method, path, { token: server.tokens.agent, ...(body && { body }), ...(headers && { headers }) });
  const name = fresh("policy");
  await server.request("POST", policies, { body: policy(name) });
  assert.equal((await asAgent("GET", policies)).httpStatus, 200);
  assert.equal((await asAgent("POST", policies, policy("x"))).httpStatus, 403);
  assert.equal((await asAgent("DELETE", `${policies}/${name}`)).httpStatus, 403);
  const status = { status: { conditions: [{ type: "Valid", status: "True" }] } };
  assert.equal((await asAgent("PATCH", `${policies}/${name}/status`, status, merge)).httpStatus, 200);
  assert.equal((await asAgent("GET", "/api/v1/secrets")).httpStatus, 403);
  const identity = {
    apiVersion: "cilium.io/v2",
    kind: "CiliumIdentity",
    metadata: { name: "1234" },
    "security-labels": {},
  };
  assert.equal((await asAgent("POST", "/apis/cilium.io/v2/ciliumidentities", identity)).httpStatus, 201);
});

test("an object goes through its life: made, read, changed, deleted", async () => {
  const name = fresh("life");
  const made = await server.request("POST", configMaps, { body: configMap(name, { data: { a: "1" } }) });
  assert.equal(made.httpStatus, 201);
  const { uid, resourceVersion, creationTimestamp, namespace } = made.json.metadata;
  assert.match(uid, /^[0-9a-f-]{36}$/);
  assert.match(creationTimestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  assert.equal(namespace, "default");
  assert.deepEqual((await server.request("GET", `${configMaps}/${name}`)).json, made.json);
  assert.equal((await server.request("POST", configMaps, { body: configMap(name) })).json.reason, "AlreadyExists");

  const changed = await server.request("PUT", `${configMaps}/${name}`, { body: { ...made.json, data: { a: "2" } } });
  assert.equal(changed.json.data.a, "2");
  assert.ok(Number(changed.json.metadata.resourceVersion) > Number(resourceVersion));
  const stale = await server.request("PUT", `${configMaps}/${name}`, { body: { ...made.json, data: { a: "3" } } });
  assert.equal(stale.httpStatus, 409);
  assert.match(stale.json.message, /has been modified/);

  const wrongUid = { preconditions: { uid: "other" } };
  assert.equal((await server.request("DELETE", `${configMaps}/${name}`, { body: wrongUid })).httpStatus, 409);
  const gone = await server.request("DELETE", `${configMaps}/${name}`, { body: { preconditions: { uid } } });
  assert.equal(gone.json.status, "Success");
  const missing = await server.request("GET", `${configMaps}/${name}`);
  assert.equal(missing.httpStatus, 404);
  assert.equal(missing.json.message, `configmaps "${name}" not found`);
});

test("a write that changes nothing leaves the version as it is", async () => {
  const name = fresh("same");
  const made = await server.request("POST", configMaps, { body: configMap(name, { data: { a: "1" } }) });
  const again = await server.request("PUT", `${configMaps}/${name}`, { body: made.json });
  assert.equal(again.json.metadata.resourceVersion, made.json.metadata.resourceVersion);
  const patched = await server.request("PATCH", `${configMaps}/${name}`, {
    body: { data: { a: "1" } },
    headers: merge,
  });
  assert.equal(patched.json.metadata.resourceVersion, made.json.metadata.resourceVersion);
});

test("generation counts changes of the desired state, not of status or labels", async () => {
  const name = fresh("generation");
  const path = `${policies}/${name}`;
  const made = await server.request("POST", policies, { body: { ...policy(name), status: { conditions: [] } } });
  assert.equal(made.json.metadata.generation, 1);
  assert.equal(made.json.status, undefined, "status is not taken on creation");
  const patch = async (at: string, body: object) => (await server.request("PATCH", at, { body, headers: merge })).json;
  assert.equal((await patch(path, { metadata: { labels: { a: "b" } } })).metadata.generation, 1);
  const withStatus = await patch(`${path}/status`, {
    status: { conditions: [{ type: "Valid", status: "True" }] },
    spec: { ingress: [] },
  });
  assert.equal(withStatus.metadata.generation, 1);
  assert.deepEqual(withStatus.spec.ingress, [{}], "the status subresource changes nothing else");
  const changed = await patch(path, { spec: { description: "x" }, status: null });
  assert.equal(changed.metadata.generation, 2);
  assert.equal(changed.status.conditions[0].status, "True", "the object itself changes no status");
});

test("unknown fields are refused, warned of or dropped, as the request asks", async () => {
  const body = policy(fresh("unknown"), { endpointSelector: {}, ingres: [], ingress: [{ fromEndpoint: [] }] });
  const strict = await server.request("POST", `${policies}?fieldValidation=Strict`, { body });
  assert.equal(strict.httpStatus, 400);
  assert.equal(
    strict.json.message,
    'CiliumNetworkPolicy in version "v2" cannot be handled as a CiliumNetworkPolicy: strict decoding error: unknown field "spec.ingres" (did you mean "ingress"?), unknown field "spec.ingress[0].fromEndpoint" (did you mean "fromEndpoints"?)',
  );
  const warned = await server.request("POST", `${policies}?fieldValidation=Warn&dryRun=All`, { body });
  assert.equal(warned.httpStatus, 201);
  assert.match(warned.headers.warning!, /299 - "unknown field \\"spec\.ingres\\" \(did you mean/);
  assert.deepEqual(warned.json.spec, { endpointSelector: {}, ingress: [{}] });
  const ignored = await server.request("POST", `${policies}?fieldValidation=Ignore&dryRun=All`, { body });
  assert.equal(ignored.headers.warning, undefined);
});

test("an invalid object is refused with every problem as a cause", async () => {
  const body = policy("Bad_Name", {
    endpointSelector: {},
    ingress: [{ toPorts: [{ ports: [{ port: 80, protocol: "TPC" }] }] }],
  });
  const answer = await server.request("POST", policies, { body });
  assert.equal(answer.httpStatus, 422);
  assert.equal(answer.json.reason, "Invalid");
  assert.deepEqual(
    answer.json.details.causes.map((cause: { field: string; reason: string }) => [cause.field, cause.reason]),
    [
      ["spec.ingress[0].toPorts[0].ports[0].port", "FieldValueTypeInvalid"],
      ["spec.ingress[0].toPorts[0].ports[0].protocol", "FieldValueNotSupported"],
    ],
  );
  assert.match(answer.json.message, /^CiliumNetworkPolicy\.cilium\.io "Bad_Name" is invalid: \[spec\.ingress/);
});

test("the validator that was handed in refuses, and its warnings reach the client", async () => {
  const name = fresh("bad");
  const answer = await server.request("POST", policies, { body: policy(name) });
  assert.equal(answer.httpStatus, 422);
  assert.deepEqual(answer.json.details.causes, [
    { reason: "FieldValueInvalid", message: "means nothing (say something)", field: "spec.ingress[0]" },
  ]);
});

test("a dry run answers as the write would, and stores nothing", async () => {
  const name = fresh("dry");
  const answer = await server.request("POST", `${configMaps}?dryRun=All`, { body: configMap(name) });
  assert.equal(answer.httpStatus, 201);
  assert.equal((await server.request("GET", `${configMaps}/${name}`)).httpStatus, 404);
  assert.equal((await server.request("POST", `${configMaps}?dryRun=Some`, { body: configMap(name) })).httpStatus, 400);
});

test("a generated name completes its prefix", async () => {
  const body = { apiVersion: "v1", kind: "ConfigMap", metadata: { generateName: "gen-" } };
  const answer = await server.request("POST", configMaps, { body });
  assert.match(answer.json.metadata.name, /^gen-[a-z0-9]{5}$/);
});

test("a finalizer holds an object until it is taken off", async () => {
  const name = fresh("held");
  const path = `${configMaps}/${name}`;
  await server.request("POST", configMaps, {
    body: configMap(name, { metadata: { name, finalizers: ["example.com/hold"] } }),
  });
  const marked = await server.request("DELETE", path);
  assert.ok(marked.json.metadata.deletionTimestamp);
  assert.equal((await server.request("GET", path)).httpStatus, 200);
  const added = { metadata: { finalizers: ["example.com/hold", "example.com/more"] } };
  assert.equal((await server.request("PATCH", path, { body: added, headers: merge })).httpStatus, 422);
  await server.request("PATCH", path, { body: { metadata: { finalizers: null } }, headers: merge });
  assert.equal((await server.request("GET", path)).httpStatus, 404);
});

test("a namespace must exist, is born with a service account, and takes what is in it along", async () => {
  const name = fresh("ns");
  const inside = `/api/v1/namespaces/${name}/configmaps`;
  const early = await server.request("POST", inside, { body: configMap("a") });
  assert.equal(early.httpStatus, 404);
  assert.equal(early.json.message, `namespaces "${name}" not found`);
  const made = await server.request("POST", "/api/v1/namespaces", { body: { metadata: { name } } });
  assert.equal(made.json.status.phase, "Active");
  assert.equal(made.json.metadata.labels["kubernetes.io/metadata.name"], name);
  assert.equal((await server.request("GET", `/api/v1/namespaces/${name}/serviceaccounts/default`)).httpStatus, 200);
  await server.request("POST", inside, { body: configMap("a") });
  await server.request("POST", inside, {
    body: configMap("b", { metadata: { name: "b", finalizers: ["example.com/hold"] } }),
  });
  const deleted = await server.request("DELETE", `/api/v1/namespaces/${name}`);
  assert.equal(deleted.json.status.phase, "Terminating");
  assert.deepEqual(
    (await server.request("GET", inside)).json.items.map((item: { metadata: { name: string } }) => item.metadata.name),
    ["b"],
  );
  assert.equal((await server.request("POST", inside, { body: configMap("c") })).httpStatus, 403);
  await server.request("PATCH", `${inside}/b`, { body: { metadata: { finalizers: null } }, headers: merge });
  assert.equal((await server.request("GET", `/api/v1/namespaces/${name}`)).httpStatus, 404);
  assert.equal((await server.request("DELETE", "/api/v1/namespaces/default")).httpStatus, 403);
});

test("lists are selected by labels and fields, and come in pages of one state", async () => {
  const namespace = fresh("lists");
  const path = `/api/v1/namespaces/${namespace}/configmaps`;
  await server.request("POST", "/api/v1/namespaces", { body: { metadata: { name: namespace } } });
  for (const [name, app] of [
    ["a", "x"],
    ["b", "y"],
    ["c", "x"],
    ["d", "x"],
  ] as const) {
    await server.request("POST", path, { body: configMap(name, { metadata: { name, labels: { app } } }) });
  }
  const names = (answer: { json: { items: { metadata: { name: string } }[] } }) =>
    answer.json.items.map((item) => item.metadata.name);
  assert.deepEqual(names(await server.request("GET", `${path}?labelSelector=app%3Dx`)), ["a", "c", "d"]);
  assert.deepEqual(names(await server.request("GET", `${path}?fieldSelector=metadata.name%3Db`)), ["b"]);
  assert.deepEqual(
    names(await server.request("GET", `/api/v1/configmaps?fieldSelector=metadata.namespace%3D${namespace}`)),
    ["a", "b", "c", "d"],
  );

  const first = await server.request("GET", `${path}?limit=2`);
  assert.deepEqual(names(first), ["a", "b"]);
  await server.request("DELETE", `${path}/c`);
  await server.request("POST", path, { body: configMap("bb") });
  const second = await server.request("GET", `${path}?limit=2&continue=${first.json.metadata.continue}`);
  assert.deepEqual(names(second), ["c", "d"], "the second page is of the same state as the first");
  assert.equal(second.json.metadata.resourceVersion, first.json.metadata.resourceVersion);
  assert.equal(second.json.metadata.continue, undefined);
  const exact = `${path}?resourceVersion=${first.json.metadata.resourceVersion}&resourceVersionMatch=Exact`;
  assert.deepEqual(names(await server.request("GET", exact)), ["a", "b", "c", "d"]);
  assert.deepEqual(names(await server.request("GET", path)), ["a", "b", "bb", "d"]);
  const selectedPage = await server.request("GET", `${path}?labelSelector=app&limit=1`);
  assert.equal(selectedPage.json.metadata.remainingItemCount, 2);

  const removed = await server.request("DELETE", `${path}?labelSelector=app`);
  assert.deepEqual(names(removed), ["a", "b", "d"]);
  assert.deepEqual(names(await server.request("GET", path)), ["bb"]);
});

const watchRows: Record<string, { query: string; first: (string | undefined)[] }> = {
  "without a version begins with the present state": { query: "", first: ["ADDED a", "ADDED b"] },
  "from version 0 begins with the present state": { query: "&resourceVersion=0", first: ["ADDED a", "ADDED b"] },
  "with initial events ends them with a bookmark": {
    query: "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
    first: ["ADDED a", "ADDED b", "BOOKMARK undefined"],
  },
  "with a selector shows only what it selects": { query: "&labelSelector=app%3Dx", first: ["ADDED a"] },
};
for (const [name, { query, first }] of Object.entries(watchRows)) {
  test(`a watch ${name}`, async () => {
    const namespace = fresh("watch");
    const path = `/api/v1/namespaces/${namespace}/configmaps`;
    await server.request("POST", "/api/v1/namespaces", { body: { metadata: { name: namespace } } });
    await server.request("POST", path, { body: configMap("a", { metadata: { name: "a", labels: { app: "x" } } }) });
    await server.request("POST", path, { body: configMap("b") });
    const watch = await server.lines(`${path}?watch=true${query}`);
    for (const expected of first) {
      const event = await watch.next();
      assert.equal(`${event.type} ${event.object.metadata.name}`, expected);
    }
    watch.close();
  });
}

test("a watch resumes after a version, and an object that leaves the selection is deleted to it", async () => {
  const namespace = fresh("resume");
  const path = `/api/v1/namespaces/${namespace}/configmaps`;
  await server.request("POST", "/api/v1/namespaces", { body: { metadata: { name: namespace } } });
  const label = (app: string) =>
    server.request("PATCH", `${path}/a`, { body: { metadata: { labels: { app } } }, headers: merge });
  const made = await server.request("POST", path, {
    body: configMap("a", { metadata: { name: "a", labels: { app: "x" } } }),
  });
  await label("y");
  await label("x");
  const watch = await server.lines(
    `${path}?watch=1&labelSelector=app%3Dx&resourceVersion=${made.json.metadata.resourceVersion}`,
  );
  await server.request("PATCH", `${path}/a`, { body: { data: { k: "v" } }, headers: merge });
  await server.request("DELETE", `${path}/a`);
  const events = [await watch.next(), await watch.next(), await watch.next(), await watch.next()];
  assert.deepEqual(
    events.map(({ type }) => type),
    ["DELETED", "ADDED", "MODIFIED", "DELETED"],
  );
  const versions = events.map(({ object }) => Number(object.metadata.resourceVersion));
  assert.deepEqual(
    versions,
    versions.toSorted((a, b) => a - b),
  );
  watch.close();
});

test("a watch from a version that is not known is told 410 and ends", async () => {
  const watch = await server.lines(`${configMaps}?watch=1&resourceVersion=999999999`);
  const event = await watch.next();
  assert.equal(event.type, "ERROR");
  assert.equal(event.object.code, 410);
  assert.equal(event.object.reason, "Expired");
  assert.equal(await watch.next(), undefined);
});

test("a watch ends after its time, with a bookmark if they were asked for", async () => {
  const watch = await server.lines(
    `${configMaps}?watch=1&timeoutSeconds=1&allowWatchBookmarks=1&labelSelector=none%3Dx`,
  );
  const event = await watch.next();
  assert.equal(event.type, "BOOKMARK");
  assert.ok(Number(event.object.metadata.resourceVersion) > 0);
  assert.equal(await watch.next(), undefined);
});

test("tables and metadata alone are answered on request, and what is not served is refused", async () => {
  const as = (accept: string, path = "/api/v1/namespaces") => server.request("GET", path, { headers: { accept } });
  const table = await as("application/json;as=Table;v=v1;g=meta.k8s.io,application/json");
  assert.equal(table.json.kind, "Table");
  assert.deepEqual(
    table.json.columnDefinitions.map(({ name }: { name: string }) => name),
    ["Name", "Status", "Age"],
  );
  assert.equal(table.json.rows[0].object.kind, "PartialObjectMetadata");
  const partial = await as("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io");
  assert.equal(partial.json.kind, "PartialObjectMetadataList");
  assert.equal(partial.json.items[0].spec, undefined);
  assert.equal((await as("application/vnd.kubernetes.protobuf,application/json")).json.kind, "NamespaceList");
  assert.equal((await as("text/html")).httpStatus, 406);
  const discovery = await as(
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
    "/apis",
  );
  assert.equal(
    discovery.headers["content-type"],
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
  );
  assert.equal(discovery.json.kind, "APIGroupDiscoveryList");
});

test("who am I and what may I do are answered", async () => {
  const ask = async (token: string, resourceAttributes: object) =>
    (
      await server.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {
        token,
        body: { kind: "SelfSubjectAccessReview", apiVersion: "authorization.k8s.io/v1", spec: { resourceAttributes } },
      })
    ).json.status.allowed;
  const { admin, agent } = server.tokens;
  assert.equal(await ask(admin, { verb: "delete", resource: "secrets" }), true);
  assert.equal(await ask(agent, { verb: "list", group: "cilium.io", resource: "ciliumnetworkpolicies" }), true);
  assert.equal(await ask(agent, { verb: "create", group: "cilium.io", resource: "ciliumnetworkpolicies" }), false);
  assert.equal(
    await ask(agent, { verb: "update", group: "cilium.io", resource: "ciliumnetworkpolicies", subresource: "status" }),
    true,
  );
  assert.equal(await ask(agent, { verb: "get", resource: "secrets" }), false);
  const self = await server.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {
    token: agent,
    body: {},
  });
  assert.equal(self.json.status.userInfo.username, "tsilium-agent");
});

test("a group of two versions lists both, each with its kinds", async () => {
  const group = await server.request("GET", "/apis/policy.networking.k8s.io");
  assert.deepEqual(
    group.json.versions.map(({ version }: { version: string }) => version),
    ["v1alpha2", "v1alpha1"],
  );
  const kindsOf = async (version: string) =>
    (await server.request("GET", `/apis/policy.networking.k8s.io/${version}`)).json.resources
      .filter(({ name }: { name: string }) => !name.includes("/"))
      .map(({ kind }: { kind: string }) => kind);
  assert.deepEqual(await kindsOf("v1alpha2"), ["ClusterNetworkPolicy"]);
  assert.deepEqual(await kindsOf("v1alpha1"), ["AdminNetworkPolicy", "BaselineAdminNetworkPolicy"]);
});

test("definitions of our kinds are there to read, not to write", async () => {
  const path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
  const list = await server.request("GET", path);
  assert.deepEqual(
    list.json.items.map((item: { metadata: { name: string } }) => item.metadata.name),
    [
      "adminnetworkpolicies.policy.networking.k8s.io",
      "baselineadminnetworkpolicies.policy.networking.k8s.io",
      "ciliumcidrgroups.cilium.io",
      "ciliumclusterwidenetworkpolicies.cilium.io",
      "ciliumendpoints.cilium.io",
      "ciliumidentities.cilium.io",
      "ciliumnetworkpolicies.cilium.io",
      "clusternetworkpolicies.policy.networking.k8s.io",
    ],
  );
  assert.equal((await server.request("DELETE", `${path}/ciliumendpoints.cilium.io`)).httpStatus, 405);
});

test("apply makes, changes and disputes an object", async () => {
  const name = fresh("apply");
  const path = `${configMaps}/${name}`;
  const apply = (manager: string, data: object, query = "") =>
    server.request("PATCH", `${path}?fieldManager=${manager}${query}`, {
      body: { apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data },
      headers: { "content-type": "application/apply-patch+yaml" },
    });
  assert.equal((await apply("one", { a: "1", b: "2" })).httpStatus, 201);
  const again = await apply("one", { a: "1" });
  assert.deepEqual(again.json.data, { a: "1" });
  const disputed = await apply("two", { a: "9" });
  assert.equal(disputed.httpStatus, 409);
  assert.match(
    disputed.json.message,
    /^Apply failed with 1 conflict: conflict with "one" using v1 \(Apply\): \.data\.a$/,
  );
  assert.equal(disputed.json.details.causes[0].field, ".data.a");
  assert.deepEqual((await apply("two", { a: "9" }, "&force=true")).json.data, { a: "9" });
  const yaml = await server.request("PATCH", `${path}?fieldManager=three`, {
    body: `apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: ${name}\ndata:\n  c: "3"\n`,
    headers: { "content-type": "application/apply-patch+yaml" },
  });
  assert.deepEqual(yaml.json.data, { a: "9", c: "3" });
  assert.equal((await apply("", {})).httpStatus, 422);
});

const badRequests: Record<
  string,
  { method?: string; path?: string; options: RawOptions; httpStatus: number; says: RegExp }
> = {
  "broken JSON": {
    options: { body: '{"a": 1,,}' },
    httpStatus: 400,
    says: /not JSON: .*position 8 \(line 1 column 9\)/,
  },
  "no body": { options: {}, httpStatus: 400, says: /no body/ },
  "a list as body": { options: { body: [] }, httpStatus: 400, says: /must be an object/ },
  "another kind": {
    options: { body: { apiVersion: "v1", kind: "Pod" } },
    httpStatus: 400,
    says: /kind in the data \(Pod\)/,
  },
  "another API version": {
    options: { body: { apiVersion: "v2", kind: "ConfigMap" } },
    httpStatus: 400,
    says: /apiVersion in the data \(v2\)/,
  },
  "another namespace": {
    options: { body: { metadata: { name: "x", namespace: "other" } } },
    httpStatus: 400,
    says: /namespace of the provided object does not match/,
  },
  "a key __proto__": {
    options: { body: '{"metadata": {"name": "x", "labels": {"__proto__": "x"}}}' },
    httpStatus: 400,
    says: /__proto__/,
  },
  "an escaped key __proto__": { options: { body: '{"\\u005f_proto__": {}}' }, httpStatus: 400, says: /__proto__/ },
  "400 levels of nesting": {
    options: { body: `${"[".repeat(400)}${"]".repeat(400)}` },
    httpStatus: 400,
    says: /nested/,
  },
  "a body of 4 MB": { options: { body: `"${"x".repeat(4_000_000)}"` }, httpStatus: 413, says: /larger than/ },
  protobuf: {
    options: { body: "k8s", headers: { "content-type": "application/vnd.kubernetes.protobuf" } },
    httpStatus: 415,
    says: /kubectl apply -f/,
  },
  text: { options: { body: "x", headers: { "content-type": "text/plain" } }, httpStatus: 415, says: /unknown format/ },
  "a resourceVersion on creation": {
    options: { body: { metadata: { name: "x", resourceVersion: "5" } } },
    httpStatus: 400,
    says: /resourceVersion should not be set/,
  },
  "metadata that is text": {
    options: { body: { metadata: "x" } },
    httpStatus: 422,
    says: /metadata: .*must be object/,
  },
  "a wrong fieldValidation": {
    path: `${configMaps}?fieldValidation=Maybe`,
    options: { body: configMap("x") },
    httpStatus: 400,
    says: /fieldValidation/,
  },
  "a wrong label selector": {
    method: "GET",
    path: `${configMaps}?labelSelector=a%20b`,
    options: {},
    httpStatus: 400,
    says: /unable to parse requirement/,
  },
  "an unknown field selector": {
    method: "GET",
    path: `${configMaps}?fieldSelector=spec.x%3Dy`,
    options: {},
    httpStatus: 400,
    says: /field label not supported/,
  },
  "a wrong continue token": {
    method: "GET",
    path: `${configMaps}?continue=xx`,
    options: {},
    httpStatus: 400,
    says: /continue/,
  },
  "a wrong resourceVersion": {
    method: "GET",
    path: `${configMaps}?watch=1&resourceVersion=abc`,
    options: {},
    httpStatus: 400,
    says: /invalid resource version/,
  },
  "a version from the future": {
    method: "GET",
    path: `${configMaps}?resourceVersion=99999999`,
    options: {},
    httpStatus: 504,
    says: /Too large resource version/,
  },
  "an unknown path": {
    method: "GET",
    path: "/apis/nothing/v1/things",
    options: {},
    httpStatus: 404,
    says: /could not find/,
  },
  "a wrong %-encoding": {
    method: "GET",
    path: "/api/v1/namespaces/%E0%A4%A",
    options: {},
    httpStatus: 400,
    says: /%-encoding/,
  },
  "a path that climbs": {
    method: "GET",
    path: "/api/v1/namespaces/..%2F..%2Fetc/pods",
    options: {},
    httpStatus: 404,
    says: /could not find/,
  },
  "a method that is none": {
    method: "OPTIONS",
    path: configMaps,
    options: {},
    httpStatus: 405,
    says: /does not allow/,
  },
  "a strategic patch of a custom kind": {
    method: "PATCH",
    path: `${policies}/x`,
    options: { body: {}, headers: { "content-type": "application/strategic-merge-patch+json" } },
    httpStatus: 415,
    says: /merge-patch/,
  },
  "a patch without type": {
    method: "PATCH",
    path: `${configMaps}/x`,
    options: { body: {} },
    httpStatus: 415,
    says: /accepted media types/,
  },
};
for (const [name, { method = "POST", path = configMaps, options, httpStatus, says }] of Object.entries(badRequests)) {
  test(`a request with ${name} is refused with ${httpStatus}`, async () => {
    const answer = await server.request(method, path, options);
    assert.equal(answer.httpStatus, httpStatus, answer.text);
    assert.equal(answer.json.kind, "Status");
    assert.match(answer.json.message, says);
  });
}

test("garbage on the wire closes the connection and harms nobody", async () => {
  const { port } = new URL(server.url);
  for (const garbage of [
    "\0\0\0\0",
    "GET\r\n\r\n",
    `GET /${"x".repeat(100_000)} HTTP/1.1\r\n\r\n`,
    "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
  ]) {
    await new Promise<void>((resolve) => {
      const socket = connect({ host: "127.0.0.1", port: Number(port), ca: server.ca }, () => socket.write(garbage));
      socket.on("error", () => undefined);
      socket.on("close", () => resolve());
      socket.resume();
    });
  }
  assert.equal((await server.request("GET", "/healthz")).text, "ok");
});

test("secrets lie in files that only the owner can read", () => {
  for (const path of [
    "state/pki/ca.key",
    "state/pki/admin.token",
    "state/admin.kubeconfig",
    "run/agent.kubeconfig",
    "state/objects.db",
  ]) {
    assert.equal(statSync(join(server.directory, path)).mode & 0o777, 0o600, path);
  }
});

test("a restarted server has its objects, its authority and its tokens", async () => {
  const directory = createTestDirectory();
  const first = await createTestServer({ directory });
  const made = await first.request("POST", configMaps, { body: configMap("kept", { data: { a: "1" } }) });
  await first.close();
  const second = await createTestServer({ directory });
  assert.equal(second.ca, first.ca);
  assert.deepEqual(second.tokens, first.tokens);
  assert.deepEqual((await second.request("GET", `${configMaps}/kept`)).json, made.json);
  const resumed = await second.lines(`${configMaps}?watch=1&resourceVersion=${made.json.metadata.resourceVersion}`);
  await second.request("DELETE", `${configMaps}/kept`);
  assert.equal((await resumed.next()).type, "DELETED", "a watch goes on over a restart that missed nothing");
  resumed.close();
  const older = await second.lines(`${configMaps}?watch=1&resourceVersion=1`);
  assert.equal((await older.next()).object.code, 410, "what happened before the restart is not known in detail");
  await second.close();
  rmSync(directory, { recursive: true });
});

test("a used port, a used directory and an unwritable one are named, and nothing is left open", async () => {
  const blocker = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => blocker.once("listening", resolve));
  const { port } = blocker.address() as { port: number };
  const directory = createTestDirectory();
  await assert.rejects(createTestServer({ directory, port }), {
    code: "ADDRESS_IN_USE",
    message: new RegExp(`port ${port} is in use`),
  });
  blocker.close();
  const running = await createTestServer({ directory });
  await assert.rejects(createTestServer({ directory }), { code: "STORE_LOCKED" });
  await running.close();
  mkdirSync(join(directory, "taken"), { recursive: true });
  writeFileSync(join(directory, "taken", "state"), "a file where a directory should be");
  await assert.rejects(createTestServer({ directory: join(directory, "taken") }), {
    code: "STATE_UNUSABLE",
    message: /state directory/,
  });
  rmSync(directory, { recursive: true });
});
