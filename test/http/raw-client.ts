/** A TCP client made of hand-made packets: it says what no kernel would. Its workload's own kernel must not have the address. */
import koffi from "koffi";
import { parseAddress } from "#core/model";
import { type PacketLayers, packet, type Tcp } from "../packet/index.ts";
import type { HttpNode, Workload } from "./wire.ts";

const libc = koffi.load("libc.so.6");
const socket = libc.func("int socket(int family, int type, int protocol)");
const bind = libc.func("int bind(int fd, const void *name, uint length)");
const send = libc.func("long send(int fd, const void *bytes, size_t length, int flags)");
const recv = libc.func("long recv(int fd, _Out_ uint8_t *bytes, size_t length, int flags)");
const close = libc.func("int close(int fd)");

const AF_PACKET = 17;
const SOCK_RAW_NONBLOCK = 3 | 0o4000;
const ETH_P_ALL_WIRE = 0x0300;
const FIN = 1;
const SYN = 2;
const RST = 4;

/** Takes the addresses off a workload's interface: from then on only raw clients speak for it. */
export function silence(node: HttpNode, { netns, ip4, ip6 }: Workload): void {
  const netlink = node.kernel.netlink(netns);
  const { index: ifindex } = netlink.link("eth0")!;
  netlink.apply([
    { kind: "deleteAddress", ifindex, address: parseAddress(ip4)!, length: 32 },
    { kind: "deleteAddress", ifindex, address: parseAddress(ip6)!, length: 128 },
  ]);
  netlink.close();
}

/** A socket on a silent workload's interface, for frames. */
export class RawLink {
  readonly workload: Workload;
  readonly #fd: number;
  readonly #buffer = Buffer.alloc(70_000);
  #port = 20_000;

