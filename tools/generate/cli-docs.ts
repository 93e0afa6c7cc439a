/** The manual pages that would drift if people wrote them: commands, exit codes, error codes. */
import { glob, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Command, Option } from "commander";
import { buildProgram, exitCodeFor, exitCodeMeanings } from "#apps/cli";
import type { Generator } from "./generator.ts";

const written = (source: string) => `<!-- Written by \`npm run generate\` from ${source}; edit that instead. -->\n`;

/** docs/reference: cli.md and exit-codes.md from the command tree, errors.md from every place that throws. */
export function cliDocsGenerator({ root }: { readonly root: string }): Generator {
  return {
    name: "command line",
    async generate() {
      const program = await buildProgram(() => undefined);
      return new Map([
        ["docs/reference/cli.md", commandPage(program)],
        ["docs/reference/exit-codes.md", exitCodePage()],
        ["docs/reference/errors.md", errorPage(await thrownCodes(root))],
      ]);
    },
  };
}

const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("\n", " ");
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => "---"), ...rows].map((row) => `| ${row.map(cell).join(" | ")} |`).join("\n");

function commandPage(program: Command): string {
  const leaves = commandsBelow(program, []);
  const contents = leaves.map(({ path, command }) => {
    const title = path.join(" ");
    return [`[\`${title}\`](#${title.replaceAll(" ", "-")})`, command.description()] as const;
  });
  return [
    `${written("src/apps/cli/program.ts")}# The command line`,
    "`tsilium --help` and `tsilium COMMAND --help` say the same on the terminal. Lists are printed as a table, `-o wide`, `-o json` or\n`-o yaml`. What exit codes mean: [exit-codes.md](exit-codes.md); error codes: [errors.md](errors.md).",
    table(["command", "does"], contents),
    ...leaves.map(({ path, command }) => section(path, command)),
  ]
    .join("\n\n")
    .concat("\n");
}

interface Leaf {
  readonly path: readonly string[];
  readonly command: Command;
}

function commandsBelow(command: Command, path: readonly string[]): Leaf[] {
  return command.commands.flatMap((sub) => {
    const below = [...path, sub.name()];
    return sub.commands.length > 0 ? commandsBelow(sub, below) : [{ path: below, command: sub }];
  });
}

function section(path: readonly string[], command: Command): string {
  const parts = [`## ${path.join(" ")}`, `\`\`\`text\ntsilium ${path.join(" ")} ${command.usage()}\n\`\`\``];
  parts.push(`${capitalised(command.description())}.`);
  if (command.registeredArguments.length > 0) {
    const rows = command.registeredArguments.map((argument) => {
      const name = `${argument.name()}${argument.variadic ? "..." : ""}`;
      return [`\`${argument.required ? `<${name}>` : `[${name}]`}\``, argument.description];
    });
    parts.push(table(["argument", "meaning"], rows));
  }
  const options = command.options.filter((option) => !option.hidden);
  if (options.length > 0) {
    parts.push(table(["flag", "meaning", "default"], options.map(optionRow)));
  }
  return parts.join("\n\n");
}

function optionRow(option: Option): readonly string[] {
  const choices = option.argChoices === undefined ? "" : ` (${option.argChoices.join(", ")})`;
  const needed = option.mandatory ? "; must be given" : "";
  // Of `--no-x` the default is true, which says nothing to a reader.
  const value =
    option.negate || option.defaultValue === undefined
      ? ""
      : String(option.defaultValueDescription ?? option.defaultValue);
  return [`\`${option.flags}\``, `${option.description}${choices}${needed}`, value];
}

const capitalised = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

function exitCodePage(): string {
  return [
    `${written("src/apps/cli/exit-codes.ts")}# Exit codes`,
    "Every command ends with one of these. `run` and `exec` pass the command's own code on; what 125 to 127 mean there is what `env`,\n`timeout` and `docker run` mean by them.",
    table(
      ["code", "meaning"],
      exitCodeMeanings.map(([code, meaning]) => [String(code), meaning]),
    ),
  ]
    .join("\n\n")
    .concat("\n");
}

interface Thrown {
  readonly code: string;
  /** `band/module` that throws it. */
  readonly modules: ReadonlySet<string>;
  readonly message: string;
}

/** Finds every `new TsiliumError("CODE", message` in the sources. */
async function thrownCodes(root: string): Promise<readonly Thrown[]> {
  const found = new Map<string, { modules: Set<string>; message: string }>();
  const thrown = /new (?:TsiliumError|KernelError)\(\s*"([A-Z][A-Z0-9_]+)",\s*(`(?:[^`\\]|\\.)*`|"(?:[^"\\]|\\.)*")?/g;
  const files: string[] = [];
  for await (const file of glob("src/**/*.ts", { cwd: root })) files.push(file);
  for (const file of files.sort()) {
    if (/\.test\.ts$|testing\.ts$|\/generated\//.test(file)) continue;
    for (const [, code, message] of (await readFile(join(root, file), "utf8")).matchAll(thrown)) {
      const entry = found.get(code!) ?? { modules: new Set<string>(), message: "" };
      entry.modules.add(file.split("/").slice(1, 3).join("/"));
      if (entry.message === "" && message !== undefined) entry.message = readable(message);
      found.set(code!, entry);
    }
  }
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([code, entry]) => ({ code, ...entry }));
}

/** A message as it stands in the source, with `…` for what is filled in. Nested templates end up as one `…`. */
function readable(literal: string): string {
  let text = literal.slice(1, -1);
  for (let before = ""; before !== text; ) {
    before = text;
    text = text.replaceAll(/\$\{[^{}]*\}/g, "…");
  }
  return text
    .replaceAll(/\$\{.*$/gs, "…")
    .replaceAll("\\`", "`")
    .replaceAll(/\\n/g, " ");
}

function errorPage(codes: readonly Thrown[]): string {
  return [
    `${written("every place in src/ that throws")}# Error codes`,
    "A failure is reported as `error: MESSAGE (CODE)`. The message says what failed, on what, why and what to do next; the code never\nchanges. In the agent's API the same two stand in the JSON of a refusal. `TSILIUM_DEBUG=1` adds details and the stack.\nWhat is wrong with a policy is no failure in this sense: `tsilium policy check` lists problems, each with its place.",
    table(
      ["code", "says", "from", "exit code"],
      codes.map(({ code, message, modules }) => [
        `\`${code}\``,
        message,
        [...modules].join(", "),
        String(exitCodeFor(code)),
      ]),
    ),
  ]
    .join("\n\n")
    .concat("\n");
}
