/** `tsilium policy replay`: recorded flows against policies, and every flow whose verdict would change. */
import colours from "picocolors";
import { createReplay, type FlowChange, type ReplayResult } from "#control/replay";
import { judgeRequest } from "#proxy/policy";
import { ExitCode } from "../exit-codes.ts";
import { type Column, formatTable, note, print, printStructured } from "../output.ts";
import { makeWorld, readMaterial } from "./material.ts";
import type { MaterialFlags } from "./material-flags.ts";
import { openRecording, type RecordingFlags } from "./recording.ts";

/** Flags of `policy replay`. */
export interface ReplayFlags extends MaterialFlags, RecordingFlags {
  readonly output: "text" | "table" | "json" | "yaml";
  readonly failOn?: "gain" | "loss" | "any";
}

/** Replays. Exit code 1 if there is a change of the kind that `failOn` names. */
export async function policyReplay(paths: readonly string[], flags: ReplayFlags): Promise<number> {
  const material = await readMaterial(flags);
  const { clusterName, lines } = await openRecording(paths, flags);
  const world = makeWorld(material, clusterName === undefined ? {} : { clusterName });
  const replay = createReplay(world, { judge: judgeRequest });
  for await (const line of lines) replay.addLine(line);
  const result = replay.result();
  if (flags.output === "json" || flags.output === "yaml") await printStructured(flags.output, replayValue(result));
  else {
    if (result.changes.length > 0)
      print(
        flags.output === "table" ? formatTable(columns, result.changes) : result.changes.map(formatChange).join("\n"),
      );
    note(summary(result));
  }
  const failing = result.changes.some(({ kind }) => flags.failOn === "any" || kind === flags.failOn);
  return failing ? ExitCode.failed : ExitCode.ok;
}

const flowsOf = (count: number) => `${count} ${count === 1 ? "flow" : "flows"}`;
const time = (ms: number | undefined) => (ms === undefined ? undefined : new Date(ms).toISOString());

function span({ firstMs, lastMs }: FlowChange): string {
  const [first, last] = [firstMs, lastMs].map((ms) => time(ms)?.replace(/\.\d+Z$/, "Z"));
  if (first === undefined) return "";
  return first === last ? `, ${first}` : `, ${first} to ${last}`;
}

/** One change, and why: `- shop/report loses shop/db tcp/5432`. */
export function formatChange(change: FlowChange): string {
  const { kind, from, to, port, request, count, before, after, direction } = change;
  const sign = kind === "gain" ? colours.green("+") : colours.red("-");
  const what = `${to} ${port}${request === undefined ? "" : ` ${request}`}`;
  const was = before.rules.length === 0 ? "" : ` by ${before.rules.join(", ")}`;
  return [
    `${sign} ${from} ${kind === "gain" ? "gains" : "loses"} ${what}  ${colours.dim(`(${flowsOf(count)}${span(change)})`)}`,
    `    was ${before.verdict}${was}`,
    `    would be ${after.verdict}, ${direction} of ${direction === "egress" ? from : to}:`,
    ...after.reasons.map((reason) => `      ${reason}`),
  ].join("\n");
}

const columns: readonly Column<FlowChange>[] = [
  { title: "CHANGE", cell: ({ kind }) => (kind === "gain" ? colours.green(kind) : colours.red(kind)) },
  { title: "FROM", cell: ({ from }) => from },
  { title: "TO", cell: ({ to }) => to },
  { title: "PORT", cell: ({ port }) => port },
  { title: "REQUEST", cell: ({ request }) => request ?? "-" },
  { title: "FLOWS", cell: ({ count }) => String(count) },
  { title: "BEFORE", cell: ({ before }) => before.rules[0] ?? before.verdict },
  { title: "AFTER", cell: ({ after }) => after.reasons[0] ?? after.verdict },
];

/** The end of the report: how much was judged, and what was not, with reasons. */
function summary({ flows, judged, changed, unlisted, unjudged }: ReplayResult): string {
  const head =
    changed === 0
      ? `no change: ${judged} of ${flowsOf(flows)} judged`
      : `${changed} of ${flowsOf(judged)} would change; ${flowsOf(flows)} read`;
  const more = unlisted === 0 ? [] : [`${flowsOf(unlisted)} of other kinds would change, too, and are not listed`];
  return [head, ...more, ...unjudged.map(({ count, text }) => `  ${count} not judged: ${text}`)].join("\n");
}

function replayValue({ changes, ...counts }: ReplayResult): object {
  return {
    ...counts,
    changes: changes.map(({ firstMs, lastMs, ...change }) => ({
      ...change,
      ...(firstMs === undefined ? {} : { first: time(firstMs) }),
      ...(lastMs === undefined ? {} : { last: time(lastMs) }),
    })),
  };
}
