/** Runs test files of policies: expectations as YAML, and programs that use node:test. */
import { dirname, resolve } from "node:path";
import { type Problem, parseManifests, readSources, type Source } from "#contracts/manifest";
import { type CaseResult, parseTestFile, runTests } from "#control/testkit";
import type { WorldObject } from "#control/workbench";
import { judgeRequest } from "#proxy/policy";
import { makeWholeWorld, readWorldObjects } from "./objects.ts";

/** What became of a run. Files with problems are not run. */
export interface TestRun {
  readonly results: readonly CaseResult[];
  readonly problems: readonly Problem[];
  /** The texts of files with problems, for excerpts. */
  readonly sources: readonly Source[];
}

/** Whether a file is one of the test files that {@link runPolicyTests} runs as a program. */
export function isTestFile(path: string): boolean {
  return /\.[cm]?[jt]s$/.test(path);
}

/**
 * Runs files in the order given. What YAML files name comes on top of `below`, and below `above`: the later of two objects of one name
 * counts. Throws FILE_UNREADABLE, MANIFEST_UNREADABLE and POLICY_REFUSED for the manifests of a test file.
 */
export async function runPolicyTests(
  paths: readonly string[],
  { below = [], above = [] }: { readonly below?: readonly WorldObject[]; readonly above?: readonly WorldObject[] } = {},
): Promise<TestRun> {
  const results: CaseResult[] = [];
  const problems: Problem[] = [];
  const sources: Source[] = [];
  const programs = paths.filter(isTestFile);
  for (const source of await readSources(paths.filter((path) => !isTestFile(path)))) {
    const run = await runYaml(source, below, above);
    results.push(...run.results);
    problems.push(...run.problems);
    if (run.problems.length > 0) sources.push(source);
  }
  if (programs.length > 0) results.push(...(await runPrograms(programs)));
  return { results, problems, sources };
}

async function runYaml(
  source: Source,
  below: readonly WorldObject[],
  above: readonly WorldObject[],
): Promise<Omit<TestRun, "sources">> {
  const { file } = source;
  const results: CaseResult[] = [];
  const problems: Problem[] = [];
  for (const manifest of parseManifests(source.text, { file })) {
    const parsed = manifest.value === undefined ? { problems: [] } : parseTestFile(manifest.value);
    const found = [...manifest.problems, ...manifest.locateProblems(parsed.problems)];
    problems.push(...found);
    if (found.length > 0 || parsed.file === undefined) continue;
    const base = file === "<stdin>" ? "." : dirname(file);
    const paths = parsed.file.manifests.map((path) => resolve(base, path));
    const world = makeWholeWorld([...below, ...readWorldObjects(await readSources(paths)), ...above]);
    results.push(...runTests(world, parsed.file, judgeRequest, file, (path) => manifest.locate(path).line));
  }
  return { results, problems };
}

async function runPrograms(files: readonly string[]): Promise<CaseResult[]> {
  const { run } = await import("node:test");
  const results: CaseResult[] = [];
  const stream = run({ files: files.map((file) => resolve(file)), isolation: "none", concurrency: false });
  for await (const { type, data } of stream) {
    if (type !== "test:pass" && type !== "test:fail") continue;
    // A suite is as good as its tests, which come by themselves.
    if (data.details.type === "suite") continue;
    const error = type === "test:fail" ? data.details.error : undefined;
    const cause = error?.cause instanceof Error ? error.cause : error;
    results.push({
      file: data.file ?? files[0]!,
      line: data.line ?? 1,
      name: data.name,
      ok: type === "test:pass",
      durationMs: data.details.duration_ms,
      ...(cause === undefined ? {} : { message: cause.message }),
    });
  }
  return results;
}
