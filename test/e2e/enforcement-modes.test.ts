import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { TestNode, type TestWorkload } from "./node.ts";

const onlyFriends = `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: default}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress: [{fromEndpoints: [{matchLabels: {app: friend}}]}]
`;

describe("modes of enforcement of the whole node", () => {
  let node: TestNode;
  let web: TestWorkload;
  let stranger: TestWorkload;

  before(async () => {
    node = await TestNode.start();
    [web, stranger] = await Promise.all([node.workload("web"), node.workload("stranger")]);
    await web.tell({ op: "serve-http", port: 80 });
  });
  after(async () => {
    assert.deepEqual(await node?.close(), []);
  });

  const ask = () => stranger.tell({ op: "get", url: web.url(4, 80), timeoutMs: 600 });
  const restartAgent = async (...args: string[]) => {
    await node.stopAgent();
    await node.startAgent(...args);
    await node.waitEnforced();
  };

  test("always: without any policy nobody reaches anybody", async () => {
    assert.equal((await ask()).status, 200);
    await restartAgent("--policy-enforcement", "always");
    assert.equal((await ask()).error, "timeout");
  });

  test("never: what a policy denies passes all the same", async () => {
    await restartAgent("--policy-enforcement", "never");
    await node.apply(onlyFriends);
    assert.equal((await ask()).status, 200);
  });

  test("default: the policy counts", async () => {
    await restartAgent();
    assert.equal((await ask()).error, "timeout");
  });

  test("audit: what the policy would deny passes, and the flow says so", async () => {
    await restartAgent("--policy-audit");
    assert.equal((await ask()).status, 200);
    const flows = node.cli(["observe", "--last", "20", "--verdict", "AUDIT", "-o", "jsonpb"]);
    assert.match(flows, /"verdict":"AUDIT".*default\/stranger|stranger.*"verdict":"AUDIT"/s);
  });
});
