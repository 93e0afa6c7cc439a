/** The states of a connection, as unions: what holds, what comes next, which timer ends it. */
import type { Permit } from "#proxy/policy";
import type { LoggedExchange } from "./access-log.ts";
import type { Answer } from "./answers.ts";

/** A request that was sent on, until its answer has been relayed. */
export interface Forwarded extends LoggedExchange {
  readonly kind: "forwarded";
  readonly upgrade: string | undefined;
  /** Whether the client expects to send another request behind it. */
  readonly keepAlive: boolean;
  readonly sentAtMs: number;
}

/** What is due to the client, in the order of its requests: the server's answers, and between them the proxy's own. */
export type Exchange =
  | Forwarded
  /** No answer = the connection is closed without one. */
  | { readonly kind: "answer"; readonly answer: Answer | undefined };

/** Where the reading of requests stands. */
export type RequestState =
  /** Between requests. Next: a head's first byte. Ended by `idleTimeoutMs`. */
  | { readonly kind: "idle" }
  /** Part of a head is here. Next: judged, or refused. Ended by `headTimeoutMs` with 408. */
  | { readonly kind: "head"; readonly sinceMs: number }
  /** The body of a permitted request passes through. Next: idle or draining. Ended by `idleTimeoutMs`. */
  | { readonly kind: "body"; readonly exchange: Forwarded }
  /** The body of a denied request is thrown away, up to `discardBytes`. Next: idle or draining. */
  | { readonly kind: "discard"; leftBytes: number }
  /** An upgrade or CONNECT went out; what the client sends meanwhile is held. Next: tunnel, or idle if the server declines. */
  | { readonly kind: "switching"; readonly exchange: Forwarded }
  /** Bytes pass both ways unread. Next: closed. Ended by `idleTimeoutMs`. */
  | { readonly kind: "tunnel"; readonly permit: Permit }
  /** No further request is read; answers that are due still go out. Next: lingering. */
  | { readonly kind: "draining" }
  /** All is said, our side is shut; the client's bytes are thrown away. Ended by the client's end or `lingerTimeoutMs`. */
  | { readonly kind: "lingering"; readonly untilMs: number }
  | { readonly kind: "closed" };

/** Where the reading of responses stands. */
export type ServerState =
  /** No request was permitted yet: the server knows nothing of the client. */
  | { readonly kind: "unopened" }
  /** Next: head. Ended by `connectTimeoutMs` with 504. */
  | { readonly kind: "connecting"; readonly sinceMs: number }
  /** Between responses, or in a response's head. */
  | { readonly kind: "head" }
  /** A response's body passes through. `keepAlive`: the server goes on reading behind it. */
  | { readonly kind: "body"; readonly keepAlive: boolean }
  | { readonly kind: "tunnel" }
  | { readonly kind: "closed" };

/** States without data. */
export const idle: RequestState = { kind: "idle" };
export const draining: RequestState = { kind: "draining" };
export const requestsClosed: RequestState = { kind: "closed" };
export const serverUnopened: ServerState = { kind: "unopened" };
export const serverHead: ServerState = { kind: "head" };
export const serverBody: ServerState = { kind: "body", keepAlive: true };
export const serverLastBody: ServerState = { kind: "body", keepAlive: false };
export const serverTunnel: ServerState = { kind: "tunnel" };
export const serverClosed: ServerState = { kind: "closed" };
