/**
 * Recorded flows as evidence: what policies would have said of them. Reads the lines that `tsilium observe -o json` and
 * `hubble observe -o json` write, and which policies would fit what is on record. Pure: no files, no clock.
 * @module
 */
export { createEnds, type Ends, type KnownEnd } from "./ends.ts";
export { type Evidence, EvidenceCollector } from "./evidence.ts";
export {
  clusterOfLine,
  type FlowLine,
  type RecordedEnd,
  type RecordedFlow,
  type RecordedRequest,
  readFlowLine,
  type Unjudged,
  unjudgedTexts,
} from "./flow.ts";
export {
  createReplay,
  type FlowChange,
  type PlacedRule,
  type Replay,
  type ReplayOptions,
  type ReplayResult,
} from "./replay.ts";
export {
  type Confidence,
  type SuggestedPolicy,
  type SuggestedRule,
  type Suggestion,
  type SuggestOptions,
  suggestPolicies,
} from "./suggest.ts";
