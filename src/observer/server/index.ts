/**
 * The observer: a ring of the last events, filters, counters, and Hubble's gRPC API over a unix socket or loopback.
 * @module
 */
export type { ObserverAddress } from "./listen.ts";
export {
  createObserver,
  type Observer,
  type ObserverOptions,
  type ServedObserver,
} from "./observer.ts";
export type { ObserverStatus } from "./status.ts";
