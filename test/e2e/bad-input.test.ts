/** What goes wrong on a node in use: each thing is named with its remedy, and what was in force stays in force. */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { AgentStatus } from "#contracts/agent";
import { instancePaths } from "#core/runtime";
import { TestNode, type TestWorkload, tracesOf } from "./node.ts";

const root = join(import.meta.dirname, "../..");
const launcher = join(root, "bin/tsilium");

const policy = (name: string, ingress: string) => `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: ${name}, namespace: default}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  ${ingress}
`;
/** The client may use port 80, and GET on port 8080. */
const web = policy(
  "web",
  `- fromEndpoints: [{matchLabels: {app: client}}]
    toPorts:
    - ports: [{port: "80", protocol: TCP}]
    - ports: [{port: "8080", protocol: TCP}]
      rules: {http: [{method: GET}]}`,
);
/** One entry for each of many ports that don't make a range. */
const large = policy(
  "large",
  `- fromCIDR: [198.51.100.0/24]
    toPorts: [{ports: [${Array.from({ length: 40 }, (_, i) => `{port: "${1000 + 2 * i}", protocol: TCP}`).join(", ")}]}]`,
);

describe("a node that gets bad input", () => {
  let node: TestNode;
  let server: TestWorkload;
  let client: TestWorkload;
  let other: TestWorkload;
  const helpers: ChildProcess[] = [];

  before(async () => {
    node = await TestNode.start();
    await node.stopAgent();
    await node.startAgent("--policy-map-max", "24");
    [server, client, other] = await Promise.all([
      node.workload("web"),
      node.workload("client"),
      node.workload("other"),
    ]);
    for (const port of [80, 8080]) await server.tell({ op: "serve-http", port });
    await node.apply(web);
  });
  after(async () => {
    for (const helper of helpers) helper.kill("SIGKILL");
    await node?.close();
  });

  /** The command line on the node; `wrap` goes before it. */
  const tsilium = (args: readonly string[], input = "", wrap: readonly string[] = []) => {
    const { status, stdout, stderr } = spawnSync(
      "nsenter",
      [`--net=/run/netns/${node.netns}`, ...wrap, launcher, ...args],
      {
        input,
        encoding: "utf8",
        timeout: 30_000,
        cwd: "/",
        env: { ...process.env, TSILIUM_INSTANCE: node.instance, NO_COLOR: "1" },
      },
    );
    return { code: status, out: stdout, err: stderr };
  };
  const ask = async (from: TestWorkload, port = 80, method = "GET") => {
    const { status, error } = await from.tell({ op: "get", url: server.url(4, port), method, timeoutMs: 700 });
    return status ?? error;
  };
  /** What the policy `web` says, by trying. */
  const assertEnforced = async () => {
    assert.deepEqual(
      [await ask(client), await ask(client, 8080), await ask(client, 8080, "POST"), await ask(other)],
      [200, 200, 403, "timeout"],
    );
  };
  const component = ({ components }: AgentStatus, name: string) => components.find((one) => one.name === name);
  const until = async <T>(what: string, look: () => Promise<T | undefined>, withinMs = 10_000): Promise<T> => {
    for (const deadline = performance.now() + withinMs; performance.now() < deadline; await sleep(25)) {
      const found = await look();
      if (found !== undefined) return found;
    }
    throw new Error(`not within ${withinMs} ms: ${what}\n${JSON.stringify(await node.client.status(), null, 1)}`);
  };
  /** The message of a component that is not well, once it has one that matches. */
  const ailing = (name: string, message: RegExp) =>
    until(`${name} says ${message}`, async () => {
      const found = component(await node.client.status(), name);
      return found?.state !== "ok" && message.test(found?.message ?? "") ? found : undefined;
    });
  const well = (name: string) =>
    until(`${name} is well`, async () => component(await node.client.status(), name)?.state === "ok" || undefined);

  const pod = (metadata: string) =>
    `apiVersion: v1\nkind: Pod\nmetadata: ${metadata}\nspec: {containers: [{name: c, image: i}]}\n`;
  const commands: readonly {
    readonly name: string;
    readonly args: readonly string[];
    readonly input?: string;
    readonly code: number;
    readonly says: RegExp;
  }[] = [
    {
      name: "a workload of a name that is taken",
      args: ["run", "--name", "web", "--", "true"],
      code: 125,
      says: /there is a pod default\/web already; stop it first .*another name \(WORKLOAD_EXISTS\)/,
    },
    {
      name: "a workload of an impossible name",
      args: ["run", "--name", "Web_1", "--", "true"],
      code: 125,
      says: /"Web_1" can't name a workload: a name has lower-case letters/,
    },
    {
      name: "a workload with an impossible label",
      args: ["run", "--label", "a b=c", "--", "true"],
      code: 125,
      says: /metadata\.labels: Invalid value: "a b": the name must consist of letters/,
    },
    {
      name: "a workload in a namespace that is not there",
      args: ["run", "--namespace", "nowhere", "--", "true"],
      code: 125,
      says: /namespaces "nowhere" not found/,
    },
    {
      name: "a pod with an impossible label value",
      args: ["apply", "-f", "-"],
      input: pod('{name: p, labels: {a: "-b"}}'),
      code: 1,
      says: /<stdin>:3:\d+ {2}metadata\.labels[\s\S]*the API server did not take pod\/p; what it had stays/,
    },
    {
      name: "YAML with a bracket that is not closed",
      args: ["apply", "-f", "-"],
      input: "kind: Pod\nmetadata: {name: p\nspec:\n",
      code: 1,
      says: /<stdin>:3:1\n[\s\S]*close the "\{"[\s\S]*nothing was applied; what was in force stays/,
    },
    {
      name: "a field that is nearly right",
      args: ["apply", "-f", "-"],
      input: web.replace("fromEndpoints", "fromEndpoint"),
      code: 1,
      says: /<stdin>:7:5 {2}spec\.ingress\[0\]\.fromEndpoint\n[\s\S]*hint: write "fromEndpoints"/,
    },
    {
      name: "a port that can't be",
      args: ["apply", "-f", "-"],
      input: web.replace('"80"', '"99999"'),
      code: 1,
      says: /found "99999", the highest port is 65535\n --> <stdin>:9:\d+ {2}spec\.ingress\[0\]\.toPorts\[0\]/,
    },
    {
      name: "a policy that stands twice in a file",
      args: ["apply", "-f", "-"],
      input: `${web}---\n${web}`,
      code: 1,
      says: /there is a CiliumNetworkPolicy web of namespace default already, in line 3: this one would replace it/,
    },
    {
      name: "an object that is too large",
      args: ["apply", "-f", "-"],
      input: `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {x: ${"a".repeat(3_200_000)}}\n`,
      code: 1,
      says: /413: the body of the request is larger than \d+ bytes/,
    },
    {
      name: "an agent beside the one that runs",
      args: ["agent"],
      code: 1,
      says: /AGENT_ALREADY_RUNNING.*process \d+ \(TSILIUM_INSTANCE=/,
    },
    { name: "a second node", args: ["up"], code: 6, says: /is running already: its agent is process \d+/ },
    {
      name: "a setting that can't be",
      args: ["agent", "--policy-map-max", "3"],
      code: 2,
      says: /--policy-map-max is "3"; it must be a number of entries from 16/,
    },
  ];
  for (const { name, args, input, code, says } of commands) {
    test(`${name} is refused in words: tsilium ${args.join(" ")}`, () => {
      const result = tsilium(args, input);
      assert.match(result.err, says);
      assert.equal(result.code, code, result.err);
    });
  }

  test("without root every command says so, with exit code 4, and nothing else", () => {
    // The checkout may lie where only root can look, in /root for example: nobody sees it under another path.
    const drop = "exec setpriv --reuid=65534 --regid=65534 --clear-groups /mnt/bin/tsilium";
    const nobody = [
      "unshare",
      "--mount",
      "sh",
      "-c",
      `mount --bind "\${1%/bin/tsilium}" /mnt; shift; ${drop} "$@"`,
      "sh",
    ];
    for (const line of ["up", "status", "run -- true", "endpoint list", "get pods", "observe", "cleanup", "demo"]) {
      const { code, err } = tsilium(line.split(" "), "", nobody);
      assert.match(err, /^error: .*(root|sudo).*\n$/, line);
      assert.equal(code, line.startsWith("run") ? 125 : 4, `${line}: ${err}`);
    }
  });

  test("root without the capability for BPF is told what is missing and what tries the rest; nothing is left", () => {
    const instance = `${node.instance}cap`;
    const result = spawnSync(
      "nsenter",
      [
        `--net=/run/netns/${node.worldNetns}`,
        ...["setpriv", "--bounding-set=-bpf,-sys_admin", "--inh-caps=-all", launcher, "up"],
      ],
      { encoding: "utf8", timeout: 30_000, env: { ...process.env, TSILIUM_INSTANCE: instance, NO_COLOR: "1" } },
    );
    assert.match(
      result.stderr,
      /load endpoint\.bpf\.o: operation not permitted .*`tsilium doctor` .*\(KERNEL_DENIED\)\n$/,
    );
    assert.equal(result.status, 5);
    const { runDir, stateDir } = instancePaths({ TSILIUM_INSTANCE: instance });
    assert.deepEqual([existsSync(runDir), existsSync(stateDir)], [false, false]);
    execFileSync(launcher, ["cleanup", "--objects"], {
      env: { ...process.env, TSILIUM_INSTANCE: instance },
      stdio: "ignore",
    });
  });

  test("a policy too large for the map is refused with what it needs and what is free; the old one judges until it fits", async () => {
    const applied = tsilium(["apply", "-f", "-", "--wait"], large);
    assert.equal(applied.code, 1, applied.err);
    assert.match(
      applied.err,
      /large is stored, but not all of it is enforced.*POLICY_NOT_ENFORCED\)\n {2}default\/web \(endpoint \d+\): the policy needs \d+ entries, but only \d+ of the policy map's 24 are free; the previous policy stays in force\..*--policy-map-max/,
    );
    await ailing("datapath", /^default\/web \(endpoint \d+\): the policy needs/);
    assert.match(tsilium(["status"]).out, /in force, but not for default\/web \(endpoint \d+\)/);
    assert.match(tsilium(["endpoint", "get", "web"]).out, /not in force yet: the policy needs \d+ entries/);
    await assertEnforced();
    await node.delete("CiliumNetworkPolicy", "large");
    await well("datapath");
    await assertEnforced();
  });

  test("a version that slipped past the API server is refused with its field; the last good one stays, over a restart", async () => {
    await node.killApiServer();
    const store = new DatabaseSync(join(node.paths.stateDir, "objects.db"));
    const where = "WHERE kind = 'ciliumnetworkpolicies.cilium.io' AND name = 'web'";
    const row = store.prepare(`SELECT json FROM objects ${where}`).get() as { json: string };
    const revision = Number(store.prepare("SELECT value FROM revision").get()?.value) + 1;
    const object = JSON.parse(row.json.replace('"port":"80"', '"port":"99999"'));
    object.metadata.generation++;
    object.metadata.resourceVersion = String(revision);
    store.prepare(`UPDATE objects SET json = ? ${where}`).run(JSON.stringify(object));
    store.prepare("UPDATE revision SET value = ?").run(revision);
    store.close();
    await node.startApiServer();
    const refused =
      /^CiliumNetworkPolicy default\/web refused: spec\.ingress\[0\]\.toPorts\[0\]\.ports\[0\]\.port: .*99999.*; its last good version stays in force$/;
    await ailing("policy", refused);
    await assertEnforced();
    await node.killAgent();
    await node.startAgent("--policy-map-max", "24");
    await ailing("policy", refused);
    await assertEnforced();
    await node.apply(web);
    await well("policy");
    await assertEnforced();
  });

  test("an API server that is away is named; policy holds; when it is back the agent knows without a change", async () => {
    await node.killApiServer();
    await ailing("api-server", /no answer from the API server .*; is it running\?; what is known stays in force$/);
    assert.equal(tsilium(["get", "pods"]).code, 3);
    await assertEnforced();
    await node.startApiServer();
    await well("api-server");
    await node.delete("CiliumNetworkPolicy", "web");
    assert.equal(await ask(other), 200);
    await node.apply(web);
  });

  test("a token that the API server refuses is named; the agent waits and enforces, and goes on with a good one", async () => {
    const good = readFileSync(node.paths.agentKubeconfig, "utf8");
    const bad = good.replace(/("?token"?: *"?)[^"\n]+/, "$1expired");
    assert.notEqual(bad, good);
    await node.killAgent();
    writeFileSync(node.paths.agentKubeconfig, bad);
    const starting = node.startAgent("--policy-map-max", "24");
    await until("the agent answers", () => node.client.status().catch(() => undefined));
    await ailing("api-server", /answered 401: Unauthorized \(the token is not known there; use the kubeconfig/);
    await assertEnforced();
    writeFileSync(node.paths.agentKubeconfig, good);
    await starting;
    await assertEnforced();
  });

  test("the socket of a dead agent: commands say that none runs, the next agent takes it over", async () => {
    await node.killAgent();
    assert.ok(existsSync(node.paths.agentSocket));
    const { code, err } = tsilium(["status"]);
    assert.match(err, /no agent is listening on .*agent\.sock; start one with `sudo tsilium up`/);
    assert.equal(code, 3);
    await assertEnforced();
    await node.startAgent("--policy-map-max", "24");
    assert.equal(tsilium(["status"]).code, 0);
  });

  test("a killed proxy: its connections fail closed, status says so, and a new one serves again", async () => {
    const { proxy } = await node.client.status();
    process.kill(Number(proxy.pid), "SIGKILL");
    const seen = until("the loss is said", async () => {
      const now = await node.client.status();
      return now.proxy.state === "connected" && now.proxy.pid === proxy.pid ? undefined : now;
    });
    assert.notEqual(await ask(client, 8080, "POST"), 200);
    const now = await seen;
    if (now.proxy.state !== "connected") assert.notEqual(component(now, "proxy")?.state, "ok");
    await well("proxy");
    assert.notEqual((await node.client.status()).proxy.pid, proxy.pid);
    await assertEnforced();
  });

  test("garbage on the agent's, the proxy's and the observer's socket closes that connection and harms nobody", async () => {
    const garbage = [Buffer.alloc(1000, 0xff), Buffer.from("GET / HTTP/1.1\r\n\r\n"), Buffer.alloc(3_000_000, "{")];
    for (const path of [node.paths.agentSocket, node.paths.proxySocket, node.paths.hubbleSocket]) {
      for (const bytes of garbage) {
        await new Promise<void>((resolve) => {
          const socket = createConnection(path, () => socket.write(bytes));
          socket.on("error", () => resolve()); // reset: it has had enough
          socket.on("close", () => resolve());
          socket.setTimeout(300, () => socket.destroy());
          socket.resume();
        });
      }
    }
    assert.equal(tsilium(["status"]).code, 0);
    assert.equal(tsilium(["observe", "--last", "1"]).code, 0);
    await assertEnforced();
  });

  test("another program in front of ours is named by status and doctor, and does not stay there", async () => {
    const { ifindex, hostName } = await (async () => {
      const [endpoint] = (await node.client.endpoints()).filter(({ pod: name }) => name === "web");
      const detail = await node.client.endpoint(endpoint?.id ?? 0);
      return { ifindex: detail.ifindex, hostName: detail.interfaceName };
    })();
    const script = `
      import { openKernel } from "#datapath/linux";
      const { bpf } = openKernel();
      const program = bpf.openProgram(${JSON.stringify(join(node.paths.bpfDir, "progs/to_network"))});
      bpf.attach(program, { kind: "tcx", ifindex: ${ifindex}, direction: "egress", first: true });
      console.log("attached");
      setInterval(() => undefined, 1000);`;
    const foreign = spawn(
      "nsenter",
      [`--net=/run/netns/${node.netns}`, join(root, "tools/node"), "--input-type=module", "-e", script],
      { cwd: root, stdio: ["ignore", "pipe", "inherit"] },
    );
    helpers.push(foreign);
    await once(foreign.stdout!, "data");
    const programs = async () => (await node.client.status()).foreignPrograms;
    const [found] = await programs();
    assert.deepEqual([found?.device, found?.hook, found?.name], [hostName, "egress", "to_network"]);
    await until("ours is in front again", async () => (await programs()).every((one) => !one.before) || undefined);
    assert.ok(node.log.some((line) => line.includes("put back") && line.includes(hostName)));
    assert.match(tsilium(["status"]).out, new RegExp(`${hostName} egress: to_network .*after ours`));
    assert.match(tsilium(["doctor"]).out, new RegExp(`Programs of others[\\s\\S]*${hostName} egress: to_network`));
    await assertEnforced();
    foreign.kill("SIGKILL");
    await until("it is gone", async () => (await programs()).length === 0 || undefined);
  });

  test("without TCX the same policy is enforced through tc filters, and status says what that costs", async () => {
    await node.stopAgent();
    await node.startAgent("--policy-map-max", "24", "--attach", "clsact");
    assert.match(tsilium(["status"]).out, /hooks: clsact\n[\s\S]*Missing:[\s\S]*tcx .*get in front of them/);
    await assertEnforced();
    await node.stopAgent();
    await node.startAgent("--policy-map-max", "24");
    assert.match(tsilium(["status"]).out, /hooks: tcx/);
    await assertEnforced();
  });

  test("a full disk under the endpoints' records: no endpoint without a record, the others go on", async () => {
    const folder = join(node.paths.runDir, "endpoints");
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=4k", "tmpfs", folder]);
    try {
      writeFileSync(join(folder, "ballast"), Buffer.alloc(4096));
      const { code, err } = tsilium(["run", "--name", "late", "--", "true"]);
      assert.match(err, /can't write .*endpoints\/\d+\.json \(ENOSPC.*free space there.*\(RECORD_UNWRITABLE\)/);
      assert.equal(code, 125);
      assert.equal(await node.object("Pod", "late"), undefined);
      assert.deepEqual(readdirSync(folder), ["ballast"]);
      await assertEnforced();
    } finally {
      execFileSync("umount", [folder]);
    }
    assert.equal(tsilium(["run", "--name", "late", "--", "true"]).code, 0);
  });

  test("a damaged endpoint record is named with its file; its workload ends, the others are taken over", async () => {
    const { id } = (await node.client.endpoints()).find(({ pod: name }) => name === "other")!;
    await node.killAgent();
    const file = join(node.paths.runDir, "endpoints", `${id}.json`);
    writeFileSync(file, '{"id": 3, "pod"');
    await node.startAgent("--policy-map-max", "24");
    assert.ok(node.log.some((line) => line.includes(file) && line.includes("unreadable")));
    assert.deepEqual((await node.client.endpoints()).map(({ pod: name }) => name).sort(), ["client", "web"]);
    assert.equal(await node.object("Pod", "other"), undefined);
    assert.equal(await ask(client), 200);
    rmSync(file, { force: true });
    other = await node.workload("other");
    await assertEnforced();
  });

  test("after kill -9 of everything, cleanup removes every trace", async () => {
    const { proxy } = await node.client.status();
    await node.killAgent();
    await node.killApiServer();
    const { code, out, err } = tsilium(["cleanup"]);
    assert.equal(code, 0, err);
    assert.match(out, /removed workload default\/web\n[\s\S]*removed proxy/);
    assert.deepEqual(tracesOf(node.instance), []);
    assert.equal(existsSync(`/proc/${proxy.pid}`), false);
    assert.deepEqual(node.exec("ip", "-o", "link").match(/tsl\w+/g), null);
  });
});
