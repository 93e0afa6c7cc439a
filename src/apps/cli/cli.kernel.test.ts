// The command line against a real node: workloads, objects, what they print and how they end.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { TestNode } from "../../../test/e2e/node.ts";

const launcher = resolve(import.meta.dirname, "../../../bin/tsilium");
const folder = mkdtempSync(join(tmpdir(), "tsilium-cli-"));
let node: TestNode;
before(async () => {
  node = await TestNode.start();
});
after(async () => {
  rmSync(folder, { recursive: true });
  assert.deepEqual(await node?.close(), []);
});

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function start(args: readonly string[], input?: string) {
  const child = spawn("nsenter", [`--net=/run/netns/${node.netns}`, launcher, ...args], {
    env: { ...process.env, TSILIUM_INSTANCE: node.instance, NO_COLOR: "1" },
    stdio: ["pipe", "pipe", "pipe"],
  });
  let out = "";
  let err = "";
  child.stdout.on("data", (part: Buffer) => {
    out += part.toString();
  });
  child.stderr.on("data", (part: Buffer) => {
    err += part.toString();
  });
  child.stdin.end(input);
  const ended = new Promise<Ended>((done) => child.once("close", (code) => done({ code, out, err })));
  return { child, ended, said: () => out };
}
const tsilium = (args: readonly string[], input?: string): Promise<Ended> => start(args, input).ended;
const ok = async (...args: string[]): Promise<string> => {
  const { code, out, err } = await tsilium(args);
  assert.equal(code, 0, `tsilium ${args.join(" ")}:\n${out}${err}`);
  return out;
};
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};

const exits: readonly (readonly [name: string, command: readonly string[], code: number])[] = [
  ["success", ["true"], 0],
  ["a code of its own", ["sh", "-c", "exit 42"], 42],
  ["a signal", ["sh", "-c", "kill -KILL $$"], 137],
  ["no such command", ["/no/such/command"], 127],
  ["a file that is no program", ["/etc/passwd"], 126],
];
for (const [name, command, code] of exits) {
  test(`run passes on: ${name}`, async () => assert.equal((await tsilium(["run", "--", ...command])).code, code));
}

test("run hands over input, output, environment, and a network of its own", async () => {
  const args = [
    "run",
    "--env",
    "GREETING=hello",
    "--",
    "sh",
    "-c",
    'cat; echo "$GREETING"; ip -o -4 address show dev eth0',
  ];
  const { code, out } = await tsilium(args, "typed\n");
  assert.equal(code, 0);
  assert.match(out, /^typed\nhello\n.*inet 10\.217\.0\.\d+\/32/s);
});

test("a signal to run reaches the command, once, and its exit code comes back", async () => {
  const script = 'trap "echo got it; exit 5" TERM; echo started; while :; do sleep 0.05; done';
  const { child, ended, said } = start(["run", "--name", "trapper", "--", "bash", "-c", script]);
  for (let i = 0; i < 200 && !said().includes("started"); i++) await sleep(25);
  child.kill("SIGTERM");
  assert.deepEqual(await ended, { code: 5, out: "started\ngot it\n", err: "" });
  assert.doesNotMatch(await ok("get", "pods", "-o", "yaml"), /trapper/);
});

test("the command of a killed run goes on as a workload, until it is stopped", async () => {
  const { child, ended, said } = start(["run", "--name", "orphan", "--", "sh", "-c", "echo started; exec sleep 60"]);
  for (let i = 0; i < 200 && !said().includes("started"); i++) await sleep(25);
  child.kill("SIGKILL");
  child.stdout.destroy();
  child.stderr.destroy();
  await ended;
  assert.equal((await node.client.workloads()).find(({ name }) => name === "orphan")?.pids.length, 1);
  assert.equal(await ok("stop", "orphan"), "default/orphan stopped\n");
  assert.equal((await node.client.workloads()).length, 0);
});

test("a workload in the background takes more commands, and a second of its name is refused", async () => {
  assert.match(await ok("run", "-d", "--name", "back", "--label", "app=back", "--", "sleep", "60"), /^default\/back /);
  assert.match(await ok("exec", "back", "--", "ip", "-o", "address"), /10\.217\.0\.\d+\/32/);
  const again = await tsilium(["run", "--name", "back", "--", "true"]);
  assert.equal(again.code, 125);
  assert.match(again.err, /WORKLOAD_EXISTS/);
  assert.match(await ok("get", "pods", "-l", "app=back"), /^NAME +STATUS.*\nback +Running/);
  assert.match(await ok("endpoint", "get", "back"), /ingress +any +ANY +allow \(no policy\)/);
  assert.equal(await ok("stop", "--all"), "default/back stopped\n");
});

const policy = (port: string) => `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: p}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  - toPorts:
    - ports: [{port: "${port}", protocol: TCP}]
`;

test("apply creates, changes, and says when nothing changed; get and delete find it", async () => {
  const title = "ciliumnetworkpolicy.cilium.io/p";
  const first = file("p.yaml", policy("80"));
  assert.equal(await ok("apply", "-f", first, "--wait"), `${title} created\n${title} enforced\n`);
  assert.equal(await ok("apply", "-f", first), `${title} unchanged\n`);
  assert.equal(
    await ok("apply", "-f", file("p2.yaml", policy("81")), "--wait"),
    `${title} configured\n${title} enforced\n`,
  );
  assert.match(await ok("get", "cnp"), /^NAME +VALID +SUBJECT +AGE\np +True +app=web/);
  assert.equal(JSON.parse(await ok("get", "cnp", "p", "-o", "json")).spec.ingress[0].toPorts[0].ports[0].port, "81");
  assert.match(await ok("policy", "get"), /default +p +valid +enforced +no endpoint/);
  assert.equal(await ok("delete", "cnp", "p", "--wait"), `${title} deleted\n`);
  const gone = await tsilium(["delete", "cnp", "p"]);
  assert.equal(gone.code, 1);
  assert.match(gone.err, /there is no ciliumnetworkpolicy.cilium.io\/p in namespace default/);
});

test("one bad policy among good ones: nothing is applied, and the place is shown", async () => {
  const bad = file("bad.yaml", `${policy("80")}---\n${policy("99999")}`);
  const { code, out, err } = await tsilium(["apply", "-f", bad]);
  assert.equal(code, 1);
  assert.equal(out, "");
  assert.match(err, /bad\.yaml:17:\d+ {2}spec\.ingress\[0\]\.toPorts\[0\]\.ports\[0\]\.port/);
  assert.match(err, /nothing was applied/);
  assert.equal((await tsilium(["get", "cnp", "p"])).code, 1);
});

test("what the API server refuses is shown in the text it came from", async () => {
  const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - name: 7\n";
  const { code, err } = await tsilium(["apply", "-f", file("pod.yaml", pod)]);
  assert.equal(code, 1);
  assert.match(err, /pod\.yaml:6:\d+ {2}spec\.containers\[0\]\.name/);
});

test("maps are shown by name, and a wrong name names the right ones", async () => {
  assert.match(await ok("map", "show", "ipcache"), /0\.0\.0\.0\/0 +9/);
  const { code, err } = await tsilium(["map", "show", "ipcach"]);
  assert.equal(code, 1);
  assert.match(err, /ipcache/);
});

test("status says that all is well", async () => {
  assert.match(await ok("status", "--wait"), /^Agent: +ready, pid \d+/);
  assert.equal(JSON.parse(await ok("status", "-o", "json")).ready, true);
});
