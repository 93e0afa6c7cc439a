/** How a command ends when it fails: one message for a person, one exit code for a script. */
import colours from "picocolors";
import { errorCode, errorMessage, proseColumns, TsiliumError, wrapProse } from "#core/runtime";
import { exitCodeFor } from "./exit-codes.ts";

/** A wrong command line. */
export function usageError(message: string): TsiliumError {
  return new TsiliumError("USAGE", message);
}

/** Throws NEEDS_ROOT unless the process runs as root. `purpose` completes "root is needed to ...". */
export function requireRoot(purpose: string): void {
  if (process.getuid?.() === 0) return;
  throw new TsiliumError("NEEDS_ROOT", `root is needed to ${purpose}; run the command with sudo`);
}

/** Prints an error to stderr and gives the exit code that goes with it. */
export function reportFailure(error: unknown): number {
  const code = errorCode(error);
  const say = (text: string): void => void process.stderr.write(`${wrapProse(text, proseColumns(process.stderr))}\n`);
  if (error instanceof TsiliumError) {
    const { problems } = error.details;
    say(`${colours.red("error:")} ${error.message}${colours.dim(` (${error.code})`)}`);
    if (Array.isArray(problems)) for (const problem of problems) say(`  ${String(problem)}`);
  } else if (code !== undefined) {
    say(`${colours.red("error:")} ${errorMessage(error)}${colours.dim(` (${code})`)}`);
  } else {
    say(`${colours.red("error:")} ${errorMessage(error)}`);
    const stack = error instanceof Error ? error.stack : undefined;
    process.stderr.write(colours.dim(`This is a fault of tsilium itself.\n${stack ?? ""}\n`));
  }
  if (process.env.TSILIUM_DEBUG !== undefined && error instanceof TsiliumError) {
    process.stderr.write(colours.dim(`${error.stack ?? ""}\n${JSON.stringify(error.details)}\n`));
  }
  return exitCodeFor(code);
}
