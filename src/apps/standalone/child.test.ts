import assert from "node:assert/strict";
import { test } from "node:test";
import { TsiliumError } from "#core/runtime";
import { type Child, createChild } from "./child.ts";

interface Seen {
  readonly logs: string[];
  readonly deaths: string[];
  readonly recoveries: number[];
}

function shellChild(script: string, more: { readonly readyTimeoutMs?: number } = {}): { child: Child; seen: Seen } {
  const seen: Seen = { logs: [], deaths: [], recoveries: [] };
  const child = createChild({
    name: "thing",
    command: "sh",
    args: ["-c", script],
    env: process.env,
    readyTimeoutMs: more.readyTimeoutMs ?? 5000,
    firstPauseMs: 10,
    maxPauseMs: 100,
    onEnd: () => seen.deaths.push("ended in order"),
    onLog: (_, line) => seen.logs.push(line),
    onDeath: (_, how) => seen.deaths.push(how),
    onRecovered: (_, { pid }) => seen.recoveries.push(Number(pid)),
  });
  return { child, seen };
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.ok(condition(), "the condition has not come true within 5 s");
}

const serving = 'echo "{\\"ready\\":true,\\"pid\\":$$}"; exec sleep 60';

test("a child is ready when it says so, and stop ends it", async () => {
  const { child, seen } = shellChild(`echo hello >&2; ${serving}`);
  const ready = await child.start();
  assert.equal(ready.pid, child.pid);
  await child.stop(1000);
  assert.equal(child.pid, undefined);
  assert.deepEqual(seen, { logs: ["hello"], deaths: [], recoveries: [] });
});

test("a killed child is started again", async () => {
  const { child, seen } = shellChild(serving);
  const ready = await child.start();
  process.kill(Number(ready.pid), "SIGKILL");
  await until(() => seen.recoveries.length === 1);
  assert.deepEqual(seen.deaths, ["was killed by SIGKILL"]);
  assert.notEqual(seen.recoveries[0], ready.pid);
  await child.stop(1000);
});

test("arguments that a child does not take are told in its words, without its usage", async () => {
  const { child } = shellChild("echo '--port is \"x\"' >&2; echo 'usage: thing' >&2; exit 2");
  await assert.rejects(child.start(), { code: "BAD_ARGUMENT", message: '--port is "x"' });
});

test("a child that ends before it is ready rejects with its own error and is not started again", async () => {
  const line = '{"level":"error","code":"PORT_IN_USE","msg":"port 6443 is used"}';
  const { child, seen } = shellChild(`echo '${line}' >&2; exit 6`);
  await assert.rejects(child.start(), (error: unknown) => {
    assert.ok(error instanceof TsiliumError);
    assert.equal(error.code, "PORT_IN_USE");
    assert.equal(error.message, "port 6443 is used");
    assert.equal(error.details.exitCode, 6);
    return true;
  });
  assert.deepEqual(seen.deaths, []);
});

test("a child that can't be started rejects", async () => {
  const { child } = shellChild("exit 0");
  await assert.rejects(child.start(), { code: "CHILD_FAILED" });
});

test("a child that ends in order is not started again", async () => {
  const { child, seen } = shellChild('echo "{\\"ready\\":true}"; exit 0');
  await child.start();
  await until(() => seen.deaths.length > 0);
  assert.deepEqual(seen, { logs: [], deaths: ["ended in order"], recoveries: [] });
});

test("a child that is never ready is killed", async () => {
  const { child } = shellChild("exec sleep 60", { readyTimeoutMs: 100 });
  await assert.rejects(child.start(), { code: "CHILD_NOT_READY" });
  await until(() => child.pid === undefined);
});

test("a child that ignores SIGTERM is killed after the grace time", async () => {
  const { child } = shellChild('trap "" TERM; echo "{\\"ready\\":true}"; while :; do sleep 1; done');
  await child.start();
  await child.stop(50);
  assert.equal(child.pid, undefined);
});

test("a child that is expected to end is not started again", async () => {
  const { child, seen } = shellChild('echo "{\\"ready\\":true}"; exec sleep 0.1');
  await child.start();
  assert.equal(await child.expectEnd(3000), true);
  assert.deepEqual(seen.deaths, []);
});
