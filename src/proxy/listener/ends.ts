/** Where a connection comes from and where it goes. */

/** An address and a port in text and host order. */
export interface SocketAddress {
  readonly address: string;
  readonly port: number;
}

/** The two ends of a connection as the client means them. */
export interface ConnectionEnds {
  readonly source: SocketAddress;
  readonly destination: SocketAddress;
}
