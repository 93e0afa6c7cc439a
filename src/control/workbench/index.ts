/**
 * The policy workbench: manifests -> a world of workloads and policies, and what it answers: may this reach that and why, who
 * reaches whom, what another set of policies would change, which policies do less than they seem to. Pure: no kernel, no
 * cluster, no files; the verdicts are those of #control/policy.
 * @module
 */
export {
  combine,
  type ExplainedConnection,
  type ExplainedDirection,
  explainConnection,
  type HttpRequest,
  type JudgedDirection,
  judgeConnection,
  judgeDirection,
  type Outcome,
  type Question,
  type RequestJudge,
  type RequestVerdict,
} from "./connection.ts";
export { diffWorlds, requestsOf, type WorldDiff } from "./diff.ts";
export type { ReachChange, Sentence } from "./diff-words.ts";
export { formatConnection, type PaintExplanation } from "./explain-text.ts";
export { type Finding, lintPolicy } from "./lint.ts";
export {
  type Cell,
  createMatrix,
  decidingRules,
  describeCell,
  joinWorlds,
  type Matrix,
  type MatrixParty,
  matrixParties,
  type Reach,
} from "./matrix.ts";
export { formatMatrixPage, type MatrixPage } from "./matrix-page.ts";
export { findParty, type Party } from "./party.ts";
export { classifyPorts, formatPortClass, type PortClass } from "./ports.ts";
export { parseIcmp, parseRequest, parseTransport, type Transport } from "./question.ts";
export type { ExposedPort, Workload } from "./workload.ts";
export {
  createWorld,
  type RefusedPolicy,
  type WorkloadGroup,
  type World,
  type WorldObject,
  type WorldOptions,
  type WorldPolicy,
} from "./world.ts";
