/** Problems for people: message, place, the line itself with a caret, what to do. */
import type { Problem, Severity } from "./problem.ts";

/** Paints a piece of text; the identity where there are no colours. */
export type Paint = (text: string, as: Severity | "place" | "hint") => string;

/**
 * Renders problems as text, each like
 *
 *     error[unknown-field]: unknown field "portt", nearest known: "port"
 *       --> policy.yaml:14:11  spec.ingress[0].toPorts[0].ports[0].portt
 *        |
 *     14 |         - portt: "80"
 *        |           ^^^^^
 *        = hint: write "port"
 *
 * Give `sources` (file name -> text; "" for problems without a file) to get the excerpts.
 */
export function formatProblems(
  problems: readonly Problem[],
  sources: ReadonlyMap<string, string> = new Map(),
  paint: Paint = (text) => text,
): string {
  return problems.map((problem) => formatProblem(problem, sources.get(problem.file ?? ""), paint)).join("\n");
}

function formatProblem(problem: Problem, source: string | undefined, paint: Paint): string {
  const out = [`${paint(`${problem.severity}[${problem.code}]`, problem.severity)}: ${problem.message}`];
  const { line, column } = problem;
  const place = [problem.file, line, column].filter((part) => part !== undefined).join(":");
  const where = [place, problem.path].filter((part) => part !== "").join("  ");
  const margin = " ".repeat(String(line ?? "").length);
  if (where !== "") out.push(`${margin}${paint("-->", "place")} ${where}`);
  const text = line === undefined ? undefined : source?.split("\n")[line - 1];
  if (text !== undefined && line !== undefined && column !== undefined) {
    const excerpt = text.replaceAll("\t", " ").trimEnd();
    const carets = "^".repeat(Math.max(1, Math.min(problem.length ?? 1, excerpt.length - column + 1)));
    out.push(`${margin} ${paint("|", "place")}`);
    out.push(`${paint(`${line} |`, "place")} ${excerpt}`);
    out.push(`${margin} ${paint("|", "place")} ${" ".repeat(column - 1)}${paint(carets, problem.severity)}`);
  }
  if (problem.hint !== "") out.push(`${margin} ${paint("=", "place")} ${paint("hint", "hint")}: ${problem.hint}`);
  return `${out.join("\n")}\n`;
}
