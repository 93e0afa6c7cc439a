/** `tsilium policy explain`: may A reach B, which rule says so, and what would have to be said instead. */
import colours from "picocolors";
import type { RuleRef } from "#control/policy";
import {
  type ExplainedConnection,
  explainConnection,
  findParty,
  formatConnection,
  type PaintExplanation,
  type Party,
  type World,
} from "#control/workbench";
import { judgeRequest } from "#proxy/policy";
import { ExitCode } from "../exit-codes.ts";
import { usageError } from "../failure.ts";
import { note, print, printStructured } from "../output.ts";
import { makeWorld, readMaterial } from "./material.ts";
import type { MaterialFlags } from "./material-flags.ts";
import { readIcmp, readPort, readRequest } from "./question.ts";

/** Flags of `policy explain`. */
export interface ExplainFlags extends MaterialFlags {
  readonly from: string;
  readonly to: string;
  readonly namespace: string;
  readonly port?: string;
  readonly icmp?: string | true;
  readonly http?: string;
  readonly header?: readonly string[];
  readonly output: "text" | "json" | "yaml";
}

/** Answers; the exit code is 0 whatever the verdict, since the question could be answered. */
export async function policyExplain(flags: ExplainFlags): Promise<number> {
  if ((flags.port === undefined) === (flags.icmp === undefined))
    throw usageError("say what is sent: either --port 80/tcp or --icmp");
  if (flags.http !== undefined && flags.port === undefined) throw usageError("--http goes with --port");
  const world = makeWorld(await readMaterial(flags));
  const from = party(world, flags.from, flags);
  const to = party(world, flags.to, flags);
  const transport = flags.port === undefined ? readIcmp(flags.icmp!, to) : readPort(flags.port, world, to);
  const request = flags.http === undefined ? {} : { request: readRequest(flags.http, flags.header) };
  const answer = explainConnection(world, { from, to, ...transport, ...request }, judgeRequest);
  if (flags.output !== "text") {
    await printStructured(flags.output, explanationValue(answer, world));
    return ExitCode.ok;
  }
  for (const { name, notes } of [from, to]) for (const text of notes) note(colours.dim(`${name}: ${text}`));
  print(formatConnection(answer, world, paint));
  return ExitCode.ok;
}

function party(world: World, text: string, { namespace }: ExplainFlags): Party {
  const found = findParty(world, text, namespace);
  if (typeof found === "string") throw usageError(found);
  return found;
}

const paint: PaintExplanation = (text, as) => {
  switch (as) {
    case "allowed":
      return colours.green(text);
    case "http":
      return colours.yellow(text);
    case "denied":
      return colours.red(text);
    case "heading":
      return colours.bold(text);
    case "place":
      return colours.blue(text);
    case "remedy":
      return colours.green(text);
  }
};

/** The answer for programs. */
function explanationValue({ question, outcome, directions }: ExplainedConnection, world: World): object {
  const { from, to, protocol, port, request } = question;
  const placed = (ref: RuleRef) => ({ ...ref, place: world.place(ref) });
  return {
    from: { kind: from.kind, name: from.name, notes: from.notes },
    to: { kind: to.kind, name: to.name, notes: to.notes },
    protocol,
    port,
    ...(request === undefined
      ? {}
      : { request: { method: request.method, target: request.target, host: request.host } }),
    verdict: outcome,
    directions: directions.map(
      ({ direction, subject, outcome: own, explanation, statements, request: judged, place, remedy }) => ({
        direction,
        subject: subject.name,
        verdict: own,
        reason: explanation.kind,
        match: explanation.decision.match,
        rules: explanation.kind === "decided" ? explanation.refs.map(placed) : [],
        ...(explanation.kind !== "default-deny"
          ? {}
          : {
              enforcedBy: explanation.enforcedBy.map(placed),
              nearest: explanation.nearest && {
                rule: placed(explanation.nearest.ref),
                mismatches: explanation.nearest.mismatches,
              },
            }),
        ...(judged === undefined ? {} : { http: judged }),
        ...(place === undefined ? {} : { judge: place }),
        statements: statements.map(({ ref, action, l7, mismatches }) => ({
          rule: placed(ref),
          action,
          l7,
          matches: mismatches.length === 0,
          mismatches,
        })),
        ...(remedy === undefined ? {} : { remedy: remedy.object }),
      }),
    ),
  };
}
