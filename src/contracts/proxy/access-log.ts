/** Access-log records: what the proxy tells the agent about each request, response and refusal. */
import type { Direction, EndpointId, NumericIdentity, Verdict } from "#core/model";
import type { PolicyRef } from "./state.ts";

/**
 * - `request`: permitted and sent on. `response`: the head of its answer came back (or the proxy's own 502/503/504).
 * - `denied`: refused by policy, answered with 403. `malformed`: not a request that has one meaning; answered with 4xx or closed.
 */
export type AccessLogRecordKind = "request" | "response" | "denied" | "malformed";

/** One side of a connection. `identity` and `endpoint` are 0 if unknown, or not of this node. */
export interface PeerRecord {
  readonly address: string;
  readonly port: number;
  readonly identity: NumericIdentity;
  readonly endpoint: EndpointId;
}

/** The rule that came closest to allowing a denied request, and what kept it from doing so. */
export interface NearestRule {
  readonly ref: PolicyRef;
  /** `method`, `path`, `host`, or `header NAME`. */
  readonly field: string;
  readonly expected: string;
  readonly found: string;
}

/** One record. Header values never leave the proxy. */
export interface AccessLogRecord {
  readonly kind: AccessLogRecordKind;
  /** Milliseconds since 1970, with fractions. */
  readonly timeMs: number;
  /** Distinguishes connections of one proxy process. */
  readonly connection: number;
  readonly source: PeerRecord;
  readonly destination: PeerRecord;
  /** The direction whose policy decided; for a permit the one with HTTP rules, ingress before egress. */
  readonly direction: Direction;
  readonly verdict: Verdict;
  readonly protocol: "HTTP/1.0" | "HTTP/1.1";
  /** Empty where a malformed head did not get that far. */
  readonly method: string;
  readonly path: string;
  readonly host: string;
  /** Of the answer; 0 in a `request` record, and where the connection was closed without one. */
  readonly status: number;
  /** From sending the request on to the head of the answer; 0 in other records than `response`. */
  readonly latencyNs: number;
  /** The rules that allowed the request, or the explicit denies that refused it. */
  readonly rules: readonly PolicyRef[];
  /** In words, for `denied`, `malformed`, and answers of the proxy's own; else empty. */
  readonly reason: string;
  readonly nearest?: NearestRule;
}
