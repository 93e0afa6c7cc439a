/** Every example policy that the Cilium project publishes: accepted, or refused for a named field that this version does not enforce. */
import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { test } from "node:test";
import { parseManifests } from "#contracts/manifest";
import { createPolicyEngine, isPolicyKind, parsePolicy } from "#control/policy";
import { checkRegex } from "./run-case.ts";

const folder = join(import.meta.dirname, "cilium-examples");

/** Why an example is refused: the last step of each path with an error. All others must be accepted. */
const refused: Readonly<Record<string, readonly string[]>> = {
  "auth/auth.yaml": ["auth"],
  "host/allow-extended-protocols.yaml": [
    "nodeSelector",
    "protocol",
    "protocol",
    "protocol",
    "protocol",
    "protocol",
    "protocol",
  ],
  "host/demo-host-policy.yaml": ["nodeSelector"],
  "host/lock-down-dev-vms-remote-node.yaml": ["nodeSelector"],
  "host/lock-down-gke.yaml": ["nodeSelector"],
  "host/lock-down-ingress.yaml": ["nodeSelector"],
  "l3/entities/customnodes.yaml": ["fromNodes"],
  "l3/fqdn/fqdn.yaml": ["dns", "toFQDNs"],
  "l3/requires/requires.yaml": ["fromRequires"],
  "l3/service/service.yaml": ["toServices"],
  "l4/l4_sni.yaml": ["serverNames"],
  "l7/dns/dns-upgrade.yaml": ["dns", "toFQDNs"],
  "l7/dns/dns-visibility.yaml": ["dns", "toFQDNs"],
  "l7/dns/dns.yaml": ["dns", "toFQDNs"],
};

const files = globSync("**/*.yaml", { cwd: folder }).sort();

test("the examples are all here", () => assert.ok(files.length >= 45, `${files.length}`));

for (const file of files)
  test(`${file} is ${refused[file] ? `refused because of ${[...new Set(refused[file])].join(", ")}` : "accepted"}`, () => {
    const problems: { path: string; code: string; message: string }[] = [];
    for (const manifest of parseManifests(readFileSync(join(folder, file), "utf8"))) {
      assert.deepEqual(manifest.problems, []);
      if (!isPolicyKind((manifest.value as { kind?: unknown }).kind)) continue;
      const parsed = parsePolicy(manifest.value, { compileRegex: checkRegex });
      problems.push(...parsed.problems.filter((problem) => problem.severity === "error"));
      if (parsed.kind === "accepted") createPolicyEngine().upsertRules(relative(".", file), parsed.rules);
    }
    assert.deepEqual(
      problems.map(({ path }) => path.split(".").at(-1)),
      refused[file] ?? [],
    );
    for (const { code, message, path } of problems)
      if (code === "unsupported-field") assert.match(message, /not enforced by this version|does not enforce/, path);
  });
