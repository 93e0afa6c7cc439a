/**
 * The command line: a thin client of the agent's local API and of the API server, and the offline policy check.
 * @module
 */
import { type Command, CommanderError } from "commander";
import { ExitCode } from "./exit-codes.ts";
import { reportFailure } from "./failure.ts";
import { createProgram, type Finish } from "./program.ts";

export { ExitCode, exitCodeFor, exitCodeMeanings } from "./exit-codes.ts";

/**
 * Runs one command line (without node and script) and yields its exit code; never throws. Codes: see `exitCodeMeanings`.
 * The caller sets process.exitCode, so that output is flushed.
 */
export async function runCli(argv: readonly string[]): Promise<number> {
  // `tsilium get pods | head` closes our stdout early: that is the reader's right, not a failure. A node goes on without readers.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
      if (argv[0] !== "up") process.exit(ExitCode.ok);
    });
  }
  let code: number = ExitCode.ok;
  const finish: Finish = (exitCode) => {
    code = exitCode;
  };
  try {
    // Known from everywhere; it is a command here, with formats.
    if (argv[0] === "--version" || argv[0] === "-V") return await runCli(["version", ...argv.slice(1)]);
    const program = await programFor(argv[0] ?? "", finish);
    for (const command of withSubcommands(program)) command.exitOverride();
    await program.parseAsync(argv, { from: "user" });
    return code;
  } catch (error) {
    // commander has printed what is wrong; help and version are no failures.
    if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.ok : ExitCode.usage;
    return reportFailure(error);
  }
}

/** The tree without the command for flows, whose messages take longer to load than most commands to run; the whole tree where it may be meant. */
async function programFor(name: string, finish: Finish): Promise<Command> {
  const program = createProgram(finish);
  const isKnown = program.commands.some((command) => command.name() === name && name !== "completion");
  return isKnown ? program : buildProgram(finish);
}

/** The whole command tree, as docs/reference/cli.md shows it. `finish` gets the exit code of the command that ran. */
export async function buildProgram(finish: Finish): Promise<Command> {
  const { registerObserve } = await import("./observe/index.ts");
  return createProgram(finish, registerObserve);
}

function withSubcommands(command: Command): Command[] {
  return [command, ...command.commands.flatMap(withSubcommands)];
}
