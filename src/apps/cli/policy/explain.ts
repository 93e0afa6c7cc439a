/** `tsilium policy explain`: may A reach B, which rule says so, and what would have to be said instead. */
import colours from "picocolors";
import { formatRuleRef, formatTransport, type RuleRef } from "#control/policy";
import {
  type ExplainedConnection,
  type ExplainedDirection,
  explainConnection,
  findParty,
  type Outcome,
  type Party,
  type World,
} from "#control/workbench";
import { ExitCode } from "../exit-codes.ts";
import { usageError } from "../failure.ts";
import { note, print, printStructured } from "../output.ts";
import { judgeRequest } from "./http-judge.ts";
import { type MaterialFlags, makeWorld, readMaterial } from "./material.ts";
import { parseIcmp, parseRequest, parseTransport } from "./question.ts";

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
  const transport = flags.port === undefined ? parseIcmp(flags.icmp!, to) : parseTransport(flags.port, world, to);
  const request = flags.http === undefined ? {} : { request: parseRequest(flags.http, flags.header) };
  const answer = explainConnection(world, { from, to, ...transport, ...request }, judgeRequest);
  if (flags.output !== "text") {
    await printStructured(flags.output, explanationValue(answer, world));
    return ExitCode.ok;
  }
  for (const { name, notes } of [from, to]) for (const text of notes) note(colours.dim(`${name}: ${text}`));
  print(formatConnection(answer, world));
  return ExitCode.ok;
}

function party(world: World, text: string, { namespace }: ExplainFlags): Party {
  const found = findParty(world, text, namespace);
  if (typeof found === "string") throw usageError(found);
  return found;
}

const outcomes: Readonly<Record<Outcome, string>> = {
  allowed: colours.green("allowed"),
  http: colours.yellow("allowed for some HTTP requests"),
  denied: colours.red("denied"),
};

/** The answer for people. */
export function formatConnection(answer: ExplainedConnection, world: World): string {
  const { from, to, request } = answer.question;
  const what = `${formatTransport(answer.question)}${request === undefined ? "" : ` ${request.method} ${request.target}`}`;
  const out = [`${colours.bold(`${from.name} → ${to.name}`)}  ${what}  ${outcomes[answer.outcome]}`];
  if (answer.directions.length === 0) out.push("  neither side is a workload, so no policy judges it");
  for (const direction of answer.directions) out.push("", ...formatDirection(direction, world));
  return out.join("\n");
}

/** `CiliumNetworkPolicy default/web spec.ingress[0] (web.yaml:7)`. */
function formatRef(ref: RuleRef, world: World): string {
  const place = world.place(ref);
  return `${formatRuleRef(ref)}${place === undefined ? "" : ` ${colours.blue(`(${place})`)}`}`;
}

function formatDirection(direction: ExplainedDirection, world: World): string[] {
  const { explanation, subject, request } = direction;
  const out = [`${direction.direction} of ${subject.name}: ${outcomes[direction.outcome]}`];
  const say = (depth: number, text: string) => out.push(`${"  ".repeat(depth)}${text}`);
  switch (explanation.kind) {
    case "unenforced":
      say(1, "no policy selects it in this direction, so everything passes");
      return out;
    case "decided": {
      const verbs = { FORWARDED: "allowed by", REDIRECTED: "requests are judged by", AUDIT: "audited by" } as const;
      const verb = verbs[explanation.decision.verdict as keyof typeof verbs] ?? "denied by";
      for (const ref of explanation.refs) say(1, `${verb} ${formatRef(ref, world)}`);
      if (explanation.refs.length === 0) say(1, `${verb} what holds where no rule speaks`);
      break;
    }
    case "default-deny": {
      say(1, "no rule allows it");
      for (const ref of explanation.enforcedBy) say(1, `default deny because of ${formatRef(ref, world)}`);
      if (explanation.enforcedBy.length === 0)
        say(1, "default deny, because the workload is not yet known by its labels");
      const { nearest } = explanation;
      if (nearest === undefined) break;
      say(1, `nearest: ${formatRef(nearest.ref, world)}`);
      for (const { path, expected, found } of nearest.mismatches) {
        const place = world.place(nearest.ref, path);
        say(
          2,
          `${path}${place === undefined ? "" : ` ${colours.blue(`(${place})`)}`}: expected ${expected}, found ${found}`,
        );
      }
    }
  }
  if (request !== undefined) {
    for (const { kind, namespace, name, path } of request.rules) {
      const ref = { kind, name, path, ...(namespace === "" ? {} : { namespace }) } as RuleRef;
      say(1, `${request.allowed ? "the request is allowed by" : "nearest:"} ${formatRef(ref, world)}`);
    }
    if (!request.allowed)
      say(1, `the request is refused: ${(request.reason ?? "").replace(/^nearest rule: .*?: /, "")}`);
  }
  const told = toldRefs(direction);
  const others = direction.statements.filter(({ ref }) => !told.has(ref.path + ref.name));
  if (others.length > 0) say(1, "other rules:");
  for (const { ref, action, mismatches, l7 } of others) {
    const first = mismatches[0];
    const verdict =
      first === undefined
        ? `would ${action === "allow" && l7 ? "allow some requests of" : action} it`
        : `${action === "allow" ? "" : `would ${action}, but `}expects ${first.expected}, found ${first.found}`;
    say(2, `${formatRef(ref, world)}: ${verdict}`);
  }
  if (direction.remedy !== undefined) {
    say(1, colours.bold("the smallest policy that would allow it:"));
    for (const line of direction.remedy.yaml.trimEnd().split("\n")) say(2, colours.green(line));
  }
  return out;
}

/** Rules that the explanation has named already. */
function toldRefs({ explanation }: ExplainedDirection): Set<string> {
  const refs =
    explanation.kind === "decided"
      ? explanation.refs
      : explanation.kind === "default-deny" && explanation.nearest !== undefined
        ? [explanation.nearest.ref]
        : [];
  return new Set(refs.map(({ path, name }) => path + name));
}

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
      ({ direction, subject, outcome: own, explanation, statements, request: judged, remedy }) => ({
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
