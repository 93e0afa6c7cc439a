/** YAML and policy parser: whatever the text, nothing is thrown, every problem has a place and words, what is accepted can be enforced. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { formatProblems, parseManifests } from "#contracts/manifest";
import { createPolicyEngine, describeRule, parsePolicy, repairPolicy } from "#control/policy";
import { Random } from "#control/policy/testing";
import { createLabels, type NumericIdentity, parseLabel } from "#core/model";
import { parseCaseFile } from "../cases/case-file.ts";
import { checkRegex } from "../cases/run-case.ts";
import type { FuzzTarget } from "./main.ts";

const cases = join(import.meta.dirname, "../cases");
const tokens = [
  ..."{}[]:,-&*!|>'\"%@`#?~ \n\t\u00a0\u0000\u2028".split(""),
  ..."null true false 0 -1 1e999 99999 0x10 65536 6581-6586 <<: &a *a !!binary --- ... __proto__ constructor".split(
    " ",
  ),
  ..."spec specs ingress egress ingressDeny endpointSelector nodeSelector matchLabels matchExpressions fromEndpoints toCIDRSet".split(
    " ",
  ),
  ..."toPorts ports port endPort protocol rules http path method headers icmps fields type family except cidr".split(
    " ",
  ),
];

/** Texts to start from: all cases and examples. */
function corpus(): string[] {
  const examples = globSync("{seed,cilium-examples}/**/*.yaml", { cwd: cases }).map((file) =>
    readFileSync(join(cases, file), "utf8"),
  );
  const policies = globSync("policy/*.txtar", { cwd: cases }).map(
    (file) => parseCaseFile(readFileSync(join(cases, file), "utf8")).policy,
  );
  return [...examples, ...policies].filter((text) => text.length > 0);
}

function mutate(random: Random, text: string, texts: readonly string[]): string {
  let out = text;
  for (let n = 1 + random.below(4); n > 0; n--) {
    const at = random.below(out.length + 1);
    const lines = out.split("\n");
    const line = random.below(lines.length);
    switch (random.below(8)) {
      case 0:
        out = out.slice(0, at) + random.pick(tokens) + out.slice(at);
        break;
      case 1:
        out = out.slice(0, at) + out.slice(at + 1 + random.below(10));
        break;
      case 2:
        out = lines.toSpliced(line, 1).join("\n");
        break;
      case 3:
        out = lines.toSpliced(random.below(lines.length), 0, lines[line]!).join("\n");
        break;
      case 4:
        out = lines.with(line, `${" ".repeat(random.below(5))}${lines[line]!.trimStart()}`).join("\n");
        break;
      case 5:
        out = lines.with(line, lines[line]!.replace(/:.*/, `: ${random.pick(tokens)}`)).join("\n");
        break;
      case 6:
        out = lines.with(line, random.pick(random.pick(texts).split("\n"))).join("\n");
        break;
      default:
        out = out.replaceAll(random.pick(tokens), random.pick(tokens)).slice(0, 20_000);
    }
  }
  return out;
}

function check(text: string): void {
  for (const manifest of parseManifests(text, { file: "fuzz.yaml" })) {
    const parsed = manifest.value === undefined ? undefined : parsePolicy(manifest.value, { compileRegex: checkRegex });
    const problems = [...manifest.problems, ...manifest.locateProblems(parsed?.problems ?? [])];
    for (const problem of problems) {
      if (typeof problem.path !== "string" || !problem.message || !problem.code)
        throw new Error(`a problem says nothing: ${JSON.stringify(problem)}`);
      if (!(problem.line! >= 1) || !(problem.column! >= 1))
        throw new Error(`a problem has no place: ${JSON.stringify(problem)}`);
    }
    formatProblems(problems, new Map([["fuzz.yaml", text]]));
    if (parsed === undefined) continue;
    const hasErrors = parsed.problems.some((problem) => problem.severity === "error");
    if (hasErrors !== (parsed.kind === "refused")) throw new Error("refused without an error, or accepted with one");
    if (parsed.kind === "accepted") {
      const engine = createPolicyEngine();
      const id = 256 as NumericIdentity;
      engine.upsertIdentity({
        id,
        labels: createLabels([parseLabel("k8s:io.kubernetes.pod.namespace=default"), parseLabel("k8s:app=server")]),
      });
      engine.addSubject(id);
      engine.upsertRules("fuzz", parsed.rules);
      engine.flush();
      for (const rule of parsed.rules) describeRule(rule);
    } else {
      const repair = repairPolicy(manifest.value, { compileRegex: checkRegex });
      // What is proposed is read as written: the text says the same as the object.
      if (repair && JSON.stringify(parseManifests(repair.yaml)[0]?.value) !== JSON.stringify(repair.object))
        throw new Error(`the repair's text differs from its object:\n${repair.yaml}`);
    }
  }
}

/** Mutates the policies of the cases and examples. */
export const fuzz: FuzzTarget = {
  name: "policy",
  run({ seconds, seed }) {
    const random = new Random(seed);
    const texts = corpus();
    const end = performance.now() + seconds * 1000;
    let inputs = 0;
    while (performance.now() < end) {
      const text = mutate(random, random.pick(texts), texts);
      inputs++;
      try {
        check(text);
      } catch (error) {
        throw new Error(`input ${inputs} breaks a property:\n${text}`, { cause: error });
      }
    }
    return inputs;
  },
};
