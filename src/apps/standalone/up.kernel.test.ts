// The supervisor as a person uses it: a whole node in a network namespace of its own.
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { resolve } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createAgentClient } from "#contracts/agent";
import { instancePaths } from "#core/runtime";

const launcher = resolve(import.meta.dirname, "../../../bin/tsilium");
const instance = `up-${process.pid}`;
const namespace = `tsilium-${instance}`;
const paths = instancePaths({ TSILIUM_INSTANCE: instance });
const inside = (...command: string[]) => [`--net=/run/netns/${namespace}`, "--", ...command];
const env = { ...process.env, TSILIUM_INSTANCE: instance, NO_COLOR: "1" };

interface Running {
  readonly process: ChildProcess;
  said(): string;
  until(text: string): Promise<void>;
  /** Exit code after a signal. */
  end(signal: NodeJS.Signals): Promise<number | null>;
}

const started: ChildProcess[] = [];
beforeEach(() => {
  execFileSync("ip", ["netns", "add", namespace]);
  execFileSync("ip", ["-n", namespace, "link", "set", "lo", "up"]);
});
afterEach(async () => {
  for (const child of started.splice(0)) if (child.exitCode === null) child.kill("SIGKILL");
  await sleep(200);
  execFileSync("nsenter", inside(launcher, "cleanup", "--objects"), { env, stdio: "ignore" });
  execFileSync("ip", ["netns", "delete", namespace]);
  rmSync(paths.runDir, { recursive: true, force: true });
});

function up(...args: string[]): Running {
  const child = spawn("nsenter", inside(launcher, "up", ...args), { env, stdio: ["ignore", "pipe", "pipe"] });
  started.push(child);
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (part: Buffer) => {
      said += part.toString();
    });
  }
  return {
    process: child,
    said: () => said,
    async until(text) {
      for (let i = 0; i < 600 && !said.includes(text) && child.exitCode === null; i++) await sleep(50);
      assert.ok(said.includes(text), `it did not say "${text}" but:\n${said}`);
    },
    async end(signal) {
      const closed = once(child, "close");
      child.kill(signal);
      await closed;
      return child.exitCode;
    },
  };
}

const traces = (): string[] => [
  ...[paths.runDir, paths.bpfDir].filter((path) => existsSync(path)),
  ...readdirSync("/run/netns").filter((name) => name.startsWith(`${paths.cgroup}_`)),
];

test("up tells what runs, heals a killed agent, and Ctrl-C leaves nothing behind", async () => {
  const node = up();
  await node.until("Ctrl-C stops");
  assert.match(node.said(), new RegExp(`API server +https://127.0.0.1:6443 .*${paths.stateDir}`));
  const client = createAgentClient(paths.agentSocket);
  try {
    const { pid } = await client.status();
    process.kill(pid, "SIGKILL");
    await node.until("the agent is back");
    assert.notEqual((await client.status()).pid, pid);
    await client.createWorkload({ name: "left", keep: true });
  } finally {
    client.close();
  }
  assert.equal(await node.end("SIGINT"), 0);
  assert.match(node.said(), /nothing is left behind/);
  assert.deepEqual(traces(), []);
});

test("a second up of the same instance is refused, with the pid of the first", async () => {
  const first = up();
  await first.until("Ctrl-C stops");
  const second = up();
  await once(second.process, "close");
  assert.equal(second.process.exitCode, 6, second.said());
  assert.match(second.said(), /agent is process \d+/);
  assert.equal(await first.end("SIGTERM"), 0);
});

test("a used port is named, and nothing is left behind", async () => {
  // In the node's namespace, so by another process than this one.
  const holder = spawn(
    "nsenter",
    inside(process.execPath, "-e", 'require("net").createServer().listen(6443,"127.0.0.1",()=>console.log("on"))'),
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  started.push(holder);
  await once(holder.stdout!, "data");
  const node = up();
  await once(node.process, "close");
  assert.equal(node.process.exitCode, 6, node.said());
  assert.match(node.said(), /port 6443 .* in use .*--api-port/);
  assert.deepEqual(traces(), []);
  assert.equal(existsSync(paths.stateDir), false);
});

test("a killed supervisor takes its programs along; the next one takes over what the kernel holds", async () => {
  const first = up();
  await first.until("Ctrl-C stops");
  const client = createAgentClient(paths.agentSocket);
  try {
    await client.createWorkload({ name: "stays", keep: true });
    await first.end("SIGKILL");
    for (let i = 0; i < 100 && existsSync(paths.agentSocket); i++) await sleep(50);
    const second = up();
    await second.until("Taken over");
    assert.deepEqual(
      (await client.workloads()).map(({ name }) => name),
      ["stays"],
    );
    assert.equal(await second.end("SIGINT"), 0);
  } finally {
    client.close();
  }
});

test("cleanup from outside ends the whole node", async () => {
  const node = up();
  await node.until("Ctrl-C stops");
  const closed = once(node.process, "close");
  execFileSync("nsenter", inside(launcher, "cleanup"), { env, stdio: "ignore" });
  await closed;
  assert.equal(node.process.exitCode, 0, node.said());
  assert.deepEqual(traces(), []);
});
