/**
 * The policy engine: policy objects -> rules or problems; rules x identities -> entries for the kernel and filters for the
 * proxy; what these decide, and why. Pure: runs in the agent, in tests, in a browser. Semantics follow Cilium.
 * @module
 */

export { type Capability, capabilities, type Need, needsOf, unenforceable } from "./capabilities.ts";
export { type CidrGroup, parseCidrGroup } from "./cidr-group.ts";
export { type CiliumVersion, ciliumVersions, compareWithCilium } from "./cilium-target.ts";
export {
  type ComparedStatement,
  compareSelector,
  compareStatements,
  type ExplainedFlow,
  formatTransport,
  type Mismatch,
  meansPeer,
  type NearestStatement,
} from "./compare.ts";
export { type Decision, decide, type PolicyMatch } from "./decide.ts";
export { describeRule } from "./describe.ts";
export {
  createPolicyEngine,
  type EngineOptions,
  type PolicyChanges,
  type PolicyEngine,
  unenforcedPolicy,
} from "./engine.ts";
export {
  type Explanation,
  explainFlow,
  formatExplanation,
  formatRuleRef,
} from "./explain.ts";
export { nearest } from "./fields.ts";
export { ignoredLabels, lintLabels } from "./lint-labels.ts";
export { formatMaskedPort, type MaskedPort, maskRange } from "./masks.ts";
export { formatConflict, type MergeConflict } from "./merge.ts";
export { describeIdentity, tellingLabels } from "./naming.ts";
export { isPolicyKind, type ParsedPolicy, parsePolicy } from "./parse.ts";
export { auditAnnotation, auditUntilAnnotation } from "./parse-audit.ts";
export {
  type Entry,
  type EntryAction,
  type EntryGroup,
  type EntryRequests,
  type EntryRow,
  l4Prefix,
  type PolicySet,
  precedenceOf,
} from "./policy-set.ts";
export type { ParseOptions } from "./reader.ts";
export { type Remedy, smallestPolicy } from "./remedy.ts";
export { type Repair, repairPolicy } from "./repair.ts";
export type {
  Audit,
  GroupPeer,
  HttpRule,
  ObjectRef,
  Peer,
  PolicyKind,
  PortList,
  PortMatch,
  Rule,
  RuleRef,
  Statement,
} from "./rule.ts";
export { type PolicyService, serviceKey } from "./service-peer.ts";
export { formatYaml } from "./yaml.ts";
