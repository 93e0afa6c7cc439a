/**
 * The agent's local API: what CLI, standalone supervisor and CNI plugin say to it over `<runDir>/agent.sock` (HTTP/JSON).
 * @module
 */
export type {
  AgentStatus,
  ApiError,
  CleanupResult,
  ComponentStatus,
  CreatedEndpoint,
  CreateEndpoint,
  CreateWorkload,
  DegradedFeature,
  EndpointDetail,
  EndpointPhase,
  EndpointSummary,
  ForeignProgram,
  HttpJudge,
  IdentityView,
  IpcacheView,
  MapDump,
  MapSummary,
  PolicyEntryView,
  PolicyProblemView,
  PolicyRevision,
  PolicyView,
  PolicyWait,
  PolicyWaitResult,
  ProxyStatus,
  ReconcilerStatus,
  RowProblem,
  RuleReference,
  Workload,
} from "./api.ts";
export { type AgentClient, createAgentClient } from "./client.ts";
