// The demo is a test: its exit code says whether every result was as told.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { test } from "node:test";
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
