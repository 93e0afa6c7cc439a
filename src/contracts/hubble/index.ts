/**
 * Hubble's observer API: messages and service generated from `proto/`, and the words for its numbers. In a message every
 * field may be left out, which means its zero value; decoded ones have all their fields. u64 are bigints.
 * @module
 */
export { type ObserverClient, openObserverClient } from "./client.ts";
export {
  DropReason,
  type Endpoint,
  Flow,
  FlowFilter,
  FlowType,
  type HTTP,
  IPVersion,
  L7FlowType,
  type Layer4,
  LostEvent,
  LostEventSource,
  type Policy,
  type TCPFlags,
  TraceObservationPoint,
  TraceReason,
  TrafficDirection,
  Verdict,
  verdictToJSON as verdictName,
} from "./generated/flow/flow.ts";
export type { Timestamp } from "./generated/google/protobuf/timestamp.ts";
export { StringValue } from "./generated/google/protobuf/wrappers.ts";
export {
  GetFlowsRequest,
  GetFlowsResponse,
  GetNamespacesRequest,
  GetNamespacesResponse,
  GetNodesRequest,
  GetNodesResponse,
  ServerStatusRequest,
  ServerStatusResponse,
} from "./generated/observer/observer.ts";
export { NodeState } from "./generated/relay/relay.ts";
export type { Nearest, Rule, Why } from "./generated/tsilium/flow/why.ts";
export { formatResponse, formatTimestamp, sentenceTypeUrl } from "./json.ts";
export { dropReasonName, dropReasonText, MessageType, policyMatchName, TracePoint, tracePointName } from "./names.ts";
