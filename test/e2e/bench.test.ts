/** `tsilium bench latency` on a node: every way is measured, the picture is drawn, nothing stays. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { TestNode } from "./node.ts";

interface Report {
  readonly measured: readonly {
    readonly name: string;
    readonly connections: number;
    readonly requestsPerSecond: number;
    readonly latencyUs: Readonly<Record<string, number>>;
  }[];
}

describe("tsilium bench latency", () => {
  let node: TestNode;
  const directory = mkdtempSync(join(tmpdir(), "tsilium-test-"));
  before(async () => {
    node = await TestNode.start();
  });
  after(async () => {
    await node.close();
    rmSync(directory, { recursive: true });
  });

  test("measures every way, draws them and removes what it made", async () => {
    const page = join(directory, "latency.html");
    const flags = ["--seconds", "1", "--rounds", "1", "--connections", "1,4"];
    const report = JSON.parse(node.cli(["bench", "latency", ...flags, "-o", "json", "--html", page])) as Report;
    const ways = report.measured.filter(({ connections }) => connections === 4).map(({ name }) => name);
    assert.deepEqual(ways.slice(0, 4), ["direct", "socket redirect", "tsilium, in the kernel", "tsilium, proxy"]);
    for (const { name, requestsPerSecond, latencyUs } of report.measured) {
      assert.ok(requestsPerSecond > 50, `${name}: ${requestsPerSecond} requests/s`);
      assert.ok(latencyUs["50"]! > 0 && latencyUs["50"]! <= latencyUs["99.9"]!, name);
    }
    assert.match(readFileSync(page, "utf8"), /<svg[\s\S]*tsilium, in the kernel p99.9: [0-9.]+ µs/);
    assert.equal(await node.object("Namespace", "tsilium-bench", undefined), undefined);
    assert.deepEqual(
      (await node.client.workloads()).map(({ name }) => name),
      [],
    );
  });

  test("says what is wrong with its flags", () => {
    assert.throws(() => node.cli(["bench", "latency", "--connections", "0"]), /whole number from 1 to 1000/);
  });
});
