/**
 * The proxy's ends of its connections: listeners that take connections meant for others, and upstream sockets that bear
 * the client's address. Whatever they send carries the mark of the proxy: judged already.
 */
import { connect as netConnect, type OnReadOpts, Socket } from "node:net";
import { SkbMark } from "#contracts/bpf";
import { type IpAddress, parseAddress } from "#core/model";
import { TsiliumError } from "#core/runtime";
import { openConnector, openListener } from "#datapath/linux";
import type { ConnectionEnds, SocketAddress } from "#proxy/listener";

const options = { transparent: true, mark: SkbMark.FROM_PROXY } as const;

/** A listening descriptor and the port it got. */
export interface ListeningSocket {
  readonly fd: number;
  readonly port: number;
}

/**
 * A listening TCP socket to which the kernel may hand connections for any address. The mark is inherited by accepted
 * sockets, so that replies carry it. Port 0 = any free one. Throws SOCKET_FAILED or KernelError.
 */
export function listenTransparent({ address, port }: SocketAddress): ListeningSocket {
  return openListener({ address: ipOf(address), port }, options);
}

/** A socket that is connecting to the destination from the source's address, on a port of the kernel's choice. Throws SOCKET_FAILED or KernelError. */
export function connectTransparent({ source, destination }: ConnectionEnds, onread: OnReadOpts): Socket {
  // pauseOnCreate keeps Node from reading before the socket is connected; connect() then uses the descriptor it has.
  const socketOptions = {
    fd: openConnector(ipOf(source.address), options),
    allowHalfOpen: true,
    pauseOnCreate: true,
    onread,
  };
  const socket = new Socket(socketOptions);
  socket.setNoDelay(true);
  socket.connect({ host: destination.address, port: destination.port });
  // What was paused at its creation stays so after connect(); reading begins by itself when it is connected.
  return socket.resume();
}

/** An ordinary connection, for a proxy that is not transparent. */
export function connectPlain({ destination }: ConnectionEnds, onread: OnReadOpts): Socket {
  return netConnect({ host: destination.address, port: destination.port, allowHalfOpen: true, noDelay: true, onread });
}

function ipOf(address: string): IpAddress {
  const ip = parseAddress(address);
  if (ip === undefined) throw new TsiliumError("SOCKET_FAILED", `"${address}" is not an IP address`);
  return ip;
}
