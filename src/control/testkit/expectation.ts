/** `expectIn(world).from({app: "a"}).to({app: "b"}).on("80/tcp").isAllowed()`: immutable, each step yields a new expectation. */
import { formatRuleRef, type RuleRef } from "#control/policy";
import {
  decidingRules,
  type ExplainedConnection,
  explainConnection,
  findParty,
  formatConnection,
  type HttpRequest,
  judgeConnection,
  type Party,
  parseIcmp,
  parseTransport,
  type RequestJudge,
  type Transport,
  type World,
} from "#control/workbench";

/** One end: labels (`{app: "web"}`), or words as `policy explain` takes them: `shop/web`, `world`, `10.0.0.1`, `app=web`. */
export type ExpectedEnd = string | Readonly<Record<string, string>>;

/** What may be expected. `deniedBy`, `allowedBy`: the name of the policy, with `NAMESPACE/` if that matters. */
export type Expected =
  | { readonly kind: "allowed" }
  | { readonly kind: "denied" }
  | { readonly kind: "allowedBy"; readonly policy: string }
  | { readonly kind: "deniedBy"; readonly policy: string };

/** A connection that is not as expected. */
export class ExpectationError extends Error {
  override readonly name = "AssertionError";
  /** As node:assert's, by which test runners know a failed expectation. */
  readonly code = "ERR_ASSERTION";
  readonly generatedMessage = false;
  readonly operator = "policy";
  readonly expected: string;
  readonly actual: string;

  constructor(message: string, expected: string, actual: string) {
    super(message);
    this.expected = expected;
    this.actual = actual;
  }
}

/** A connection, described step by step; judged by the `is...` methods, which throw an {@link ExpectationError}. */
export interface Expectation {
  /** Where names without a namespace are looked for, and imagined workloads live; "default". */
  inNamespace(namespace: string): Expectation;
  from(end: ExpectedEnd): Expectation;
  to(end: ExpectedEnd): Expectation;
  /** `80`, `80/tcp`, `53/udp`, a port's name, `icmp`, `icmp/8`. */
  on(port: string | number): Expectation;
  /** With a request; header names in any case. */
  http(
    method: string,
    target: string,
    more?: { readonly host?: string; readonly headers?: Readonly<Record<string, string>> },
  ): Expectation;
  isAllowed(): void;
  isDenied(): void;
  /** Allowed, and a rule of that policy is the reason. */
  isAllowedBy(policy: string): void;
  /** Denied, and that policy is the reason: it has a rule that denies it, or makes the default deny. */
  isDeniedBy(policy: string): void;
  is(expected: Expected): void;
  /** The verdict with all its reasons. Throws a TypeError if an end or the port is missing or means nothing. */
  explain(): ExplainedConnection;
  /** The same for people. */
  explanation(): string;
}

interface Steps {
  readonly namespace: string;
  readonly from?: ExpectedEnd;
  readonly to?: ExpectedEnd;
  readonly port?: string;
  readonly request?: HttpRequest;
}

/** Begins an expectation. */
export function expectIn(world: World, judge: RequestJudge, namespace = "default"): Expectation {
  return step(world, judge, { namespace });
}

function step(world: World, judge: RequestJudge, steps: Steps): Expectation {
  const next = (more: Partial<Steps>) => step(world, judge, { ...steps, ...more });
  const explain = () => explainSteps(world, judge, steps);
  const is = (expected: Expected) => check(world, explain(), expected);
  return {
    inNamespace: (namespace) => next({ namespace }),
    from: (from) => next({ from }),
    to: (to) => next({ to }),
    on: (port) => next({ port: String(port) }),
    http: (method, target, { host = "", headers = {} } = {}) =>
      next({
        request: {
          method,
          target,
          host,
          headers: new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value])),
        },
      }),
    isAllowed: () => is({ kind: "allowed" }),
    isDenied: () => is({ kind: "denied" }),
    isAllowedBy: (policy) => is({ kind: "allowedBy", policy }),
    isDeniedBy: (policy) => is({ kind: "deniedBy", policy }),
    is,
    explain,
    explanation: () => formatConnection(explain(), world),
  };
}

