import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { resolve } from "node:path";
import { test } from "node:test";
import { openKernel } from "#datapath/linux";
import { testKernelHttp } from "./index.ts";

const objects = resolve(import.meta.dirname, "../../../build/bpf");
const traces = () => [
  ...openKernel()
    .netns.list()
    .filter((name) => name.startsWith(`tslself-${process.pid}`)),
  ...readdirSync("/sys/fs/bpf").filter((name) => name.startsWith(`tslself-${process.pid}`)),
];

test("this kernel passes, twice in a row, and nothing is left behind", async (t) => {
  for (let i = 0; i < 2; i++) {
    const { problem, tookMs } = await testKernelHttp(openKernel(), objects);
    t.diagnostic(`${tookMs} ms`);
    assert.equal(problem, undefined);
    assert.deepEqual(traces(), []);
  }
});

test("what can't be tried is a problem, with its reason", async () => {
  const { problem } = await testKernelHttp(openKernel(), "/nowhere");
  assert.match(problem ?? "", /open the BPF object \/nowhere/);
  assert.deepEqual(traces(), []);
});
