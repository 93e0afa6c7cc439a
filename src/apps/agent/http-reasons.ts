/** Why the kernel judged a request as it did: its programs know rules by number, people know them by the place where they wrote them. */
import type { HttpRule, NearestRule } from "#contracts/proxy";
import type { EntryRequests } from "#control/policy";
import type { Direction, EndpointId } from "#core/model";
import type { HttpJudgement, HttpReasons } from "#observer/decode";
import { judgedTargets } from "#proxy/http";
import { compilePattern } from "#proxy/policy";
import type { NodeDatapath } from "./datapath.ts";
import { originOf } from "./kernel-policy.ts";
import type { RequestJudges } from "./request-judges.ts";

/** Lists that are remembered after the kernel has forgotten them: their last events are still on the way. */
const rememberedLists = 4096;
/** Of a long list the rest is not looked at: this is done for each denied request. */
const comparedRules = 100;

/** Follows what is in force; from then on it can say why. */
export function createHttpReasons(
  datapath: NodeDatapath,
  judges: RequestJudges,
): (judgement: HttpJudgement) => HttpReasons {
  const lists = new Map<string, EntryRequests>();
  const keyOf = (endpoint: EndpointId, direction: Direction, program: number) => `${endpoint} ${direction} ${program}`;
  datapath.endpointTarget.realised.watch((changes) => {
    for (const { key: endpoint, current } of changes) {
      const set = current && originOf(current.policy);
      for (const { direction, requests } of set?.entries ?? []) {
        const list = requests === undefined ? undefined : set!.requests[requests]!;
        const judge = list && judges.of(list);
        const program = judge?.kind === "kernel" ? datapath.programs.numberOf(judge.program) : undefined;
        if (program === undefined) continue;
        lists.delete(keyOf(endpoint, direction, program));
        lists.set(keyOf(endpoint, direction, program), list!);
        if (lists.size > rememberedLists) lists.delete(lists.keys().next().value!);
      }
    }
  });

  return ({ program, rule, request, isWhole }) => {
    const subject = request.direction === "egress" ? request.source : request.destination;
    const list = lists.get(keyOf(subject.endpoint, request.direction, program));
    if (list?.kind !== "rules") return { rules: [] };
    if (rule !== undefined) return { rules: list.rules[rule] === undefined ? [] : [list.rules[rule].ref] };
    const nearest = isWhole ? nearestOf(list.rules.slice(0, comparedRules), request) : undefined;
    return { rules: [], ...(nearest && { nearest }) };
  };
}

type Asked = Pick<HttpJudgement["request"], "method" | "path" | "host">;

/** The rule with the fewest fields that fail, and its first failing one; events carry no headers, so these come last. */
function nearestOf(rules: readonly HttpRule[], request: Asked): NearestRule | undefined {
  let best: readonly NearestRule[] | undefined;
  for (const target of judgedTargets(request.path))
    for (const rule of rules) {
      const misses = missesOf(rule, { ...request, path: target });
      if (misses.length > 0 && (best === undefined || misses.length < best.length)) best = misses;
    }
  return best?.[0];
}

function missesOf({ ref, method, path, host, headers }: HttpRule, request: Asked): NearestRule[] {
  const misses: NearestRule[] = [];
  const check = (field: string, pattern: string | undefined, found: string) => {
    const compiled = pattern ? compilePattern(pattern) : undefined;
    if (typeof compiled === "object" && !compiled.matches(found))
      misses.push({ ref, field, expected: compiled.source, found });
  };
  check("method", method, request.method);
  check("path", path, request.path);
  check("host", host, request.host);
  if (misses.length > 0) return misses;
  // The value may be a secret, and what was sent was not kept.
  return (headers ?? []).map(({ name }) => ({
    ref,
    field: `header ${name.toLowerCase()}`,
    expected: "the rule's value",
    found: "another value, or none",
  }));
}
