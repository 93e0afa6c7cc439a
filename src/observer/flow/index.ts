/**
 * Events and access-log records -> flows as Hubble defines them, with names, labels, the policies that decided, and why
 * something was denied. Pure but for the look-ups that the agent hands in.
 * @module
 */
export { createFlowBuilder, type FlowBuilder, type FlowBuilderOptions, type FlowFacts, timestampOf } from "./build.ts";
export { type Clocks, createWallClockOffset } from "./clock.ts";
export type {
  DenialQuestion,
  DeniedPeer,
  EndpointInfo,
  Explain,
  Explanation,
  FlowLookups,
  RuleRef,
} from "./lookups.ts";
export { formatRule } from "./why.ts";
