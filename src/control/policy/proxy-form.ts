/** Rules and references in the proxy's form. */
import type { HttpRule as HttpFilterRule, L7Filter, PolicyRef } from "#contracts/proxy";
import type { HttpRule, L7Rules, RuleRef } from "./rule.ts";

/** A ref in the proxy's form. */
export function toPolicyRef(ref: RuleRef, place = ref.path): PolicyRef {
  return { kind: ref.kind, namespace: ref.namespace ?? "", name: ref.name, path: place };
}

/** An HTTP rule in the proxy's form. */
export function toHttpRule({ place, ...match }: HttpRule, ref: RuleRef): HttpFilterRule {
  return { ...match, ref: toPolicyRef(ref, place) };
}

/** A list of rules in the proxy's form. */
export function toL7Filter(l7: L7Rules, ref: RuleRef): L7Filter {
  const rules = l7.rules.map(({ place, ...match }) => ({ ...match, ref: toPolicyRef(ref, place) }));
  // One protocol in, the same out; the compiler can't see that through the map.
  return { ...l7, rules } as L7Filter;
}
