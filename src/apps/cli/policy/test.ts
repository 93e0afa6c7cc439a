/** `tsilium policy test`: expectations about policies, from YAML files and from programs that use node:test. */
import { relative } from "node:path";
import colours from "picocolors";
import { readWorldObjects, runPolicyTests, type TestRun } from "#apps/library";
import { formatProblems, readSources } from "#contracts/manifest";
import { type CaseResult, formatJunit, formatTap } from "#control/testkit";
import { ExitCode } from "../exit-codes.ts";
import { usageError } from "../failure.ts";
import { note, print, printProse, printStructured } from "../output.ts";
import { readMaterial } from "./material.ts";
import { asksForMaterial, type MaterialFlags } from "./material-flags.ts";

/** Flags of `policy test`. */
export interface TestFlags extends MaterialFlags {
  readonly output: "text" | "tap" | "junit" | "json" | "yaml";
}

/** Runs. Exit code 1 if a test fails or a file can't be understood; a run without a test is a wrong command line. */
export async function policyTest(paths: readonly string[], flags: TestFlags): Promise<number> {
  const { filename = [], ...server } = flags;
  const below = asksForMaterial(server) ? await readMaterial(server) : [];
  const run = await runPolicyTests(paths, { below, above: readWorldObjects(await readSources(filename)) });
  const results = run.results.map((one) => ({ ...one, file: shown(one.file) }));
  if (run.problems.length > 0)
    printProse(formatProblems(run.problems, new Map(run.sources.map(({ file, text }) => [file, text]))));
  else if (results.length === 0) throw usageError(`there is no test in ${paths.join(", ")}`);
  await printResults(results, run, flags.output);
  return run.problems.length > 0 || results.some(({ ok }) => !ok) ? ExitCode.failed : ExitCode.ok;
}

/** Paths below the working directory as people write them. */
function shown(file: string): string {
  const path = file.startsWith("/") ? relative(process.cwd(), file) : file;
  return path.startsWith("..") ? file : path;
}

async function printResults(results: readonly CaseResult[], run: TestRun, output: TestFlags["output"]): Promise<void> {
  switch (output) {
    case "tap":
      return print(formatTap(results));
    case "junit":
      return print(formatJunit(results));
    case "json":
    case "yaml":
      return printStructured(output, { ok: results.every(({ ok }) => ok), results, problems: run.problems });
    case "text": {
      for (const one of results) print(formatResult(one));
      const failed = results.filter(({ ok }) => !ok).length;
      const count = `${results.length} ${results.length === 1 ? "test" : "tests"}`;
      note(failed === 0 ? `${colours.green("ok:")} ${count}` : `${colours.red("failed:")} ${failed} of ${count}`);
    }
  }
}

function formatResult({ ok, name, file, line, message }: CaseResult): string {
  if (ok) return `${colours.green("✔")} ${name}`;
  const text = (message ?? "").trimEnd().replaceAll(/^(?=.)/gm, "    ");
  return `${colours.red("✖")} ${name} ${colours.blue(`(${file}:${line})`)}\n${text}`;
}
