/**
 * The proxy's connections: accepted sockets in, permitted requests out, a record of each. One server connection per client
 * connection, opened with the first permitted request; answers in the order of the requests, whoever gives them; back pressure
 * both ways, so memory per connection is bounded whatever passes. Opens no sockets itself: `connectUpstream` is handed in.
 * @module
 */
export { AccessLog } from "./access-log.ts";
export type { ConnectionEnds, SocketAddress } from "./ends.ts";
export { createListener, type Listener, type ListenerStatus } from "./listener.ts";
export type { ListenerLimits, ListenerOptions } from "./options.ts";
