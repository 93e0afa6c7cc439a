/** Matrices on the terminal: a table where it fits, otherwise a list by destination. */
import colours from "picocolors";
import { formatRuleRef } from "#control/policy";
import {
  type Cell,
  decidingRules,
  describeCell,
  formatPortClass,
  type Matrix,
  type Reach,
  requestsOf,
  type World,
} from "#control/workbench";
import { protocolName } from "#core/model";
import { formatTable } from "../output.ts";

/** The text of a cell; `old` is what it was in a comparison. */
type CellText = (cell: readonly Reach[], old: Cell) => string;

const showReach: CellText = (cell) => {
  const text = describeCell(cell);
  if (text === "") return colours.red("–");
  if (text === "all") return colours.green(text);
  return text.includes("(HTTP)") ? colours.yellow(text) : text;
};

/** Only what differs: `+5432/TCP`, `-80/TCP`, `~9000/TCP` for other requests. */
const showChange: CellText = (cell, old) => {
  const before = new Map(old?.map((reach) => [formatPortClass(reach.port), reach]));
  const rank = { denied: 0, http: 1, allowed: 2 };
  const parts = cell.flatMap((reach) => {
    const name = formatPortClass(reach.port);
    const was = before.get(name);
    if (was === undefined) return [];
    const by = rank[reach.outcome] - rank[was.outcome];
    if (by === 0 && (reach.outcome !== "http" || requestsOf(was).join() === requestsOf(reach).join())) return [];
    return [by === 0 ? colours.yellow(`~${name}`) : by > 0 ? colours.green(`+${name}`) : colours.red(`-${name}`)];
  });
  const all = parts.length === cell.length && parts.length > 1;
  if (all && parts.every((part) => part.includes("+"))) return colours.green("+all");
  if (all && parts.every((part) => part.includes("-"))) return colours.red("-all");
  return parts.length === 0 ? colours.dim("=") : parts.join(" ");
};

/** The matrix for people; with `old`, what changed in it. */
export function formatMatrix(matrix: Matrix, width: number, old?: Matrix): string {
  const show = old === undefined ? showReach : showChange;
  const { parties, cells } = matrix;
  const text = (i: number, j: number): string => {
    const cell = cells[i]![j];
    const before = old?.cells[i]?.[j];
    return cell === undefined || (old !== undefined && before === undefined) ? colours.dim("·") : show(cell, before);
  };
  const columns = [
    { title: "FROM \\ TO", cell: (i: number) => colours.bold(parties[i]!.name) },
    ...parties.map(({ name }, j) => ({ title: name, cell: (i: number) => text(i, j) })),
  ];
  const table = formatTable(
    columns,
    parties.map((_, i) => i),
  );
  if (Math.max(...table.split("\n").map(visibleWidth)) <= width) return table;
  return formatList(matrix, text, old !== undefined);
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what a colour code is made of
const visibleWidth = (line: string): number => line.replaceAll(/\u001b\[[0-9;]*m/g, "").length;

/** By destination; sources of which the same holds stand on one line. */
function formatList({ parties, cells }: Matrix, text: (i: number, j: number) => string, isDiff: boolean): string {
  const out: string[] = [];
  for (const [j, to] of parties.entries()) {
    const sources = new Map<string, string[]>();
    for (const [i, from] of parties.entries()) {
      const what = text(i, j);
      if (cells[i]![j] === undefined || (isDiff && what === colours.dim("="))) continue;
      sources.set(what, [...(sources.get(what) ?? []), from.name]);
    }
    if (sources.size === 0) continue;
    out.push(colours.bold(`to ${to.name}`));
    for (const [what, names] of sources) out.push(`  ${what}  ${colours.dim("from")} ${names.join(", ")}`);
  }
  return out.join("\n");
}

/** The matrix for programs: one item per pair and class of ports. */
export function matrixValue({ parties, cells }: Matrix, world: World): object {
  return {
    parties: parties.map(({ kind, name, namespace, members }) => ({ kind, name, namespace, members })),
    reach: cells.flatMap((row, i) =>
      row.flatMap((cell, j) =>
        (cell ?? []).map((reach) => ({
          from: parties[i]!.name,
          to: parties[j]!.name,
          protocol: protocolName(reach.port.protocol),
          ports: reach.port.others ? "other" : { first: reach.port.first, last: reach.port.last },
          verdict: reach.outcome,
          ...(reach.outcome === "http" ? { requests: requestsOf(reach) } : {}),
          rules: reach.directions.flatMap((direction) =>
            decidingRules(direction).map((ref) => ({
              direction: direction.direction,
              rule: formatRuleRef(ref),
              place: world.place(ref),
            })),
          ),
        })),
      ),
    ),
  };
}