function explainSteps(world: World, judge: RequestJudge, steps: Steps): ExplainedConnection {
  const { namespace, port, request } = steps;
  const from = party(world, "from", steps.from, namespace);
  const to = party(world, "to", steps.to, namespace);
  if (port === undefined) throw new TypeError('say on which port: .on("80/tcp")');
  const transport = transportOf(port, world, to);
  if (typeof transport === "string") throw new TypeError(transport);
  const question = { from, to, ...transport, ...(request === undefined ? {} : { request }) };
  return explainConnection(world, question, judge);
}

function transportOf(text: string, world: World, to: Party): Transport | string {
  const icmp = /^icmp(?:\/(.*))?$/i.exec(text);
  return icmp === null ? parseTransport(text, world, to) : parseIcmp(icmp[1], to);
}

function party(world: World, side: "from" | "to", end: ExpectedEnd | undefined, namespace: string): Party {
  if (end === undefined) throw new TypeError(`say ${side} whom: .${side}({app: "web"})`);
  const text =
    typeof end === "string"
      ? end
      : Object.entries(end)
          .map(([key, value]) => `${key}=${value}`)
          .join(",");
  const found = findParty(world, text, namespace);
  if (typeof found === "string") throw new TypeError(found);
  return found;
}

function check(world: World, answer: ExplainedConnection, expected: Expected): void {
  const isAllowed = answer.outcome !== "denied";
  const actual = isAllowed ? "allowed" : "denied";
  const wanted = expected.kind === "allowed" || expected.kind === "allowedBy" ? "allowed" : "denied";
  const { from, to, request } = answer.question;
  const what = `${from.name} to ${to.name}${request === undefined ? "" : `, ${request.method} ${request.target}`}`;
  const fail = (text: string, wish: string, found: string) =>
    new ExpectationError(`${what}: ${text}\n\n${formatConnection(answer, world)}\n`, wish, found);
  if (actual !== wanted) throw fail(`expected to be ${wanted}, but it is ${actual}`, wanted, actual);
  if (answer.outcome === "http" && request === undefined && expected.kind === "allowed")
    throw fail(
      "allowed for some requests only: say which, with http(METHOD, PATH)",
      wanted,
      "allowed for some requests",
    );
  if (!("policy" in expected)) return;
  const names = isAllowed ? allowing(world, answer) : denying(answer);
  if (names.some((ref) => isNamed(ref, expected.policy))) return;
  const found = names.length === 0 ? "no rule" : names.map(formatRuleRef).join(", ");
  throw fail(`expected to be ${wanted} by ${expected.policy}, but it is by ${found}`, expected.policy, found);
}

function allowing(world: World, { question, directions }: ExplainedConnection): readonly RuleRef[] {
  const requests = directions.flatMap(({ request }) => request?.rules ?? []);
  const { from, to, protocol, port } = question;
  const connection = judgeConnection(world, from, to, protocol, port).flatMap((judged) => decidingRules(judged));
  return [
    ...connection,
    ...requests.map(({ namespace, ...ref }) => ({ ...ref, ...(namespace === "" ? {} : { namespace }) }) as RuleRef),
  ];
}

function denying({ directions }: ExplainedConnection): readonly RuleRef[] {
  return directions
    .filter(({ outcome }) => outcome === "denied")
    .flatMap(({ explanation, request }): readonly RuleRef[] => {
      if (explanation.kind === "default-deny") return explanation.enforcedBy;
      if (request !== undefined) return request.rules as readonly RuleRef[];
      return explanation.kind === "decided" ? explanation.refs : [];
    });
}

function isNamed({ name, namespace }: RuleRef, wanted: string): boolean {
  return wanted === name || wanted === `${namespace ?? ""}/${name}`;
}
