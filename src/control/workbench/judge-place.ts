/** Where the requests of a connection would be judged: in the kernel, or by the proxy, and why there. */
import { compileRules } from "#control/http";
import type { Decision, PolicySet } from "#control/policy";

/** The place; a port that turns out to speak something else than HTTP/1 goes to the proxy wherever it would belong. */
export interface JudgePlace {
  readonly judge: "kernel" | "proxy";
  /** Why the proxy; a clause such as "its rules limit rates". */
  readonly reason?: string;
}

/** The place for one direction of a connection; undefined where no HTTP rules decide. `other`: what decides in the other direction, if anything. */
export function placeOf(decision: Decision, set: PolicySet, other: Decision | undefined): JudgePlace | undefined {
  const index = decision.entry?.requests;
  if (index === undefined) return undefined;
  if (other?.entry?.proxy !== undefined) return { judge: "proxy", reason: "both ends have rules for what is spoken" };
  const requests = set.requests[index]!;
  const judged = requests.kind === "proxy" ? requests : compileRules(requests.rules);
  return judged.kind === "proxy" ? { judge: "proxy", reason: judged.reason } : { judge: "kernel" };
}
