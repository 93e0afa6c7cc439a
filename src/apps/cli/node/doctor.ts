/** `tsilium doctor`: the findings as a table. */
import colours from "picocolors";
import { diagnose, type Finding } from "#apps/doctor";
import { createAgentClient, type ForeignProgram } from "#contracts/agent";
import { errorCode, instancePaths, proseColumns } from "#core/runtime";
import { ExitCode } from "../exit-codes.ts";
import { type Column, formatTable, note, print, printProse, printStructured } from "../output.ts";

const mark = ({ state, required, group }: Finding): string => {
  if (state === "works") return colours.green("works");
  if (state === "untried") return colours.dim("untried");
  if (group === "limits") return colours.yellow("not met");
  return required ? colours.red("missing") : colours.yellow("missing");
};

const what: readonly Column<Finding>[] = [
  { title: "FEATURE", cell: ({ name }) => name },
  { title: "STATE", cell: mark },
  { title: "SINCE", cell: ({ since }) => since ?? "" },
];
const how: Column<Finding> = { title: "TRIED BY", cell: (finding) => colours.dim(finding.how) };
const found = (columns: number): Column<Finding> => ({
  title: "FOUND",
  cell: ({ detail = "" }) => detail.split("\n")[0]!.slice(0, columns),
});
const widest = 72;
/** Below this the table would break; how each thing was tried gives way then. */
const comfortable = 150;

/** What is found, as wide as there is room for; what is missing stands below the tables in full. */
function columnsFor(rows: readonly Finding[]): readonly Column<Finding>[] {
  const columns = proseColumns(process.stdout);
  if (columns === undefined || columns >= comfortable) return [...what, how, found(widest)];
  const taken = Math.max(...rows.map(({ name }) => name.length)) + "   missing   SINCE   ".length + 2;
  return [...what, found(Math.max(12, Math.min(widest, columns - taken)))];
}

const groups: Readonly<Record<Finding["group"], string>> = {
  machine: "Machine",
  kernel: "Kernel",
  network: "Networking",
  limits: "Settings and limits",
};

/** Prints what works and what does not. Exit code 0 if the base runs, 5 if not, 4 if only root could tell. */
export async function doctor(flags: { readonly output: "text" | "json" | "yaml" }): Promise<number> {
  const { baseRuns, findings } = await diagnose();
  const code = baseRuns === undefined ? ExitCode.needsRoot : baseRuns ? ExitCode.ok : ExitCode.kernelLacks;
  const foreignPrograms = await askAgent();
  if (flags.output !== "text") {
    await printStructured(flags.output, { baseRuns, findings, foreignPrograms });
    return code;
  }
  for (const [group, title] of Object.entries(groups)) {
    const rows = findings.filter((finding) => finding.group === group);
    if (rows.length > 0) print(`${colours.bold(title)}\n${indent(formatTable(columnsFor(rows), rows))}\n`);
  }
  const missing = findings.filter(({ state }) => state === "missing");
  if (missing.length > 0) {
    print(colours.bold("What is missing, and what that costs"));
    for (const one of missing)
      printProse(`  ${one.name}: ${one.cost}${one.detail === undefined ? "" : `\n    ${colours.dim(one.detail)}`}`);
    print("");
  }
  if (foreignPrograms.length > 0) {
    print(colours.bold("Programs of others on our hooks"));
    for (const { device, hook, name, programId, before } of foreignPrograms) {
      const cost = before
        ? "it sees packets before ours does, and what it accepts no policy judges; remove it there"
        : "it sees only packets that ours leaves to it";
      print(
        `  ${device} ${hook}: ${name} (program ${programId})\n    ${before ? colours.red(cost) : colours.dim(cost)}`,
      );
    }
    print("");
  }
  if (baseRuns === undefined)
    note(`${colours.yellow("?")} only root can tell whether tsilium runs here: sudo tsilium doctor`);
  else if (baseRuns) note(`${colours.green("✓")} tsilium runs here`);
  else note(`${colours.red("✗")} tsilium does not run here, see above`);
  return code;
}

/** What only the running agent can tell, because it knows its own programs; nothing without one. */
async function askAgent(): Promise<readonly ForeignProgram[]> {
  const client = createAgentClient(instancePaths().agentSocket);
  try {
    return (await client.status()).foreignPrograms;
  } catch (error) {
    if (["AGENT_NOT_RUNNING", "AGENT_FORBIDDEN"].includes(errorCode(error) ?? "")) return [];
    throw error;
  } finally {
    client.close();
  }
}

const indent = (text: string): string => text.replaceAll(/^/gm, "  ");
