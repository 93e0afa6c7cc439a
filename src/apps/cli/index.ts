/**
 * The command line: a thin client of the agent's local API and of the API server, and the offline policy check.
 * @module
 */
import { CommanderError } from "commander";
import { ExitCode } from "./exit-codes.ts";
import { reportFailure } from "./failure.ts";
import { createProgram } from "./program.ts";

export { ExitCode, exitCodeMeanings } from "./exit-codes.ts";
export { createProgram } from "./program.ts";

/**
 * Runs one command line (without node and script) and yields its exit code; never throws. Codes: see `exitCodeMeanings`.
 * The caller sets process.exitCode, so that output is flushed.
 */
export async function runCli(argv: readonly string[]): Promise<number> {
  // `tsilium get pods | head` closes our stdout early: that is the reader's right, not a failure.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(ExitCode.ok);
    throw error;
  });
  let code: number = ExitCode.ok;
  const program = createProgram((exitCode) => {
    code = exitCode;
  });
  if (argv[0] === "observe")
    // @ts-expect-error
    (await import("./observe/index.ts")).registerObserve(program);
  for (const command of [program, ...allCommands(program)]) command.exitOverride();
  try {
    await program.parseAsync(argv, { from: "user" });
    return code;
  } catch (error) {
    // commander has printed what is wrong; help and version are no failures.
    if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.ok : ExitCode.usage;
    return reportFailure(error);
  }
}

function allCommands(command: ReturnType<typeof createProgram>): ReturnType<typeof createProgram>[] {
  return command.commands.flatMap((sub) => [sub, ...allCommands(sub)]);
}
