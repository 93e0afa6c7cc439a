/** Why a flow was judged as it was: the rules that decided, or the rule that came nearest and what would allow it. */
import { compareStatements, type ExplainedFlow, type NearestStatement, nearestStatement } from "./compare.ts";
import { type Decision, decide } from "./decide.ts";
import { closedPolicy, type PolicyEngine, unenforcedPolicy } from "./engine.ts";
import type { PolicySet } from "./policy-set.ts";
import { type Remedy, smallestPolicy } from "./remedy.ts";
import type { Rule, RuleRef } from "./rule.ts";

/** The answer. */
export type Explanation =
  /** No rule selects the subject in this direction. */
  | { readonly kind: "unenforced"; readonly decision: Decision }
  /** Rules decided: those in `refs`. */
  | { readonly kind: "decided"; readonly decision: Decision; readonly refs: readonly RuleRef[] }
  /** No rule allows the flow, and rules demand that there be one: those in `enforcedBy`. */
  | {
      readonly kind: "default-deny";
      readonly decision: Decision;
      readonly enforcedBy: readonly RuleRef[];
      readonly nearest?: NearestStatement;
      readonly remedy: Remedy;
    };

/** Explains a flow by the policy in force (as of the last `flush`). Subject and peer should be known identities. */
export function explainFlow(engine: PolicyEngine, flow: ExplainedFlow): Explanation {
  const set = engine.policyOf(flow.subject) ?? policyOfDeparted(engine, flow);
  const decision = decide(set, flow.direction, flow.peer, flow.protocol, flow.port);
  if (decision.entry?.unenforced) return { kind: "unenforced", decision };
  if (decision.entry !== undefined && decision.entry.cookie !== 0)
    return { kind: "decided", decision, refs: set.provenance[decision.entry.cookie] ?? [] };

  const enforcedBy = enforcingRules(engine, flow).map((rule): RuleRef => {
    const { kind, name, namespace, path } = rule;
    return { kind, name, path, ...(namespace === undefined ? {} : { namespace }) };
  });
  const nearest = nearestStatement(compareStatements(engine, flow));
  const remedy = smallestPolicy(engine, flow);
  return { kind: "default-deny", decision, enforcedBy, ...(nearest === undefined ? {} : { nearest }), remedy };
}

/** Rules that put the flow's subject into default deny. */
function enforcingRules(engine: PolicyEngine, flow: ExplainedFlow): Rule[] {
  return engine.rulesFor(flow.subject).filter((rule) => rule.defaultDeny[flow.direction] && !engine.isStaged(rule));
}

/** A flow is often explained when its subject has ended already: then by the rules that would select it, if none of them matches the flow. */
function policyOfDeparted(engine: PolicyEngine, flow: ExplainedFlow): PolicySet {
  const denied =
    enforcingRules(engine, flow).length > 0 &&
    compareStatements(engine, flow).every(({ mismatches }) => mismatches.length > 0);
  return denied ? closedPolicy : unenforcedPolicy;
}

/** A rule's place for people: `CiliumNetworkPolicy default/web spec.ingress[0]`. */
export function formatRuleRef(ref: RuleRef): string {
  const name = ref.namespace === undefined ? ref.name : `${ref.namespace}/${ref.name}`;
  const kind = ref.kind === "implicit" ? "implicit rule" : ref.kind;
  return [kind, name, ref.path].filter((part) => part !== "").join(" ");
}

/** An explanation for people; one thought a line, without the remedy's YAML. */
export function formatExplanation(explanation: Explanation): string[] {
  switch (explanation.kind) {
    case "unenforced":
      return ["allowed: no policy selects the endpoint in this direction"];
    case "decided": {
      const { decision, refs } = explanation;
      const verbs = {
        FORWARDED: "allowed by",
        REDIRECTED: "sent to the proxy by",
        AUDIT: "audited: would be denied by",
        DROPPED: "denied by",
      };
      const verb = verbs[decision.verdict as keyof typeof verbs] ?? `${decision.verdict} by`;
      return refs.map((ref) => `${verb} ${formatRuleRef(ref)}`);
    }
    case "default-deny": {
      const { decision, enforcedBy, nearest } = explanation;
      const out = [`${decision.verdict === "AUDIT" ? "audited" : "denied"}: no rule allows it`];
      if (enforcedBy.length > 0) out.push(`default deny because of ${enforcedBy.map(formatRuleRef).join(", ")}`);
      if (nearest !== undefined) {
        out.push(`nearest: ${formatRuleRef(nearest.ref)}`);
        for (const { path, expected, found } of nearest.mismatches)
          out.push(`${path}: expected ${expected}, found ${found}`);
      }
      return out;
    }
  }
}
