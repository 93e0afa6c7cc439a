/** Every example policy that the Cilium project publishes: accepted, or refused for a field that Cilium itself has removed; with what it takes to enforce it. */
import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { test } from "node:test";
import { parseManifests } from "#contracts/manifest";
import { type Capability, createPolicyEngine, isPolicyKind, needsOf, parsePolicy } from "#control/policy";
import { checkRegex } from "./run-case.ts";

const folder = join(import.meta.dirname, "cilium-examples");

/** Why an example is refused: the last step of each path with an error. All others must be accepted. */
const refused: Readonly<Record<string, readonly string[]>> = {
  "auth/auth.yaml": ["auth"],
  "l3/requires/requires.yaml": ["fromRequires"],
};

/** What an accepted example needs that not every node has. */
const needed: Readonly<Record<string, readonly Capability[]>> = {
  "host/allow-extended-protocols.yaml": ["node-policies", "extended-protocols"],
  "host/demo-host-policy.yaml": ["node-policies"],
  "host/lock-down-dev-vms-remote-node.yaml": ["node-policies"],
  "host/lock-down-gke.yaml": ["node-policies"],
  "host/lock-down-ingress.yaml": ["node-policies"],
  "l3/entities/customnodes.yaml": ["node-peers"],
  "l3/fqdn/fqdn.yaml": ["dns", "fqdn-peers"],
  "l3/service/service.yaml": ["services"],
  "l4/l4_sni.yaml": ["server-names"],
  "l7/dns/dns-upgrade.yaml": ["dns", "fqdn-peers"],
  "l7/dns/dns-visibility.yaml": ["dns", "fqdn-peers"],
  "l7/dns/dns.yaml": ["dns", "fqdn-peers"],
};

const files = globSync("**/*.yaml", { cwd: folder }).sort();

test("the examples are all here", () => assert.ok(files.length >= 45, `${files.length}`));

for (const file of files)
  test(`${file} is ${refused[file] ? `refused because of ${[...new Set(refused[file])].join(", ")}` : "accepted"}`, () => {
    const problems: { path: string; code: string; message: string }[] = [];
    const needs = new Set<Capability>();
    for (const manifest of parseManifests(readFileSync(join(folder, file), "utf8"))) {
      assert.deepEqual(manifest.problems, []);
      if (!isPolicyKind((manifest.value as { kind?: unknown }).kind)) continue;
      const parsed = parsePolicy(manifest.value, { compileRegex: checkRegex });
      problems.push(...parsed.problems.filter((problem) => problem.severity === "error"));
      if (parsed.kind === "refused") continue;
      createPolicyEngine().upsertRules(relative(".", file), parsed.rules);
      for (const { capability } of needsOf(parsed.rules)) needs.add(capability);
    }
    assert.deepEqual(
      problems.map(({ path }) => path.split(".").at(-1)),
      refused[file] ?? [],
    );
    assert.deepEqual([...needs], needed[file] ?? []);
  });
