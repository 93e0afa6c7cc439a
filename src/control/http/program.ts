/** A list of HTTP rules -> the program that judges requests by it in the kernel; or why only the proxy can. */
import { HttpLimit } from "#contracts/bpf";
import type { Automaton } from "./automaton.ts";
import { encodeProgram, type RuleSet, type Slot } from "./encode.ts";
import { hostAutomaton, methodAutomaton, nameAutomaton, targetAutomaton, valueAutomaton } from "./patterns.ts";
import { Inexact } from "./regex.ts";
import { concatenate, type United, unite } from "./unite.ts";

/** What is asked of a request; all that is given must match. Regexes are RE2 and match the whole; an empty one asks nothing. */
export interface RequestRule {
  readonly method?: string;
  /** Against the target, query included. */
  readonly path?: string;
  readonly host?: string;
  /** Names compare without case, values exactly; without a value presence is enough. */
  readonly headers?: readonly { readonly name: string; readonly value?: string }[];
}

/** What compiling a list came to. */
export type Compiled =
  /** `bytes`: as the kernel holds it (bpf/include/abi/http_rules.h). Equal lists have equal bytes. */
  | { readonly kind: "program"; readonly bytes: Uint8Array; readonly stateCount: number }
  /** The list can't be judged in the kernel exactly as the proxy does; a phrase such as "the path /a\b uses word boundaries". */
  | { readonly kind: "proxy"; readonly reason: string };

/** Compiles a list; 500 new patterns take about 0.4 s, known ones a third. Rules are those that RE2 accepts. */
export function compileRules(rules: readonly RequestRule[]): Compiled {
  try {
    return compile(rules.map(withoutEmpty));
  } catch (error) {
    if (error instanceof Inexact) return { kind: "proxy", reason: error.message };
    throw error;
  }
}

/** An empty pattern asks nothing. */
function withoutEmpty({ method, path, host, headers }: RequestRule): RequestRule {
  return { ...(method && { method }), ...(path && { path }), ...(host && { host }), ...(headers && { headers }) };
}

function compile(rules: readonly RequestRule[]): Compiled {
  if (rules.length > HttpLimit.MAX_RULES)
    throw new Inexact(`${rules.length} rules on one port, ${HttpLimit.MAX_RULES} fit`);
  const all = rules.map((_, i) => i);

  const lines = group(all, (i) => `${rules[i]!.method ?? ""} ${rules[i]!.path ?? ""}`);
  const line = uniteNamed("the methods and paths", [...lines.values()], ([first]) => {
    const { method, path } = rules[first!]!;
    const verb = named("method", method, () => methodAutomaton(method));
    return concatenate(
      verb,
      0x20,
      named("path", path, () => targetAutomaton(path)),
    );
  });

  const hosts = group(
    all.filter((i) => rules[i]!.host !== undefined),
    (i) => rules[i]!.host!,
  );
  const hostless = all.filter((i) => rules[i]!.host === undefined);
  const host =
    hosts.size === 0
      ? undefined
      : uniteNamed("the hosts", [...hosts.keys()], (pattern) => named("host", pattern, () => hostAutomaton(pattern)));
  const hostRules = [...hosts.values()];

  const names = [...new Set(rules.flatMap(({ headers }) => (headers ?? []).map(({ name }) => name.toLowerCase())))];
  if (names.length > HttpLimit.MAX_SLOTS)
    throw new Inexact(`${names.length} different headers on one port, ${HttpLimit.MAX_SLOTS} fit`);
  const lineRules = [...lines.values()];
  return encodeProgram({
    ruleCount: rules.length,
    line: { ...line, rules: (members) => members.flatMap((member) => lineRules[member]!) },
    anyHost: hostless,
    host: host && { ...host, rules: (members) => [...hostless, ...members.flatMap((member) => hostRules[member]!)] },
    names: names.length === 0 ? undefined : unite(names.map(nameAutomaton)),
    slots: names.map((name) => slotOf(rules, name)),
  });
}

/** One header of the rules. */
function slotOf(rules: readonly RequestRule[], name: string): Slot {
  const wanted = rules.map(({ headers }) => (headers ?? []).filter((header) => header.name.toLowerCase() === name));
  const values = [...new Set(wanted.flatMap((some) => some.flatMap(({ value }) => value ?? [])))];
  const holding = (test: (some: (typeof wanted)[number]) => boolean): RuleSet =>
    wanted.flatMap((some, i) => (test(some) ? [i] : []));
  return {
    absent: holding((some) => some.length === 0),
    present: holding((some) => some.every(({ value }) => value === undefined)),
    values: {
      ...uniteNamed(`the values of the header ${name}`, values, valueAutomaton),
      rules: (members) =>
        holding((some) => some.every(({ value }) => value === undefined || members.some((m) => values[m] === value))),
    },
  };
}

function group<K>(rules: RuleSet, keyOf: (rule: number) => K): Map<K, number[]> {
  const out = new Map<K, number[]>();
  for (const rule of rules) {
    const key = keyOf(rule);
    const some = out.get(key);
    if (some === undefined) out.set(key, [rule]);
    else some.push(rule);
  }
  return out;
}

/** Names the pattern that can't be told. */
function named(field: string, pattern: string | undefined, make: () => Automaton): Automaton {
  try {
    return make();
  } catch (error) {
    if (error instanceof Inexact) throw new Inexact(`the ${field} ${pattern} ${error.message}`);
    throw error;
  }
}

function uniteNamed<T>(what: string, members: readonly T[], make: (member: T) => Automaton): United {
  const automata = members.map(make);
  try {
    return unite(automata);
  } catch (error) {
    if (error instanceof Inexact) throw new Inexact(`${what} ${error.message}`);
    throw error;
  }
}
