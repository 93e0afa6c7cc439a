/** `tsilium policy check`: what is wrong with policies, found by the engine that fills the kernel's maps; offline, without root. */
import colours from "picocolors";
import { stringify } from "yaml";
import { isWorkloadKind, podTemplatePaths } from "#contracts/kube";
import { formatProblems, type Paint, type Problem, readSources, type Source } from "#contracts/manifest";
import {
  type CiliumVersion,
  compareWithCilium,
  isPolicyKind,
  lintLabels,
  type ParseOptions,
  parsePolicy,
  repairPolicy,
} from "#control/policy";
import type { WorldObject } from "#control/workbench";
import { ExitCode } from "../exit-codes.ts";
import { findDuplicates, readObjects, type WrittenObject } from "../objects/manifests.ts";
import { note, print, printProse, printStructured } from "../output.ts";
import { asksForMaterial, type MaterialFlags } from "./material-flags.ts";
import { sarifLog } from "./sarif.ts";

/** What checking a set of sources has shown. */
export interface CheckResult {
  /** Objects without errors, of whatever kind. */
  readonly objects: readonly WrittenObject[];
  /** How many of all objects are policies, good and bad ones. */
  readonly policies: number;
  readonly problems: readonly Problem[];
  readonly refused: readonly RefusedPolicy[];
}

/** A policy with errors. */
export interface RefusedPolicy {
  readonly file: string;
  readonly name: string;
  /** What a cluster that does not check would have made of it. */
  readonly effect?: string;
  /** What was probably meant, as YAML; the engine accepts it. */
  readonly repaired?: string;
}

/**
 * Checks every object of the sources; of other kinds than policies only the envelope. `together`: all will be sent to one
 * server, so that a name in two files is an error. Kinds that are `passedOver` are no problem.
 */
export async function checkSources(
  sources: readonly Source[],
  together = false,
  passedOver?: (kind: unknown) => boolean,
): Promise<CheckResult> {
  const compile = await regexChecker(sources);
  const written = readObjects(sources, passedOver);
  const problems: Problem[] = [...written.problems, ...findDuplicates(written.objects, together ? "error" : "warning")];
  const objects: WrittenObject[] = [];
  const refused: RefusedPolicy[] = [];
  let policies = 0;
  for (const one of written.objects) {
    if (!isPolicyKind(one.resource.kind)) {
      objects.push(one);
      continue;
    }
    policies++;
    const parsed = parsePolicy(one.object, compile);
    const findings = parsed.kind === "accepted" ? lintLabels(parsed.rules) : [];
    problems.push(...located(one, [...parsed.problems, ...findings]));
    if (parsed.kind === "accepted") objects.push(one);
    const broken = parsed.kind === "refused" || one.manifest.problems.some(({ severity }) => severity === "error");
    if (!broken) continue;
    // Accepted, but not as it stands in the file: what is wrong there is how it is written, not what it says.
    const repaired =
      parsed.kind === "accepted" ? stringify(one.object, { lineWidth: 0 }) : repairPolicy(one.object, compile)?.yaml;
    refused.push({
      file: one.file,
      name: one.object.metadata.name ?? "",
      ...(parsed.kind === "refused" && parsed.effect !== undefined ? { effect: parsed.effect } : {}),
      ...(repaired === undefined ? {} : { repaired }),
    });
  }
  return { objects, policies, problems: inReadingOrder(problems, sources), refused };
}

/**
 * What the accepted policies do less than they seem to, among the workloads that `material` and the sources hold; nothing
 * without workloads.
 */
export async function lintSources(
  { objects }: CheckResult,
  sources: readonly Source[],
  material: readonly WorldObject[],
): Promise<Problem[]> {
  // Nothing can be said without workloads, and most files hold none: then the workbench is not even loaded.
  if (material.length === 0 && !sources.some(({ text }) => podKinds.test(text))) return [];
  const { createWorld, lintPolicy } = await import("#control/workbench");
  const { readWorldObjects } = await import("#apps/library");
  const world = createWorld([...material, ...readWorldObjects(sources, "skip")], await regexChecker(sources));
  const problems = objects
    .filter(({ resource }) => isPolicyKind(resource.kind))
    .flatMap((one) => {
      const { name, namespace = "default" } = one.object.metadata;
      const policy = world.policies.find(
        ({ ref }) => ref.kind === one.resource.kind && ref.name === name && (ref.namespace ?? namespace) === namespace,
      );
      return policy === undefined ? [] : located(one, lintPolicy(world, policy));
    });
  return inReadingOrder(problems, sources);
}

/** What plain Cilium would refuse, ignore or read differently; also of policies that are refused here. */
function compareSources(sources: readonly Source[], version: CiliumVersion): Problem[] {
  return readObjects(sources, isWorkloadKind).objects.flatMap((one) =>
    isPolicyKind(one.resource.kind) ? located(one, compareWithCilium(one.object, version)) : [],
  );
}

const podKinds = new RegExp(`\\b(Pod|${Object.keys(podTemplatePaths).join("|")})\\b`);

/** The judgement of the proxy on regexes; its engine takes its time to load, and only HTTP rules hold any. */
async function regexChecker(sources: readonly Source[]): Promise<Pick<ParseOptions, "compileRegex">> {
  if (!sources.some(({ text }) => /\b(method|path|host|http)\b/.test(text))) return {};
  return { compileRegex: (await import("#proxy/policy")).checkRegex };
}

