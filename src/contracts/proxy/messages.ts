/** The messages between agent and proxy, and their text form. */
import type { EndpointId, PolicySetId } from "#core/model";
import type { RecordBatch } from "./record-batch.ts";
import type { IpcacheEntry, PolicySet, ProxyEndpoint } from "./state.ts";

/** Spoken by this program; both sides must speak the same. */
export const proxyProtocolVersion = 2;

/** One change of the proxy's state; takes effect with the next commit. Deleting what is not there is no error. */
export type StateChange =
  | { readonly kind: "put-set"; readonly set: PolicySet }
  | { readonly kind: "delete-set"; readonly id: PolicySetId }
  | { readonly kind: "put-endpoint"; readonly endpoint: ProxyEndpoint }
  | { readonly kind: "delete-endpoint"; readonly id: EndpointId }
  | { readonly kind: "put-ipcache"; readonly entries: readonly IpcacheEntry[] }
  | { readonly kind: "delete-ipcache"; readonly prefixes: readonly string[] };

/** What the agent says. */
export type AgentMessage =
  | StateChange
  /** Makes all changes since the last commit effective at once; answered by `ack` or `nack` with the same revision. */
  | { readonly kind: "commit"; readonly revision: number }
  /** Answered by `status`. */
  | { readonly kind: "get-status" };

/** Where a proxy listens for redirected connections. */
export interface ListenerAddress {
  readonly family: 4 | 6;
  readonly address: string;
  readonly port: number;
}

/** What is wrong with a change, and where in the message. */
export interface MessageProblem {
  readonly path: string;
  readonly message: string;
}

/** Numbers of a running proxy. */
export interface ProxyStatus {
  /** Revision in force; undefined before the first commit: everything is denied. */
  readonly revision?: number;
  readonly connections: number;
  /** Since start. */
  readonly acceptedTotal: number;
  readonly permittedTotal: number;
  readonly deniedTotal: number;
  readonly malformedTotal: number;
  readonly recordsLostTotal: number;
  readonly rssBytes: number;
  readonly sets: number;
  readonly endpoints: number;
  readonly ipcacheEntries: number;
  /** How many connections are in which state. */
  readonly states: Readonly<Record<string, number>>;
}

/** What the proxy says. */
export type ProxyMessage =
  | {
      readonly kind: "welcome";
      readonly protocol: number;
      readonly pid: number;
      readonly startedAtMs: number;
      readonly listeners: readonly ListenerAddress[];
      /** Revision in force, of an earlier session; absent before the first commit ever. */
      readonly revision?: number;
    }
  /** There is a session already; the connection is closed after this. */
  | { readonly kind: "refused"; readonly message: string }
  | { readonly kind: "ack"; readonly revision: number }
  /** The commit was not applied, nor any of its changes; the state in force is the one before. */
  | { readonly kind: "nack"; readonly revision: number; readonly problems: readonly MessageProblem[] }
  | RecordBatch
  | { readonly kind: "status"; readonly status: ProxyStatus };

/** One message as a line, newline included. */
export function formatMessage(message: AgentMessage | ProxyMessage): string {
  return `${JSON.stringify(message)}\n`;
}

const agentKinds: ReadonlySet<string> = new Set<AgentMessage["kind"]>([
  "put-set",
  "delete-set",
  "put-endpoint",
  "delete-endpoint",
  "put-ipcache",
  "delete-ipcache",
  "commit",
  "get-status",
]);

const proxyKinds: ReadonlySet<string> = new Set<ProxyMessage["kind"]>([
  "welcome",
  "refused",
  "ack",
  "nack",
  "records",
  "status",
]);

/**
 * Parses a line that the agent sent; a string says why it is not a message. Checks form and kind; what is inside a policy
 * set is checked when it is compiled, so that all its problems come together in a `nack`.
 */
export function parseAgentMessage(line: string): AgentMessage | string {
  const value = parseObject(line, agentKinds);
  if (typeof value === "string") return value;
  const fault = agentMessageFault(value);
  return fault === undefined ? (value as unknown as AgentMessage) : `${String(value.kind)}: ${fault}`;
}

/** Parses a line that the proxy sent; a string says why it is not a message. */
export function parseProxyMessage(line: string): ProxyMessage | string {
  const value = parseObject(line, proxyKinds);
  return typeof value === "string" ? value : (value as unknown as ProxyMessage);
}

function parseObject(line: string, kinds: ReadonlySet<string>): Record<string, unknown> | string {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    return `not JSON: ${error instanceof Error ? error.message : String(error)}`;
  }
  if (!isRecord(value)) return "not a JSON object";
  if (typeof value.kind !== "string" || !kinds.has(value.kind)) return `unknown kind ${JSON.stringify(value.kind)}`;
  return value;
}

function agentMessageFault(m: Record<string, unknown>): string | undefined {
  switch (m.kind as AgentMessage["kind"]) {
    case "put-set":
      if (!isRecord(m.set) || !isNumber(m.set.id)) return "set.id must be a number";
      return isListOf(m.set.filters, isRecord) ? undefined : "set.filters must be a list of objects";
    case "put-endpoint": {
      const e = m.endpoint;
      if (!isRecord(e)) return "endpoint must be an object";
      if (!isNumber(e.id) || !isNumber(e.identity) || !isNumber(e.policySet))
        return "endpoint.id, identity and policySet must be numbers";
      return isListOf(e.ips, isString) ? undefined : "endpoint.ips must be a list of strings";
    }
    case "put-ipcache":
      return isListOf(m.entries, (e) => isRecord(e) && isString(e.prefix) && isNumber(e.identity))
        ? undefined
        : "entries must be a list of {prefix, identity}";
    case "delete-ipcache":
      return isListOf(m.prefixes, isString) ? undefined : "prefixes must be a list of strings";
    case "delete-set":
    case "delete-endpoint":
      return isNumber(m.id) ? undefined : "id must be a number";
    case "commit":
      return isNumber(m.revision) ? undefined : "revision must be a number";
    case "get-status":
      return undefined;
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isString = (value: unknown): value is string => typeof value === "string";
const isNumber = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const isListOf = (value: unknown, test: (item: unknown) => boolean): boolean =>
  Array.isArray(value) && value.every(test);
