import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";

test("output larger than a pipe arrives whole, also at a reader that takes its time", () => {
  const policy = (name: string) => `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: ${name}, namespace: default}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress: [{toPorts: [{ports: [{port: "99999"}]}]}]
`;
  const input = Array.from({ length: 400 }, (_, i) => policy(`p${i}`)).join("---\n");
  const launcher = join(import.meta.dirname, "../../bin/tsilium");
  const { stdout } = spawnSync("sh", ["-c", `${launcher} policy check - -o json | (sleep 0.5; cat)`], {
    input,
    encoding: "utf8",
  });
  assert.ok(stdout.length > 131_072, `${stdout.length} bytes`);
  assert.doesNotThrow(() => JSON.parse(stdout));
});
