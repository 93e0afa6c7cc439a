/** What a listener needs from outside, and its bounds. */
import type { OnReadOpts, Socket } from "node:net";
import type { Clock } from "#core/runtime";
import type { PolicyStore } from "#proxy/policy";
import type { AccessLog } from "./access-log.ts";
import type { ConnectionEnds, SocketAddress } from "./ends.ts";

/** Bounds that keep one client from taking what belongs to all. */
export interface ListenerLimits {
  /** From the first byte of a request's head to its last. Default 60 000; sensible 5 000 to 120 000. Then 408. */
  readonly headTimeoutMs: number;
  /** Without a byte either way. Default 3 600 000 (Envoy's request timeout under Cilium). Then the connection ends. */
  readonly idleTimeoutMs: number;
  /** For the connection to the server. Default 5 000; sensible 1 000 to 30 000. Then 504. */
  readonly connectTimeoutMs: number;
  /** How long after an error response the client's bytes are still read, so that it gets to see the response. Default 2 000. */
  readonly lingerTimeoutMs: number;
  /** How many bytes of a denied request's body are read and thrown away to keep the connection. Default 1 MiB. */
  readonly discardBytes: number;
  /** Requests sent on and not yet answered, per connection; more wait in the kernel. Default 32. */
  readonly pipelinedRequests: number;
  /** Connections at a time; more are reset. Default 50 000. */
  readonly connections: number;
}

/** The defaults. */
export const defaultLimits: ListenerLimits = {
  headTimeoutMs: 60_000,
  idleTimeoutMs: 3_600_000,
  connectTimeoutMs: 5_000,
  lingerTimeoutMs: 2_000,
  discardBytes: 1024 * 1024,
  pipelinedRequests: 32,
  connections: 50_000,
};

/** What `createListener` needs. */
export interface ListenerOptions {
  readonly policy: PolicyStore;
  readonly log: AccessLog;
  /** Where the client wanted to go; undefined refuses the connection, as one that nobody redirected. */
  readonly originalDestination: (accepted: Socket) => SocketAddress | undefined;
  /**
   * Begins a connection to `destination` that comes from `source`'s address (port free to choose). Returns a socket that is
   * connecting, with half-open allowed and `reads` as its `onread`; may throw, which counts as a failed connection.
   */
  readonly connectUpstream: (ends: ConnectionEnds, reads: OnReadOpts) => Socket;
  readonly limits?: Partial<ListenerLimits>;
  readonly clock?: Clock;
}
