// TCP sockets with options that Node doesn't know, handed over to node:net by descriptor: new Socket({ fd }), listen({ fd }).
import type { IpAddress } from "#core/model";
import { formatAddress } from "#core/model";
import type { NetworkNamespace } from "./kernel.ts";
import { checked, libc } from "./native.ts";

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM_NONBLOCK_CLOEXEC = 1 | 0o4000 | 0o2000000;
const IPPROTO_TCP = 6;
/** Level and name of each option, in asm-generic/socket.h and linux/in{,6}.h. */
const option = {
  reuseAddress: [1, 2],
  reusePort: [1, 15],
  mark: [1, 36],
  transparent4: [0, 19],
  bindAddressNoPort: [0, 24],
  v6Only: [41, 26],
  transparent6: [41, 75],
} as const;
const BACKLOG = 4096;

/** An address with a port in host order. */
export interface SocketEnd {
  readonly address: IpAddress;
  readonly port: number;
}

export interface SocketOptions {
  /** Addresses that aren't this machine's may be bound, and connections to them be accepted: IP_TRANSPARENT; needs root. */
  readonly transparent?: boolean;
  /** SO_MARK of all packets sent; accepted sockets inherit it from their listener. */
  readonly mark?: number;
  /** Several listeners share a port, and the kernel spreads connections over them. */
  readonly reusePort?: boolean;
  /** The socket lives there for good; the current namespace by default. */
  readonly netns?: NetworkNamespace;
}

/** A listening socket; port 0 takes any free one. The caller owns the descriptor. Throws KernelError (EADDRINUSE...). */
export function openListener(
  end: SocketEnd,
  options: SocketOptions = {},
): { readonly fd: number; readonly port: number } {
  const what = `listen on ${describeEnd(end)}`;
  return withSocket(end.address, options, what, (fd) => {
    set(fd, option.reuseAddress, 1, what);
    if (options.reusePort) set(fd, option.reusePort, 1, what);
    bindTo(fd, end, what);
    checked(libc.listen(fd, BACKLOG), what);
    const name = Buffer.alloc(28);
    checked(libc.getsockname(fd, name, Uint32Array.of(name.length)), what);
    return { fd, port: name.readUInt16BE(2) };
  });
}

/**
 * A socket bound to an address but not to a port: `new Socket({ fd }).connect(destination)` goes out from there, the port
 * chosen by the whole tuple, so that one address has 28 000 ports towards each destination. The caller owns the descriptor.
 */
export function openConnector(source: IpAddress, options: SocketOptions = {}): number {
  const what = `use ${formatAddress(source)} as source address`;
  return withSocket(source, options, what, (fd) => {
    set(fd, option.bindAddressNoPort, 1, what);
    bindTo(fd, { address: source, port: 0 }, what);
    return fd;
  });
}

/** Sends a file's bytes from its position on without copying them: what goes out are the very pages of the file. Returns how many. */
export function sendFile(socketFd: number, fileFd: number, bytes: number): number {
  return checked(libc.sendfile(socketFd, fileFd, null, bytes), "send a file");
}

function withSocket<T>(address: IpAddress, options: SocketOptions, what: string, use: (fd: number) => T): T {
  const make = (): T => {
    const family = address.family === 4 ? AF_INET : AF_INET6;
    const fd = checked(libc.socket(family, SOCK_STREAM_NONBLOCK_CLOEXEC, IPPROTO_TCP), what);
    try {
      if (options.mark !== undefined) set(fd, option.mark, options.mark, what);
      if (options.transparent) set(fd, address.family === 4 ? option.transparent4 : option.transparent6, 1, what);
      if (address.family === 6) set(fd, option.v6Only, 1, what);
      return use(fd);
    } catch (error) {
      libc.close(fd);
      throw error;
    }
  };
  return options.netns === undefined ? make() : options.netns.run(make);
}

function set(fd: number, [level, name]: readonly [number, number], value: number, what: string): void {
  checked(libc.setsockopt(fd, level, name, Uint32Array.of(value), 4), what);
}

/** struct sockaddr_in or sockaddr_in6. */
function bindTo(fd: number, { address, port }: SocketEnd, what: string): void {
  const name = Buffer.alloc(address.family === 4 ? 16 : 28);
  name.writeUInt16LE(address.family === 4 ? AF_INET : AF_INET6, 0);
  name.writeUInt16BE(port, 2);
  name.set(address.family === 4 ? address.bytes.subarray(0, 4) : address.bytes, address.family === 4 ? 4 : 8);
  checked(libc.bind(fd, name, name.length), what);
}

function describeEnd({ address, port }: SocketEnd): string {
  return address.family === 4 ? `${formatAddress(address)}:${port}` : `[${formatAddress(address)}]:${port}`;
}
