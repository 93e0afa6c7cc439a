/**
 * What the agent and the L7 proxy of a node say to each other over `proxy.sock`: policy and addresses one way,
 * acknowledgements and access-log records the other. Newline-delimited JSON, UTF-8; one agent at a time.
 *
 * A session: the proxy sends `welcome`; the agent sends `put-…` messages and a `commit`. The first commit of a session
 * replaces the proxy's whole state by what was put in this session; each later one changes it. Nothing put takes effect
 * before its commit, and a commit takes effect as a whole or (`nack`) not at all. When a session ends without a commit
 * the proxy keeps what it had: the proxy outlives the agent.
 * @module
 */
export type { AccessLogRecord, AccessLogRecordKind, NearestRule, PeerRecord } from "./access-log.ts";
export { connectProxy, type ProxyClient, type ProxyClientOptions, type ProxyCommit } from "./client.ts";
export type {
  CustomMatch,
  DnsMatch,
  FtpMatch,
  GrpcMatch,
  HeaderMatch,
  HttpMatch,
  KafkaMatch,
  L7Protocol,
  L7RulesOf,
  RateLimit,
  SecretRef,
  SmtpMatch,
  TlsContext,
  TlsRules,
} from "./l7.ts";
export { createLineReader, type LineReader, maxLineBytes } from "./lines.ts";
export {
  type AgentMessage,
  formatMessage,
  type ListenerAddress,
  type MessageProblem,
  type ProxyMessage,
  type ProxyStatus,
  parseAgentMessage,
  parseProxyMessage,
  proxyProtocolVersion,
  type StateChange,
} from "./messages.ts";
export {
  type ConnectionPeers,
  expandRecordBatch,
  formatRecordBatch,
  type LogEntry,
  type RecordBatch,
} from "./record-batch.ts";
export {
  emptyProxyState,
  type HttpRule,
  type IpcacheEntry,
  type L7Filter,
  type PolicyFilter,
  type PolicyRef,
  type PolicySet,
  type ProxyEndpoint,
  type ProxyState,
  type Referenced,
} from "./state.ts";
