/** `tsilium policy simulate` and `policy diff`: who reaches whom, and what another set of policies would change. */

import colours from "picocolors";
import { readWorldObjects } from "#apps/library";
import { readSources } from "#contracts/manifest";
import {
  createMatrix,
  diffWorlds,
  formatMatrixPage,
  formatPortClass,
  joinWorlds,
  type WorldDiff,
} from "#control/workbench";
import { TsiliumError } from "#core/runtime";
import { ExitCode } from "../exit-codes.ts";
import { usageError } from "../failure.ts";
import { note, print, printStructured } from "../output.ts";
import { makeWorld, readMaterial } from "./material.ts";
import { asksForMaterial, type MaterialFlags } from "./material-flags.ts";
import { formatMatrix, matrixValue } from "./matrix-text.ts";

/** How matrices are printed. */
export type MatrixFormat = "text" | "json" | "yaml" | "html";

const terminalWidth = (): number => process.stdout.columns ?? 120;

/** Prints the reachability matrix. */
export async function policySimulate(flags: MaterialFlags & { readonly output: MatrixFormat }): Promise<number> {
  const world = makeWorld(await readMaterial(flags));
  if (world.groups.length === 0) throw noWorkloads();
  const [matrix] = joinWorlds([createMatrix(world)]);
  if (flags.output === "html") print(formatMatrixPage({ title: "Who reaches whom", world, matrix: matrix! }));
  else if (flags.output === "text") print(formatMatrix(matrix!, terminalWidth()));
  else await printStructured(flags.output, matrixValue(matrix!, world));
  return ExitCode.ok;
}

/** Flags of `policy diff`. */
export interface DiffFlags extends MaterialFlags {
  readonly output: MatrixFormat;
  readonly failOn?: "gain" | "loss" | "any";
}

/**
 * Compares. With two paths: the one with the other, what -f and --live give being common to both. With one: what -f and --live
 * give, with the same and the path on top. Exit code 1 if there is a change of the kind that `failOn` names.
 */
export async function policyDiff(paths: readonly string[], flags: DiffFlags): Promise<number> {
  const hasBase = asksForMaterial(flags);
  if (paths.length > 2) throw usageError("diff takes OLD and NEW; more files go behind -f");
  if (paths.length === 1 && !hasBase)
    throw usageError("diff takes OLD and NEW, or one of them and -f or --live for what it comes on top of");
  const base = hasBase ? await readMaterial(flags) : [];
  const read = async (path: string) => [...base, ...readWorldObjects(await readSources([path]))];
  const [before, after] =
    paths.length === 1 ? [base, await read(paths[0]!)] : [await read(paths[0]!), await read(paths[1]!)];
  const diff = diffWorlds(before, after, makeWorld);
  if (diff.after.groups.length === 0 && diff.before.groups.length === 0) throw noWorkloads();
  if (flags.output === "text") printDiff(diff);
  else if (flags.output === "html")
    print(
      formatMatrixPage({
        title: paths.length === 1 ? `What ${paths[0]} changes` : `${paths[0]} → ${paths[1]}`,
        world: diff.after,
        matrix: diff.new,
        before: diff.old,
        sentences: diff.sentences,
      }),
    );
  else
    await printStructured(flags.output, {
      appeared: diff.appeared,
      vanished: diff.vanished,
      sentences: diff.sentences,
      changes: diff.changes.map(({ port, ...change }) => ({ ...change, port: formatPortClass(port) })),
    });
  const failing = diff.changes.some(({ kind }) => flags.failOn === "any" || kind === flags.failOn);
  return failing ? ExitCode.failed : ExitCode.ok;
}

function printDiff({ old, new: now, sentences, appeared, vanished }: WorldDiff): void {
  for (const name of appeared) print(`${colours.cyan("new:")} workload ${name}`);
  for (const name of vanished) print(`${colours.cyan("gone:")} workload ${name}`);
  for (const { kind, text } of sentences)
    print(kind === "gain" ? `${colours.green("+")} ${text}` : `${colours.red("-")} ${text}`);
  if (sentences.length === 0) note("no difference: every connection is judged as before");
  else print(`\n${formatMatrix(now, terminalWidth(), old)}`);
}

function noWorkloads(): TsiliumError {
  return new TsiliumError(
    "NO_WORKLOADS",
    "there is no workload to judge: name manifests that hold Pods or Deployments with -f, or ask the API server with --live",
  );
}
