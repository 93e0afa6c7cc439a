/** `tsilium policy check --fix`: broken policies as they were probably meant, in the words and with the comments of their files. */
import { writeFile } from "node:fs/promises";
import colours from "picocolors";
import { isWorkloadKind } from "#contracts/kube";
import { readSources, rewriteManifests, type Source } from "#contracts/manifest";
import { isPolicyKind, repairPolicy } from "#control/policy";
import { TsiliumError } from "#core/runtime";
import { checkRegex } from "#proxy/policy";
import { ExitCode } from "../exit-codes.ts";
import { note, print } from "../output.ts";
import { checkSources, hasErrors } from "./check.ts";
import { unifiedDiff } from "./text-diff.ts";

/** The source with every policy repaired that can be; the same text if there is nothing to repair. */
export function fixSource({ file, text }: Source): Source {
  return { file, text: rewriteManifests(text, fixDocument) };
}

function fixDocument(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  const { kind, items } = value as { readonly kind?: unknown; readonly items?: unknown };
  if (kind === "List" && Array.isArray(items)) {
    const fixed = items.map(fixDocument);
    return fixed.every((item, i) => item === items[i]) ? value : { ...value, items: fixed };
  }
  return isPolicyKind(kind) ? (repairPolicy(value, { compileRegex: checkRegex })?.object ?? value) : value;
}

/** Shows what would change; with `write` changes the files. Exit code 1 if errors remain. */
export async function policyFix(paths: readonly string[], write: boolean): Promise<number> {
  const sources = await readSources(paths);
  const fixed = sources.map(fixSource);
  let changed = 0;
  for (const [i, { file, text }] of fixed.entries()) {
    const before = sources[i]!.text;
    if (text === before) continue;
    changed++;
    if (write && file !== "<stdin>") {
      await writeFile(file, text).catch((cause: unknown) => {
        throw new TsiliumError("FILE_UNWRITABLE", `can't write ${file}; it is as it was`, { cause, details: { file } });
      });
      note(`${colours.green("fixed:")} ${file}`);
    } else print(write ? text : paintDiff(unifiedDiff(file, before, text)));
  }
  const left = hasErrors(await checkSources(fixed, false, isWorkloadKind));
  if (changed === 0) note("nothing to fix");
  else if (!write) note("nothing was written: read it, then add --write");
  if (left)
    note(`${colours.red("refused:")} errors remain that need a decision of yours; see \`tsilium policy check\``);
  return left ? ExitCode.failed : ExitCode.ok;
}

function paintDiff(text: string): string {
  return text.replaceAll(/^[-+@].*$/gm, (line) =>
    line.startsWith("-") ? colours.red(line) : line.startsWith("+") ? colours.green(line) : colours.cyan(line),
  );
}
