/** HTTP rules: compiled form, match, and what kept a rule from matching. */
import type { HttpRule, MessageProblem, NearestRule, PolicyRef } from "#contracts/proxy";
import { judgedTargets, type RequestHead } from "#proxy/http";
import { compilePattern, type Pattern } from "./pattern.ts";

interface HeaderRequirement {
  /** Lower case. */
  readonly name: string;
  /** One character per byte, as header values are read; undefined = presence is enough. */
  readonly value: string | undefined;
}

/** A rule ready to be matched. */
export interface CompiledHttpRule {
  readonly ref: PolicyRef;
  readonly method: Pattern | undefined;
  readonly path: Pattern | undefined;
  readonly host: Pattern | undefined;
  readonly headers: readonly HeaderRequirement[];
}

/** Compiles a rule; problems are added to the list with paths below `path`. */
export function compileHttpRule(rule: HttpRule, path: string, problems: MessageProblem[]): CompiledHttpRule {
  const pattern = (field: "method" | "path" | "host"): Pattern | undefined => {
    const source = rule[field];
    if (source === undefined || source === "") return undefined;
    const compiled = compilePattern(source);
    if (typeof compiled !== "string") return compiled;
    problems.push({ path: `${path}.${field}`, message: `${compiled}: ${JSON.stringify(source)}` });
    return undefined;
  };
  const headers: HeaderRequirement[] = [];
  for (const match of rule.headers ?? []) {
    // With a mismatch action the header is mended or logged, and never fails the rule.
    if (match.mismatch === undefined) headers.push({ name: match.name.toLowerCase(), value: asBytes(match.value) });
  }
  for (const [i, header] of headers.entries()) {
    if (header.name === "") problems.push({ path: `${path}.headers[${i}]`, message: "a header without a name" });
  }
  return { ref: rule.ref, method: pattern("method"), path: pattern("path"), host: pattern("host"), headers };
}

/** Policies are UTF-8, header values are bytes: compare as bytes. */
function asBytes(value: string | undefined): string | undefined {
  return value === undefined ? undefined : String.fromCharCode(...new TextEncoder().encode(value));
}

/** A field of a rule that a request doesn't satisfy. */
type Miss = Omit<NearestRule, "ref">;

/** The first rule that the request satisfies; undefined if none. A request with two readings of its path must satisfy a rule with each. */
export function findMatch(
  rules: readonly CompiledHttpRule[],
  request: RequestHead,
): readonly CompiledHttpRule[] | undefined {
  const [written, resolved] = judgedTargets(request.target);
  const first = rules.find((rule) => matches(rule, request, written));
  if (first === undefined || resolved === undefined) return first && [first];
  const second = rules.find((rule) => matches(rule, request, resolved));
  if (second === undefined) return undefined;
  return first === second ? [first] : [first, second];
}

function matches(rule: CompiledHttpRule, request: RequestHead, target: string): boolean {
  if (rule.method !== undefined ? !rule.method.matches(request.method) : request.method === "CONNECT") return false;
  if (rule.path !== undefined && !rule.path.matches(target)) return false;
  if (rule.host !== undefined && !rule.host.matches(request.host)) return false;
  for (const header of rule.headers) {
    const found = request.header(header.name);
    if (found === undefined || (header.value !== undefined && found !== header.value)) return false;
  }
  return true;
}

/** The rule with the fewest fields that fail, and its first failing one. Only asked for on a denial. */
export function nearestRule(rules: readonly CompiledHttpRule[], request: RequestHead): NearestRule | undefined {
  let best: { readonly misses: readonly Miss[]; readonly ref: PolicyRef } | undefined;
  for (const target of judgedTargets(request.target)) {
    for (const rule of rules) {
      const found = missesOf(rule, request, target);
      if (found.length > 0 && (best === undefined || found.length < best.misses.length))
        best = { misses: found, ref: rule.ref };
    }
  }
  return best && { ref: best.ref, ...best.misses[0]! };
}

function missesOf(rule: CompiledHttpRule, request: RequestHead, target: string): Miss[] {
  const misses: Miss[] = [];
  const check = (field: string, pattern: Pattern | undefined, found: string) => {
    if (pattern !== undefined && !pattern.matches(found)) misses.push({ field, expected: pattern.source, found });
  };
  if (rule.method === undefined && request.method === "CONNECT")
    misses.push({ field: "method", expected: "CONNECT named by the rule", found: "CONNECT" });
  check("method", rule.method, request.method);
  check("path", rule.path, target);
  check("host", rule.host, request.host);
  for (const header of rule.headers) {
    const found = request.header(header.name);
    if (found === undefined)
      misses.push({ field: `header ${header.name}`, expected: header.value ?? "present", found: "absent" });
    // The value stays here: it may be a secret.
    else if (header.value !== undefined && found !== header.value)
      misses.push({ field: `header ${header.name}`, expected: "the rule's value", found: "another value" });
  }
  return misses;
}