  constructor(node: HttpNode, workload: Workload) {
    this.workload = workload;
    const netlink = node.kernel.netlink(workload.netns);
    const { index } = netlink.link("eth0")!;
    netlink.close();
    this.#fd = workload.netns.run(() => socket(AF_PACKET, SOCK_RAW_NONBLOCK, ETH_P_ALL_WIRE) as number);
    const name = Buffer.alloc(20);
    name.writeUInt16LE(AF_PACKET, 0);
    name.writeUInt16LE(ETH_P_ALL_WIRE, 2);
    name.writeUInt32LE(index, 4);
    if (workload.netns.run(() => bind(this.#fd, name, name.length) as number) !== 0)
      throw new Error("bind a raw socket");
  }

  nextPort(): number {
    return ++this.#port;
  }

  send(frame: Uint8Array): void {
    send(this.#fd, frame, frame.length, 0);
  }

  /** Frames that came in since the last call. */
  *received(): Iterable<Buffer> {
    for (;;) {
      const length = recv(this.#fd, this.#buffer, this.#buffer.length, 0) as number;
      if (length <= 0) return;
      yield Buffer.from(this.#buffer.subarray(0, length));
    }
  }

  close(): void {
    close(this.#fd);
  }
}

/** What a segment may differ in from an honest one. */
export interface Odd extends Partial<Tcp> {
  /** Behind the payload, not counted by the IP header. */
  readonly trailing?: string;
  readonly ipOptions?: Uint8Array;
  readonly ttl?: number;
  readonly vlans?: readonly number[];
  /** Sent as IP fragments of this many bytes. */
  readonly fragment?: number;
  /** Added to the IP header's total length. */
  readonly lengthOff?: number;
  /** Of the timestamp option, in place of the connection's. */
  readonly timestamp?: number;
}

const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms));
const u32 = (number: number) => number >>> 0;

/** One connection of a raw client. Offsets count the stream's bytes from 0. */
export class RawConnection {
  readonly port: number;
  readonly isn: number;
  readonly #link: RawLink;
  readonly #to: { readonly ip: string; readonly port: number };
  readonly #timestamps: boolean;
  #timestamp = 100_000;
  #echo = 0;
  /** The server's next byte; 0 until its SYN-ACK has come. */
  next = 0;
  /** What the server has acknowledged last. */
  acknowledged = 0;
  received = "";
  wasReset = false;

  constructor(
    link: RawLink,
    to: { readonly ip: string; readonly port: number },
    options: { readonly isn?: number; readonly port?: number; readonly timestamps?: boolean } = {},
  ) {
    this.#link = link;
    this.#to = to;
    this.isn = options.isn ?? Math.floor(Math.random() * 2 ** 32);
    this.port = options.port ?? link.nextPort();
    this.#timestamps = options.timestamps ?? true;
  }

  /** Sends a segment with numbers as given. */
  raw(seq: number, ack: number, flags: string, data = "", odd: Odd = {}): void {
    const { trailing, ipOptions, ttl, vlans, fragment, lengthOff = 0, timestamp, options, ...tcp } = odd;
    const stamp = Buffer.alloc(12, 1);
    if (this.#timestamps) {
      stamp.set([8, 10], 2);
      stamp.writeUInt32BE(u32(timestamp ?? this.#timestamp++), 4);
      stamp.writeUInt32BE(this.#echo, 8);
    }
    const { workload } = this.#link;
    const payload = Buffer.from(data, "latin1");
    const allOptions = Buffer.concat([options ?? new Uint8Array(0), this.#timestamps ? stamp : new Uint8Array(0)]);
    const ethernet = { source: mac(workload.mac), destination: mac(workload.hostMac), ...(vlans && { vlans }) };
    const base: PacketLayers = {
      ethernet,
      tcp: {
        source: this.port,
        destination: this.#to.port,
        flags,
        seq: u32(seq),
        ack: u32(ack),
        options: allOptions,
        ...tcp,
      },
      payload,
    };
    const ip = {
      source: workload.ip4,
      destination: this.#to.ip,
      ...(ttl && { ttl }),
      ...(ipOptions && { options: ipOptions }),
    };
    const whole = packet({ ...base, ipv4: ip });
    const ipv4 = { ...ip, totalLength: whole.length - 14 + lengthOff };
    if (fragment !== undefined) this.#sendFragments(whole, fragment, ethernet, ip);
    else this.#link.send(Buffer.concat([packet({ ...base, ipv4 }), Buffer.from(trailing ?? "", "latin1")]));
  }

  #sendFragments(whole: Uint8Array, size: number, ethernet: object, ip: { source: string; destination: string }): void {
    const transport = whole.subarray(34);
    const id = 1 + Math.floor(Math.random() * 65_000);
    for (let at = 0; at < transport.length; at += size)
      this.#link.send(
        packet({
          ethernet,
          ipv4: { ...ip, id, protocol: 6, fragmentOffset: at, moreFragments: at + size < transport.length },
          payload: transport.subarray(at, at + size),
        }),
      );
  }

  /** SYN, SYN-ACK, ACK. */
  async open(odd: Odd = {}): Promise<this> {
    this.raw(this.isn, 0, "S", "", { ...odd, options: Buffer.concat([Buffer.from([2, 4, 5, 0xb4]), odd.options ?? new Uint8Array(0)]) }); // biome-ignore format: one line
    for (let i = 0; i < 200 && this.next === 0; i++) await this.poll(1);
    if (this.next !== 0) this.raw(this.isn + 1, this.next, "A");
    await sleep(2);
    return this;
  }

  /** Sends bytes at an offset of the stream. */
  at(offset: number, data: string, odd: Odd = {}): this {
    this.raw(this.isn + 1 + offset, odd.ack ?? this.next, odd.flags ?? "PA", data, odd);
    return this;
  }

  /** Takes in what comes for `ms`; acknowledges it. */
  async poll(ms: number, acknowledge = true): Promise<this> {
    const end = performance.now() + ms;
    do {
      for (const frame of this.#link.received()) this.#take(frame, acknowledge);
      await sleep(1);
    } while (performance.now() < end);
    return this;
  }

  #take(frame: Buffer, acknowledge: boolean): void {
    if (frame.readUInt16BE(12) !== 0x0800 || frame[23] !== 6) return;
    const tcp = frame.subarray(34, 14 + frame.readUInt16BE(16));
    if (tcp.readUInt16BE(0) !== this.#to.port || tcp.readUInt16BE(2) !== this.port) return;
    const [seq, ack, flags] = [tcp.readUInt32BE(4), tcp.readUInt32BE(8), tcp[13]!];
    const headerSize = (tcp[12]! >> 4) * 4;
    const stampAt = tcp.subarray(20, headerSize).indexOf(Buffer.from([8, 10]));
    if (stampAt >= 0) this.#echo = tcp.readUInt32BE(20 + stampAt + 2);
    this.acknowledged = ack;
    if (flags & RST) {
      this.wasReset = true;
      return;
    }
    if (flags & SYN) {
      this.next = u32(seq + 1);
      return;
    }
    const data = tcp.subarray(headerSize);
    if (seq !== this.next) return;
    this.received += data.toString("latin1");
    this.next = u32(this.next + data.length + (flags & FIN ? 1 : 0));
    if (acknowledge && (data.length > 0 || flags & FIN)) this.raw(ack, this.next, "A");
  }

  /** Resets it, so that the server forgets it. */
  abort(): void {
    this.raw(this.acknowledged, this.next, "R");
  }
}

const mac = (bytes: Uint8Array) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
