/**
 * Recorded flows as evidence: what policies would have said of them. Reads the lines that `tsilium observe -o json` and
 * `hubble observe -o json` write. Pure: no files, no clock.
 * @module
 */
export { createEnds, type Ends, type KnownEnd } from "./ends.ts";
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
