import { errnoName, KernelError, kernelError } from "./errors.ts";
import type { Neighbour, Netlink, NetworkChange, NetworkNamespace } from "./kernel.ts";
import { checked, lastErrno, libc } from "./native.ts";
import { decodeReplies, encodeRequests, Flag, MessageType, type Reply, type Request } from "./netlink-message.ts";
import { alreadyMade, decodeAddress, decodeFilter, decodeLink, decodeNeighbour, decodeRoute, decodeRule, describeChange, encodeChange, query } from "./netlink-route.ts"; // biome-ignore format: one door

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const SOL_NETLINK = 270;
const NETLINK_EXT_ACK = 11;
const NETLINK_CAP_ACK = 10;
const MSG_TRUNC = 0x20;
/** Requests in one send: each costs a reply in the socket's receive buffer until we read it. */
const BATCH = 64;
const DUMP_TRIES = 5;

/** A socket in the given namespace, or in the current one; it stays there wherever it is used. */
export function openNetlink(netns?: NetworkNamespace): Netlink {
  return netns === undefined ? new RealNetlink() : netns.run(() => new RealNetlink());
}

/** Programs of all tc filters on that side of an interface's clsact qdisc, in the order in which they run; empty without one. */
export function filterPrograms(ifindex: number, side: "ingress" | "egress", netns?: NetworkNamespace): number[] {
  const list = () => {
    const netlink = new RealNetlink();
    try {
      return netlink.filterPrograms(ifindex, side);
    } finally {
      netlink.close();
    }
  };
  return netns === undefined ? list() : netns.run(list);
}

/** Whether the kernel knows a type of interface ("wireguard"). May make one in that namespace: one that nobody else uses. */
export function supportsLinkType(netns: NetworkNamespace, type: string): boolean {
  return netns.run(() => {
    const netlink = new RealNetlink();
    try {
      // Anything but "no such type" shows that there is one: some want more attributes than these.
      return netlink.tryLinkType(type) !== "EOPNOTSUPP";
    } finally {
      netlink.close();
    }
  });
}

class RealNetlink implements Netlink {
  readonly #fd: number;
  #sequence = 1;
  #buffer = Buffer.alloc(65536);

  constructor() {
    this.#fd = checked(libc.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, 0), "open a netlink socket");
    for (const option of [NETLINK_EXT_ACK, NETLINK_CAP_ACK])
      checked(libc.setsockopt(this.#fd, SOL_NETLINK, option, Buffer.from([1, 0, 0, 0]), 4), "set up a netlink socket");
  }

  links() {
    return this.#dump(query.links(), "interfaces", decodeLink);
  }

  link(nameOrIndex: string | number) {
    const [reply] = this.#exchange([query.link(nameOrIndex)]);
    if (reply!.errno === 0) return decodeLink(reply!.answer!);
    if (errnoName(reply!.errno) === "ENODEV") return undefined;
    throw kernelError(`get interface ${nameOrIndex}`, reply!.errno, reply!.explanation);
  }

  addresses(ifindex?: number) {
    const all = this.#dump(query.addresses(), "addresses", decodeAddress);
    return ifindex === undefined ? all : all.filter((row) => row.ifindex === ifindex);
  }

  routes(family: 4 | 6, table = 254) {
    return this.#dump(query.routes(family), "routes", decodeRoute).filter((route) => route.table === table);
  }

  rules(family: 4 | 6) {
    return this.#dump(query.rules(family), "rules", decodeRule);
  }

  neighbours(family: 4 | 6, ifindex: number): readonly Neighbour[] {
    return this.#dump(query.neighbours(family), "neighbours", decodeNeighbour).filter((row) => row.ifindex === ifindex);
  }

  filterPrograms(ifindex: number, side: "ingress" | "egress"): number[] {
    return this.#dump(query.filters(ifindex, side), "tc filters", decodeFilter)
      .toSorted((a, b) => a.priority - b.priority)
      .map(({ programId }) => programId);
  }

  apply(changes: readonly NetworkChange[]): void {
    let refused: KernelError | undefined;
    for (let at = 0; at < changes.length; at += BATCH) {
      const some = changes.slice(at, at + BATCH);
      const replies = this.#exchange(some.map(encodeChange));
      for (const [i, reply] of replies.entries()) {
        const change = some[i]!;
        if (reply.errno === 0 || alreadyMade(change, errnoName(reply.errno))) continue;
        refused ??= kernelError(describeChange(change), reply.errno, reply.explanation, { change: change.kind });
      }
    }
    if (refused !== undefined) throw refused;
  }

  /** errno's name, or "" if an interface of that type was made. */
  tryLinkType(type: string): string {
    const [reply] = this.#exchange([query.newLinkOfType(`probe-${type}`.slice(0, 15), type)]);
    return reply!.errno === 0 ? "" : errnoName(reply!.errno);
  }

  close(): void {
    libc.close(this.#fd);
  }

  /** Sends all requests at once and waits for every acknowledgement, in the order of the requests. */
  #exchange(requests: readonly Request[]) {
    const first = this.#send(requests.map((request) => ({ ...request, flags: request.flags | Flag.ACK })));
    const replies = requests.map(() => ({ errno: 0, explanation: "", answer: undefined as Buffer | undefined }));
    for (let waiting = requests.length; waiting > 0; ) {
      for (const message of this.#receive()) {
        const reply = replies[message.sequence - first];
        if (reply === undefined) continue; // left over from an exchange that failed
        if (message.type === MessageType.ERROR) {
          reply.errno = message.errno;
          reply.explanation = message.explanation;
          waiting--;
        } else reply.answer = Buffer.from(message.payload);
      }
    }
    return replies;
  }

  /** All rows; read again when a change disturbed the kernel's walk through its tables. */
  #dump<T>(request: Request, what: string, decode: (payload: Buffer) => T | undefined): T[] {
    for (let tries = 1; ; tries++) {
      const sequence = this.#send([request]);
      const rows: T[] = [];
      let interrupted = false;
      for (let done = false; !done; ) {
        for (const message of this.#receive()) {
          if (message.sequence !== sequence) continue;
          interrupted ||= message.interrupted;
          if (message.type === MessageType.DONE || message.type === MessageType.ERROR) {
            if (message.errno !== 0) throw kernelError(`list ${what}`, message.errno, message.explanation);
            done = true;
          } else {
            const row = decode(message.payload);
            if (row !== undefined) rows.push(row);
          }
        }
      }
      if (!interrupted || tries === DUMP_TRIES) return rows;
    }
  }

  /** Returns the first request's sequence number. */
  #send(requests: readonly Request[]): number {
    const first = this.#sequence;
    this.#sequence += requests.length;
    const bytes = encodeRequests(requests, first);
    checked(Number(libc.send(this.#fd, bytes, bytes.length, 0)), "send to netlink");
    return first;
  }

  #receive(): Iterable<Reply> {
    // With MSG_TRUNC the whole length comes back even if the buffer was too small; the kernel keeps to 32 KiB in dumps.
    const length = Number(libc.recv(this.#fd, this.#buffer, this.#buffer.length, MSG_TRUNC));
    if (length < 0) throw kernelError("receive from netlink", lastErrno());
    if (length > this.#buffer.length)
      throw new KernelError("KERNEL_REFUSED", "EMSGSIZE", `receive from netlink: a message of ${length} bytes, ${this.#buffer.length} at most`); // biome-ignore format: one message
    return decodeReplies(this.#buffer.subarray(0, length));
  }
}