/** Problems of an object, with file, line and column. */
function located({ manifest, root }: WrittenObject, problems: readonly Problem[]): Problem[] {
  return manifest.locateProblems(problems.map((each) => ({ ...each, path: below(root, each.path) })));
}

function below(root: string, path: string): string {
  if (root === "") return path;
  return path === "" || path.startsWith("[") ? `${root}${path}` : `${root}.${path}`;
}

function inReadingOrder(problems: readonly Problem[], sources: readonly Source[]): Problem[] {
  const place = new Map(sources.map(({ file }, i) => [file, i]));
  return problems.toSorted(
    (a, b) =>
      (place.get(a.file ?? "") ?? 0) - (place.get(b.file ?? "") ?? 0) ||
      (a.line ?? 0) - (b.line ?? 0) ||
      (a.column ?? 0) - (b.column ?? 0),
  );
}

const paint: Paint = (text, as) => {
  if (as === "error") return colours.bold(colours.red(text));
  if (as === "warning") return colours.bold(colours.yellow(text));
  if (as === "info") return colours.bold(colours.cyan(text));
  return as === "hint" ? colours.green(text) : colours.blue(text);
};

/** Problems with excerpts of their sources, and what refused policies would have done. */
export function formatCheck(result: CheckResult, sources: readonly Source[]): string {
  const text = formatProblems(result.problems, new Map(sources.map(({ file, text }) => [file, text])), paint);
  const refused = result.refused.flatMap(({ name, effect, repaired }) => [
    effect === undefined
      ? ""
      : `${colours.bold(`What ${name} would have done where nobody checks`)}\n${indent(effect)}\n`,
    repaired === undefined
      ? ""
      : `${colours.bold(`What ${name} was probably meant to be`)} ${colours.dim("(read it before you use it)")}\n${colours.green(indent(repaired))}`,
  ]);
  return [text, ...refused].filter((part) => part !== "").join("\n");
}

const indent = (text: string): string => text.replaceAll(/^(?=.)/gm, "  ");

/** Whether anything was refused. */
export function hasErrors({ problems }: CheckResult): boolean {
  return problems.some(({ severity }) => severity === "error");
}

/** Flags of `policy check`. */
export interface CheckFlags extends MaterialFlags {
  readonly output: "text" | "json" | "yaml" | "github" | "sarif" | "repaired";
  /** Also: what plain Cilium of this version would make of them. */
  readonly target?: CiliumVersion;
}

/** `policy check`. Exit code 1 if there is an error; warnings alone don't fail. */
export async function policyCheck(paths: readonly string[], flags: CheckFlags): Promise<number> {
  const sources = await readSources(paths);
  const checked = await checkSources(sources, false, isWorkloadKind);
  const asksForMore = asksForMaterial(flags);
  const material = asksForMore ? await (await import("./material.ts")).readMaterial(flags) : [];
  const findings = await lintSources(checked, sources, material);
  const foreign = flags.target === undefined ? [] : compareSources(sources, flags.target);
  const result = { ...checked, problems: inReadingOrder([...checked.problems, ...findings, ...foreign], sources) };
  const failed = hasErrors(result);
  if (flags.output === "github") {
    for (const each of result.problems) print(githubAnnotation(each));
  } else if (flags.output === "sarif") {
    await printStructured("json", sarifLog(result.problems));
  } else if (flags.output === "repaired") {
    print(result.refused.flatMap(({ repaired }) => repaired ?? []).join("---\n"));
  } else if (flags.output === "text") {
    const text = formatCheck(result, sources);
    if (text !== "") printProse(text);
    note(summary(result, sources.length));
  } else {
    const { problems, refused, policies } = result;
    await printStructured(flags.output, { ok: !failed, files: sources.length, policies, problems, refused });
  }
  return failed ? ExitCode.failed : ExitCode.ok;
}

function summary({ problems, policies }: CheckResult, files: number): string {
  const count = (n: number, one: string, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;
  const errors = problems.filter(({ severity }) => severity === "error").length;
  const warnings = problems.filter(({ severity }) => severity === "warning").length;
  const checked = `${count(policies, "policy", "policies")} in ${count(files, "file")}`;
  if (errors === 0 && warnings === 0) return `${colours.green("ok:")} ${checked}`;
  const found = [errors > 0 ? count(errors, "error") : "", warnings > 0 ? count(warnings, "warning") : ""];
  const mark = errors > 0 ? colours.red("refused:") : colours.yellow("ok, but:");
  return `${mark} ${found.filter(Boolean).join(", ")}; ${checked}`;
}

/** A workflow command of GitHub Actions, which marks the place in the pull request. */
function githubAnnotation(problem: Problem): string {
  const level = problem.severity === "info" ? "notice" : problem.severity;
  // Source of the escapes: docs.github.com, "Workflow commands for GitHub Actions".
  const value = (text: string) => text.replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
  const property = (text: string) => value(text).replaceAll(":", "%3A").replaceAll(",", "%2C");
  const properties = Object.entries({
    file: problem.file,
    line: problem.line,
    col: problem.column,
    title: problem.code,
  })
    .filter(([, each]) => each !== undefined)
    .map(([name, each]) => `${name}=${property(String(each))}`);
  const path = problem.path === "" ? "" : `${problem.path}: `;
  return `::${level} ${properties.join(",")}::${value(`${path}${problem.message}${problem.hint === "" ? "" : ` (hint: ${problem.hint})`}`)}`;
}
