/**
 * The policy engine for browsers: the same as `tsilium/policy` but for what reads files. One module without any global of Node;
 * the judge of HTTP requests, with its regular expressions, is loaded when it is first asked for.
 * @module
 */
import type { RequestJudge } from "#control/workbench";

export {
  describeRule,
  formatRuleRef,
  formatYaml,
  isPolicyKind,
  lintLabels,
  parsePolicy,
  repairPolicy,
} from "#control/policy";
export { createReplay, EvidenceCollector, suggestPolicies } from "#control/replay";
export { expectIn } from "#control/testkit";
export {
  createMatrix,
  createWorld,
  diffWorlds,
  explainConnection,
  findParty,
  formatConnection,
  formatMatrixPage,
  joinWorlds,
  lintPolicy,
  parseRequest,
  parseTransport,
} from "#control/workbench";

/** What judges requests: the proxy's own code, and whether it takes a pattern. */
export interface RequestJudging {
  readonly judgeRequest: RequestJudge;
  readonly checkRegex: (pattern: string) => string | undefined;
}

/** Loads it; a second file, fetched once. */
export async function loadRequestJudging(): Promise<RequestJudging> {
  return await import("#proxy/policy");
}
