/** `tsilium policy get`: the policies as the agent took them, with problems and subjects. */
import colours from "picocolors";
import type { PolicyView } from "#contracts/agent";
import { ExitCode } from "../exit-codes.ts";
import { withAgent } from "../inspect/endpoint.ts";
import { type Column, type ListFormat, note, print, printList } from "../output.ts";

const state = ({ state: value }: PolicyView): string =>
  value === "valid" ? colours.green(value) : value === "refused" ? colours.red(value) : colours.yellow(value);

const columns: readonly Column<PolicyView>[] = [
  { title: "KIND", cell: ({ kind }) => kind },
  { title: "NAMESPACE", cell: ({ namespace }) => namespace || "-" },
  { title: "NAME", cell: ({ name }) => name },
  { title: "STATE", cell: state },
  {
    title: "MODE",
    cell: ({ mode, auditUntil }) => (mode === "staged" && auditUntil ? `staged until ${auditUntil}` : mode),
  },
  { title: "SELECTS", cell: ({ selects }) => selects.map(({ pod }) => pod).join(",") || "no endpoint" },
  { title: "VERSION", wide: true, cell: ({ resourceVersion }) => resourceVersion },
];

/** All policies, or one by name. Exit code 1 if the named one is not there. */
export function getPolicies(
  name: string | undefined,
  flags: { readonly namespace?: string; readonly output: ListFormat },
): Promise<number> {
  return withAgent(async (agent) => {
    const wanted = (await agent.policies()).filter(
      (one) =>
        (name === undefined || one.name === name) &&
        (flags.namespace === undefined || one.namespace === "" || one.namespace === flags.namespace),
    );
    if (name !== undefined && wanted.length === 0) {
      note(`${colours.red("error:")} the agent knows no policy ${name}; \`tsilium policy get\` lists those it knows`);
      return ExitCode.failed;
    }
    await printList(flags.output, columns, wanted, { none: "no policy: every endpoint may talk to every other" });
    if (flags.output === "table" || flags.output === "wide") {
      for (const { name: policy, problems } of wanted) {
        for (const { path, message, hint } of problems) {
          print(`${colours.bold(policy)} ${path}: ${message}${hint === undefined ? "" : ` (${hint})`}`);
        }
      }
    }
    return ExitCode.ok;
  });
}
