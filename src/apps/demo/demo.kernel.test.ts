// The demo is a test: its exit code says whether every result was as told.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { instancePaths } from "#core/runtime";

const launcher = resolve(import.meta.dirname, "../../../bin/tsilium");

test("demo --once tells the whole story as told, and leaves nothing behind", () => {
  const env = { ...process.env, TSILIUM_INSTANCE: `demo-${process.pid}` };
  const paths = instancePaths(env);
  const { status, stdout, stderr } = spawnSync(launcher, ["demo", "--once"], {
    env,
    encoding: "utf8",
    timeout: 120_000,
  });
  assert.equal(status, 0, stdout + stderr);
  assert.match(stdout, /everything came as told/);
  for (const path of [paths.runDir, paths.stateDir, paths.bpfDir, `/run/netns/${paths.cgroup}`]) {
    assert.equal(existsSync(path), false, `${path} is left`);
  }
});

test("a second demo of the same name is refused and leaves the first alone; a killed demo takes its node along", async () => {
  const env = { ...process.env, TSILIUM_INSTANCE: `demo2-${process.pid}` };
  const paths = instancePaths(env);
  const first = spawn(launcher, ["demo", "--no-pause"], { env, stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  first.stdout.on("data", (part: Buffer) => {
    said += part.toString();
  });
  const until = async (what: string, holds: () => boolean): Promise<void> => {
    for (let i = 0; i < 600 && !holds(); i++) await sleep(50);
    assert.ok(holds(), `${what}\n${said}`);
  };
  try {
    await until("the first demo has a node", () => said.includes("is running on"));
    const second = spawnSync(launcher, ["demo", "--once"], { env, encoding: "utf8", timeout: 60_000 });
    assert.equal(second.status, 6, second.stdout + second.stderr);
    assert.match(second.stderr, /is running already/);
    await until("the first demo goes on", () => said.includes("Your turn"));
    first.kill("SIGKILL");
    await until("its node has gone", () => !existsSync(paths.runDir));
  } finally {
    first.kill("SIGKILL");
    // What only the demo itself removes.
    spawnSync(launcher, ["cleanup", "--objects"], { env });
    spawnSync("ip", ["netns", "delete", paths.cgroup]);
  }
});
