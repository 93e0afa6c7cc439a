/**
 * Transparent TCP sockets, which Node has no options for: made with libc calls, then handed to node:net by descriptor.
 * See tcp(7), ip(7) and Documentation/networking/tproxy.rst of the kernel.
 */
import { connect as netConnect, type OnReadOpts, Socket } from "node:net";
import koffi from "koffi";
import { type IpAddress, parseAddress } from "#core/model";
import { TsiliumError } from "#core/runtime";
import type { ConnectionEnds, SocketAddress } from "#proxy/listener";

/** The mark on everything that the proxy sends: judged already (MARK_FROM_PROXY in bpf/include/abi/types.h). */
const proxyMark = 0xa00;

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM_NONBLOCK_CLOEXEC = 1 | 0o4000 | 0o2000000;
const SOL_IP = 0;
const SOL_SOCKET = 1;
const SOL_IPV6 = 41;
const SO_REUSEADDR = 2;
const SO_MARK = 36;
const IP_TRANSPARENT = 19;
const IP_BIND_ADDRESS_NO_PORT = 24;
const IPV6_V6ONLY = 26;
const IPV6_TRANSPARENT = 75;

interface Libc {
  readonly socket: (family: number, type: number, protocol: number) => number;
  readonly setsockopt: (fd: number, level: number, option: number, value: Buffer, length: number) => number;
  readonly bind: (fd: number, address: Buffer, length: number) => number;
  readonly listen: (fd: number, backlog: number) => number;
  readonly close: (fd: number) => number;
  readonly getsockname: (fd: number, address: Buffer, length: Buffer) => number;
}

let loaded: Libc | undefined;

function libc(): Libc {
  if (loaded !== undefined) return loaded;
  const library = koffi.load("libc.so.6");
  loaded = {
    socket: library.func("int socket(int, int, int)"),
    setsockopt: library.func("int setsockopt(int, int, int, const void *, uint32_t)"),
    bind: library.func("int bind(int, const void *, uint32_t)"),
    listen: library.func("int listen(int, int)"),
    close: library.func("int close(int)"),
    getsockname: library.func("int getsockname(int, void *, void *)"),
  };
  return loaded;
}

/** A listening descriptor and the port it got. */
export interface ListeningSocket {
  readonly fd: number;
  readonly port: number;
}

/**
 * A listening TCP socket to which the kernel may hand connections for any address. The mark is inherited by accepted
 * sockets, so that replies carry it. Port 0 = any free one. Throws SOCKET_FAILED.
 */
export function listenTransparent({ address, port }: SocketAddress): ListeningSocket {
  return withSocket(address, (fd, ip) => {
    setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1, address);
    check(libc().bind(fd, socketAddress(ip, port), ip.family === 4 ? 16 : 28), "bind", `${address} port ${port}`);
    check(libc().listen(fd, 4096), "listen", address);
    const name = Buffer.alloc(28);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(name.length);
    check(libc().getsockname(fd, name, length), "getsockname", address);
    return { fd, port: name.readUInt16BE(2) };
  });
}

/** A socket that is connecting to the destination from the source's address, on a port of the kernel's choice. Throws SOCKET_FAILED. */
export function connectTransparent({ source, destination }: ConnectionEnds, onread: OnReadOpts): Socket {
  const fd = withSocket(source.address, (fd, ip) => {
    // The port is chosen at connect, by the whole tuple: else 28 000 connections would exhaust a client's ports.
    setOption(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1, source.address);
    check(libc().bind(fd, socketAddress(ip, 0), ip.family === 4 ? 16 : 28), "bind", source.address);
    return fd;
  });
  // pauseOnCreate keeps Node from reading before the socket is connected; connect() then uses the descriptor it has.
  const options = { fd, allowHalfOpen: true, pauseOnCreate: true, onread };
  const socket = new Socket(options);
  socket.setNoDelay(true);
  socket.connect({ host: destination.address, port: destination.port });
  // What was paused at its creation stays so after connect(); reading begins by itself when it is connected.
  return socket.resume();
}

/** An ordinary connection, for a proxy that is not transparent. */
export function connectPlain({ destination }: ConnectionEnds, onread: OnReadOpts): Socket {
  return netConnect({ host: destination.address, port: destination.port, allowHalfOpen: true, noDelay: true, onread });
}

function withSocket<T>(address: string, use: (fd: number, ip: IpAddress) => T): T {
  const ip = parseAddress(address);
  if (ip === undefined) throw new TsiliumError("SOCKET_FAILED", `"${address}" is not an IP address`);
  const fd = check(
    libc().socket(ip.family === 4 ? AF_INET : AF_INET6, SOCK_STREAM_NONBLOCK_CLOEXEC, 6),
    "socket",
    address,
  );
  try {
    setOption(fd, SOL_SOCKET, SO_MARK, proxyMark, address);
    if (ip.family === 4) setOption(fd, SOL_IP, IP_TRANSPARENT, 1, address);
    else {
      setOption(fd, SOL_IPV6, IPV6_V6ONLY, 1, address);
      setOption(fd, SOL_IPV6, IPV6_TRANSPARENT, 1, address);
    }
    return use(fd, ip);
  } catch (error) {
    libc().close(fd);
    throw error;
  }
}

function setOption(fd: number, level: number, option: number, value: number, address: string): void {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  check(libc().setsockopt(fd, level, option, bytes, 4), `setsockopt ${level}/${option}`, address);
}

function check(result: number, call: string, what: string): number {
  if (result >= 0) return result;
  const errno = koffi.errno();
  const name = Object.entries(koffi.os.errno).find(([, number]) => number === errno)?.[0] ?? `errno ${errno}`;
  const hint = name === "EPERM" ? "; transparent sockets need CAP_NET_ADMIN: run as root" : "";
  throw new TsiliumError("SOCKET_FAILED", `${call} for ${what} failed: ${name}${hint}`, {
    details: { call, errno: name },
  });
}

/** A struct sockaddr_in or sockaddr_in6. */
function socketAddress(ip: IpAddress, port: number): Buffer {
  const bytes = Buffer.alloc(ip.family === 4 ? 16 : 28);
  bytes.writeUInt16LE(ip.family === 4 ? AF_INET : AF_INET6, 0);
  bytes.writeUInt16BE(port, 2);
  if (ip.family === 4) bytes.set(ip.bytes.subarray(0, 4), 4);
  else bytes.set(ip.bytes, 8);
  return bytes;
}
