/** An explanation for people: verdict, rules with their places, what came near, what would allow it. */
import { formatRuleRef, formatTransport, type RuleRef } from "#control/policy";
import type { ExplainedConnection, ExplainedDirection, Outcome } from "./connection.ts";
import type { World } from "./world.ts";

/** Colours a piece of an explanation; by default none are. */
export type PaintExplanation = (text: string, as: Outcome | "heading" | "place" | "remedy") => string;

const plain: PaintExplanation = (text) => text;

const outcomes: Readonly<Record<Outcome, string>> = {
  allowed: "allowed",
  http: "allowed for some HTTP requests",
  denied: "denied",
};

/** The answer for people. */
export function formatConnection(answer: ExplainedConnection, world: World, paint: PaintExplanation = plain): string {
  const { from, to, request } = answer.question;
  const what = `${formatTransport(answer.question)}${request === undefined ? "" : ` ${request.method} ${request.target}`}`;
  const verdict = paint(outcomes[answer.outcome], answer.outcome);
  const out = [`${paint(`${from.name} → ${to.name}`, "heading")}  ${what}  ${verdict}`];
  if (answer.directions.length === 0) out.push("  neither side is a workload, so no policy judges it");
  for (const direction of answer.directions) out.push("", ...formatDirection(direction, world, paint));
  return out.join("\n");
}

/** `CiliumNetworkPolicy default/web spec.ingress[0] (web.yaml:7)`. */
function formatRef(ref: RuleRef, world: World, paint: PaintExplanation): string {
  const place = world.place(ref);
  return `${formatRuleRef(ref)}${place === undefined ? "" : ` ${paint(`(${place})`, "place")}`}`;
}

function formatDirection(direction: ExplainedDirection, world: World, paint: PaintExplanation): string[] {
  const { explanation, subject, request } = direction;
  const out = [`${direction.direction} of ${subject.name}: ${paint(outcomes[direction.outcome], direction.outcome)}`];
  const say = (depth: number, text: string) => out.push(`${"  ".repeat(depth)}${text}`);
  switch (explanation.kind) {
    case "unenforced":
      say(1, "no policy selects it in this direction, so everything passes");
      return out;
    case "decided": {
      const verbs = { FORWARDED: "allowed by", REDIRECTED: "requests are judged by", AUDIT: "audited by" } as const;
      const verb = verbs[explanation.decision.verdict as keyof typeof verbs] ?? "denied by";
      for (const ref of explanation.refs) say(1, `${verb} ${formatRef(ref, world, paint)}`);
      if (explanation.refs.length === 0) say(1, `${verb} what holds where no rule speaks`);
      if (direction.place?.judge === "kernel") say(1, "judged in the kernel");
      if (direction.place?.judge === "proxy") say(1, `judged by the proxy: ${direction.place.reason}`);
      break;
    }
    case "default-deny": {
      say(1, "no rule allows it");
      for (const ref of explanation.enforcedBy) say(1, `default deny because of ${formatRef(ref, world, paint)}`);
      if (explanation.enforcedBy.length === 0)
        say(1, "default deny, because the workload is not yet known by its labels");
      const { nearest } = explanation;
      if (nearest === undefined) break;
      say(1, `nearest: ${formatRef(nearest.ref, world, paint)}`);
      for (const { path, expected, found } of nearest.mismatches) {
        const place = world.place(nearest.ref, path);
        say(
          2,
          `${path}${place === undefined ? "" : ` ${paint(`(${place})`, "place")}`}: expected ${expected}, found ${found}`,
        );
      }
    }
  }
  if (request !== undefined) {
    for (const { kind, namespace, name, path } of request.rules) {
      const ref = { kind, name, path, ...(namespace === "" ? {} : { namespace }) } as RuleRef;
      say(1, `${request.allowed ? "the request is allowed by" : "nearest:"} ${formatRef(ref, world, paint)}`);
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
    say(2, `${formatRef(ref, world, paint)}: ${verdict}`);
  }
  if (direction.remedy !== undefined) {
    say(1, paint("the smallest policy that would allow it:", "heading"));
    for (const line of direction.remedy.yaml.trimEnd().split("\n")) say(2, paint(line, "remedy"));
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
