/** Whatever is sent, the server answers with a refusal of the client's fault, never of its own, and goes on. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import fc from "fast-check";
import { createTestServer, type TestServer } from "./testing.ts";

let server: TestServer;
before(async () => {
  server = await createTestServer();
  await server.request("POST", "/api/v1/namespaces/default/services", {
    body: { metadata: { name: "target" }, spec: { ports: [{ port: 80, name: "http" }] } },
  });
});
after(() => server.close());

const fieldNames = fc.constantFrom(
  ...["apiVersion", "kind", "metadata", "name", "labels", "annotations", "finalizers", "managedFields", "fieldsV1"],
  ...["spec", "ports", "port", "protocol", "status", "f:spec", 'k:{"port":80}', "v:1", ".", "$patch", "$retainKeys"],
  ...["$setElementOrder/ports", "$deleteFromPrimitiveList/finalizers", "op", "path", "value", "from", "toString", ""],
);
const words = fc.constantFrom(
  "v1",
  "Service",
  "target",
  "replace",
  "delete",
  "merge",
  "/spec/ports/0",
  "/-",
  "add",
  "move",
  "Apply",
  "é\0",
);
const { value: anything } = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    words,
    fc.constantFrom<unknown>(null, true, 0, -1, 80, 1e21),
    fc.array(tie("value"), { maxLength: 3 }),
    fc.dictionary(fieldNames, tie("value"), { maxKeys: 5 }),
  ),
}));

const collection = "/api/v1/namespaces/default/services";
const target = `${collection}/target`;
const ways: Record<string, { method: string; path: string; type?: string }> = {
  "a creation": { method: "POST", path: collection },
  "a replacement": { method: "PUT", path: target },
  "a replaced status": { method: "PUT", path: `${target}/status` },
  "a merge patch": { method: "PATCH", path: target, type: "application/merge-patch+json" },
  "a strategic merge patch": { method: "PATCH", path: target, type: "application/strategic-merge-patch+json" },
  "a JSON patch": { method: "PATCH", path: target, type: "application/json-patch+json" },
  "an apply": { method: "PATCH", path: `${target}?fieldManager=m&force=true`, type: "application/apply-patch+yaml" },
  "a deletion": { method: "DELETE", path: `${collection}/nothing` },
  "a review": { method: "POST", path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" },
};
for (const [name, { method, path, type = "application/json" }] of Object.entries(ways)) {
  test(`${name} with any body at all is answered in order`, async (t) => {
    const seed = Date.now() & 0x7fff_ffff;
    t.diagnostic(`seed ${seed}`);
    const nearlyRight = anything.map((spec) => ({ metadata: { name: "target" }, spec }));
    const withEntries = anything.map((entries) => ({
      metadata: { name: "target", managedFields: [{ manager: "x", operation: "Update", fieldsV1: entries }] },
      spec: { ports: [{ port: 80 }] },
    }));
    await fc.assert(
      fc.asyncProperty(fc.oneof(anything, nearlyRight, withEntries, fc.array(anything)), async (body) => {
        const answer = await server.request(method, path, {
          body: JSON.stringify(body),
          headers: { "content-type": type },
        });
        assert.ok(answer.httpStatus < 500, `${answer.httpStatus} ${answer.text} for ${JSON.stringify(body)}`);
      }),
      { numRuns: 120, seed },
    );
    assert.equal((await server.request("GET", target)).json.metadata.name, "target", "the object is still whole");
  });
}
