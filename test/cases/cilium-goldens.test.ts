/**
 * What each example policy that the Cilium project publishes means, in words: `cilium-goldens/*.txt`, read by people and held equal
 * here. With what Cilium 1.19 and 1.20 would make differently. TSILIUM_UPDATE=1 writes them anew.
 */
import assert from "node:assert/strict";
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { type Problem, parseManifests } from "#contracts/manifest";
import {
  ciliumVersions,
  compareWithCilium,
  describeRule,
  isPolicyKind,
  needsOf,
  type ParsedPolicy,
  parsePolicy,
} from "#control/policy";
import { checkRegex } from "./run-case.ts";

const examples = join(import.meta.dirname, "cilium-examples");
const goldens = join(import.meta.dirname, "cilium-goldens");
const goldenOf = (file: string) => join(goldens, file.replace(/\.yaml$/, ".txt"));
const update = process.env.TSILIUM_UPDATE === "1";

/** The explanation of a file: one part per policy in it. */
function explain(file: string): string {
  const parts: string[] = [];
  for (const { value } of parseManifests(readFileSync(join(examples, file), "utf8"))) {
    if (!isPolicyKind((value as { kind?: unknown }).kind)) continue;
    parts.push(explainPolicy(value, parsePolicy(value, { compileRegex: checkRegex })));
  }
  return parts.length === 0 ? "no policies\n" : parts.join("\n");
}

function explainPolicy(object: unknown, parsed: ParsedPolicy): string {
  const { kind, metadata } = object as { readonly kind: string; readonly metadata?: { readonly name?: string } };
  const lines = [`${kind} ${metadata?.name ?? "(without a name)"}: ${parsed.kind}`];
  const add = (title: string, items: readonly string[]) => {
    if (items.length > 0) lines.push(`  ${title}`, ...items.map((item) => `    ${item}`));
  };
  if (parsed.kind === "accepted") {
    add(
      "means",
      parsed.rules.flatMap((rule) => describeRule(rule)),
    );
    add("needs", [...new Set(needsOf(parsed.rules).map(({ capability }) => capability))]);
  }
  add("problems", parsed.problems.map(formatProblem));
  for (const version of ciliumVersions)
    add(`with Cilium ${version}`, compareWithCilium(object, version).map(formatProblem));
  return `${lines.join("\n")}\n`;
}

const formatProblem = ({ severity, path, code, message }: Problem) => `${severity} ${path || "."} ${code}: ${message}`;

const files = globSync("**/*.yaml", { cwd: examples }).sort();

for (const file of files)
  test(`${file} means what its golden says`, () => {
    const text = explain(file);
    if (update) {
      mkdirSync(dirname(goldenOf(file)), { recursive: true });
      writeFileSync(goldenOf(file), text);
    }
    assert.equal(readFileSync(goldenOf(file), "utf8"), text);
  });

test("no golden is left of an example that is gone", () => {
  const known = new Set(files.map(goldenOf));
  const left = globSync("**/*.txt", { cwd: goldens }).filter((name) => !known.has(join(goldens, name)));
  if (update) for (const name of left) rmSync(join(goldens, name));
  assert.deepEqual(update ? [] : left, []);
});
