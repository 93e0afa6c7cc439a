/** Orders -> what the proxy judges by. Complete for TCP: the proxy judges both sides of a connection, also the one without HTTP rules. */
import type { HttpRule as HttpFilterRule, PolicyFilter, PolicyRef } from "#contracts/proxy";
import { type Direction, protocolNumbers } from "#core/model";
import type { DirectionGrants, Grant } from "./grants.ts";
import { levels, precedenceOf } from "./policy-set.ts";
import type { HttpRule, RuleRef } from "./rule.ts";

/** A ref in the proxy's form. */
function toPolicyRef(ref: RuleRef, place = ref.path): PolicyRef {
  return { kind: ref.kind, namespace: ref.namespace ?? "", name: ref.name, path: place };
}

/** Makes the filters of one direction. With `audit` nothing is refused. */
export function makeFilters(
  direction: Direction,
  { enforced, grants }: DirectionGrants,
  audit: boolean,
): PolicyFilter[] {
  const everything = { direction, peers: "any", protocol: "TCP", port: 0 } as const;
  if (!enforced || audit)
    return [
      {
        ...everything,
        kind: "allow",
        precedence: precedenceOf("allow", enforced ? levels.rules : levels.implicit),
        refs: [],
      },
    ];
  return grants
    .filter((grant) => grant.protocol === 0 || grant.protocol === protocolNumbers.TCP)
    .map((grant) => toFilter(grant));
}

function toFilter(grant: Grant): PolicyFilter {
  const { direction, level, first, last, ref, http } = grant;
  const kind = grant.kind === "default-deny" ? "deny" : grant.kind;
  const all = first === 0;
  return {
    direction,
    peers: grant.peers === "any" ? "any" : [...grant.peers].sort((a, b) => a - b),
    protocol: "TCP",
    port: all ? 0 : first,
    ...(all || last === first ? {} : { endPort: last }),
    kind,
    precedence: precedenceOf(kind === "http" ? "redirect" : kind, level),
    ...(http === undefined || ref === undefined ? {} : { rules: http.map((rule) => toHttpRule(rule, ref)) }),
    refs: ref === undefined ? [] : [toPolicyRef(ref)],
  };
}

function toHttpRule(rule: HttpRule, ref: RuleRef): HttpFilterRule {
  const { method, path, host, headers } = rule;
  return {
    ...(method === undefined ? {} : { method }),
    ...(path === undefined ? {} : { path }),
    ...(host === undefined ? {} : { host }),
    ...(headers.length === 0 ? {} : { headerMatches: headers }),
    ref: toPolicyRef(ref, rule.place),
  };
}
