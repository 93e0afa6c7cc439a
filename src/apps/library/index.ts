/**
 * The policy engine as a library: what `import ... from "tsilium/policy"` gives. Reads policies of every kind that tsilium enforces, checks,
 * explains, compares and simulates them, and holds them against recorded flows. Needs neither root nor a node nor Linux.
 * @module
 */
export { expandList } from "#contracts/kube";
export { formatProblems, type Problem, parseManifests } from "#contracts/manifest";
export {
  describeRule,
  formatRuleRef,
  formatYaml,
  isPolicyKind,
  lintLabels,
  type ParsedPolicy,
  parsePolicy,
  type Rule,
  type RuleRef,
  repairPolicy,
} from "#control/policy";
export {
  createReplay,
  EvidenceCollector,
  type Replay,
  type ReplayResult,
  type Suggestion,
  suggestPolicies,
} from "#control/replay";
export {
  createMatrix,
  createWorld,
  diffWorlds,
  type ExplainedConnection,
  explainConnection,
  findParty,
  formatConnection,
  formatMatrixPage,
  lintPolicy,
  type Matrix,
  type Party,
  parseTransport,
  type World,
  type WorldDiff,
  type WorldObject,
  type WorldOptions,
} from "#control/workbench";
export { checkRegex, judgeRequest } from "#proxy/policy";
export { loadWorld, makeWholeWorld, readWorldObjects } from "./objects.ts";
export { isTestFile, runPolicyTests, type TestRun } from "./test-run.ts";
