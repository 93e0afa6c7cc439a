import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, before, describe, test } from "node:test";
import { TestNode, type TestWorkload } from "./node.ts";

const policy = `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: default}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: client}}]
    toPorts: [{ports: [{port: "80", protocol: TCP}]}]
  - fromCIDR: ["198.51.100.0/24"]
`;

describe("the agent's local API", () => {
  let node: TestNode;
  let web: TestWorkload;
  let client: TestWorkload;

  before(async () => {
    node = await TestNode.start();
    [web, client] = await Promise.all([node.workload("web"), node.workload("client")]);
    await web.tell({ op: "serve-http", port: 80 });
    await node.apply(policy);
  });
  after(async () => {
    await node?.close();
  });

  test("the status says what runs, how much there is of it, and that all of it is in force", async () => {
    let status = await node.client.status();
    // A label or address that came a moment ago may still be on its way.
    for (let i = 0; i < 100 && status.policy.realised !== status.policy.computed; i++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      status = await node.client.status();
    }
    assert.equal(status.ready, true);
    assert.deepEqual([status.counts.endpoints, status.counts.endpointsReady, status.counts.policies], [2, 2, 1]);
    assert.equal(status.addresses.ipv4, "192.0.2.1");
    assert.equal(status.addresses.worldDevice, "eth0");
    assert.equal(status.policy.realised, status.policy.computed);
    assert.deepEqual(
      status.components.filter((c) => c.state !== "ok" && c.state !== "off"),
      [],
    );
    for (const { name, rows, done, problems } of status.reconcilers)
      assert.deepEqual([done, problems], [rows, []], name);
    assert.deepEqual(status.foreignPrograms, []);
    assert.ok(status.residentBytes < 160e6, `${status.residentBytes} bytes resident`);
    assert.ok(Number(node.agentReady.startMs) < 5000);
  });

  test("an endpoint shows each entry of its policy with the rule that made it", async () => {
    const detail = await node.client.endpoint(web.workload.id);
    assert.deepEqual(detail.policy, { ingress: true, egress: false });
    assert.equal(detail.policyStatus.realised, true);
    const entry = detail.policyStatus.entries.find((e) => e.port === "80");
    assert.equal(entry?.identity, client.workload.identity);
    assert.deepEqual(entry?.rules, [
      { kind: "CiliumNetworkPolicy", namespace: "default", name: "web", path: "spec.ingress[0]" },
    ]);
    assert.ok(detail.policyStatus.entries.some((e) => e.peer === "198.51.100.0/24"));
  });

  test("identities, ipcache and maps agree about who is who", async () => {
    const identities = await node.client.identities();
    const prefix = identities.find((identity) => identity.prefix === "198.51.100.0/24");
    assert.equal(prefix?.scope, "local");
    assert.equal(identities.find((identity) => identity.id === web.workload.identity)?.endpoints, 1);
    const ipcache = new Map((await node.client.ipcache()).map((row) => [row.prefix, row]));
    assert.equal(ipcache.get("198.51.100.0/24")?.identity, prefix?.id);
    assert.equal(ipcache.get(`${web.ipv4}/32`)?.endpoint, web.workload.id);
    assert.equal(ipcache.get("192.0.2.1/32")?.identity, 1);
    const dump = await node.client.map("ipcache");
    assert.equal(dump.entries.length, ipcache.size);
    assert.ok((await node.client.maps()).some((map) => map.name === "policy" && map.capacity > 0));
    await assert.rejects(node.client.map("nothing"), { code: "NO_SUCH_MAP" });
  });

  test("a policy names the endpoints it selects, and its object says that it is valid", async () => {
    const [listed] = await node.client.policies();
    assert.deepEqual([listed?.state, listed?.selects], ["valid", [{ id: web.workload.id, pod: "default/web" }]]);
    for (let i = 0; i < 50; i++) {
      const object = (await node.object("CiliumNetworkPolicy", "web")) as {
        status?: { conditions?: { type: string; status: string }[] };
      };
      if (object.status?.conditions?.some((c) => c.type === "Valid" && c.status === "True")) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.fail("the condition Valid was not written");
  });

  test("pods and CiliumEndpoints carry what the agent knows", async () => {
    for (let i = 0; i < 50; i++) {
      const pod = (await node.object("Pod", "web")) as { status?: { podIP?: string; phase?: string } };
      const endpoint = (await node.object("CiliumEndpoint", "web")) as { status?: { identity?: { id?: number } } };
      if (pod.status?.podIP === web.ipv4 && endpoint?.status?.identity?.id === web.workload.identity) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.fail("the pod's address or the endpoint's identity was not written");
  });

  test("labels of a running pod decide at once: the identity changes with them, and so does what may pass", async () => {
    const ask = () => client.tell({ op: "get", url: web.url(4, 80), timeoutMs: 500 });
    assert.equal((await ask()).status, 200);
    await node.apply(`apiVersion: v1
kind: Pod
metadata: {name: client, namespace: default, labels: {app: stranger}}
spec: {containers: [{name: workload, image: host}]}
`);
    for (let i = 0; i < 50 && (await ask()).status === 200; i++);
    assert.equal((await ask()).error, "timeout");
    const [view] = (await node.client.endpoints()).filter((e) => e.pod === "client");
    assert.ok(view?.labels.includes("k8s:app=stranger"));
    await node.apply(`apiVersion: v1
kind: Pod
metadata: {name: client, namespace: default, labels: {app: client}}
spec: {containers: [{name: workload, image: host}]}
`);
    for (let i = 0; i < 20 && (await ask()).status !== 200; i++);
    assert.equal((await ask()).status, 200);
  });

  test("a container runtime's namespace becomes an endpoint, and goes again", async () => {
    const name = `${node.netns}-cni`;
    execFileSync("ip", ["netns", "add", name]);
    try {
      await node.apply(`apiVersion: v1
kind: Pod
metadata: {name: cni, namespace: default, labels: {app: client}}
spec: {nodeName: ${String(node.agentReady.nodeName)}, containers: [{name: c, image: i}]}
`);
      const made = await node.client.createEndpoint({
        containerId: "abc",
        netnsPath: `/run/netns/${name}`,
        pod: { namespace: "default", name: "cni" },
      });
      assert.match(made.addresses[0] ?? "", /^10\.217\.0\.\d+\/32$/);
      const inside = execFileSync("ip", ["-n", name, "-o", "addr", "show", "dev", "eth0"], { encoding: "utf8" });
      assert.ok(inside.includes(made.addresses[0]!));
      await assert.rejects(
        node.client.createEndpoint({
          containerId: "abc",
          netnsPath: `/run/netns/${name}`,
          pod: { namespace: "default", name: "cni" },
        }),
        { code: "ENDPOINT_EXISTS" },
      );
      await node.client.deleteEndpoint("abc");
      await node.client.deleteEndpoint("abc");
      assert.equal((await node.client.endpoints()).length, 2);
    } finally {
      execFileSync("ip", ["netns", "del", name]);
    }
  });

  test("a workload with a name that is taken or no name at all is refused, and leaves nothing", async () => {
    await assert.rejects(node.client.createWorkload({ name: "web" }), { code: "WORKLOAD_EXISTS" });
    await assert.rejects(node.client.createWorkload({ name: "No_Name" }), { code: "BAD_REQUEST" });
    await assert.rejects(node.client.createWorkload({ name: "a", namespace: "nowhere" }), { code: "KUBE_NOT_FOUND" });
    await assert.rejects(node.client.deleteWorkload("default", "nobody"), { code: "NO_SUCH_WORKLOAD" });
    assert.equal((await node.client.workloads()).length, 2);
  });

  test("metrics are Prometheus text of agent and flows", async () => {
    const text = await node.client.metrics();
    for (const pattern of [
      /^tsilium_endpoints\{state="ready"\} 2$/m,
      /^tsilium_policies\{state="valid"\} 1$/m,
      /^hubble_flows_processed_total/m,
    ])
      assert.match(text, pattern);
  });
});
