/**
 * A node of its own with the real programs on real interfaces: workloads are namespaces, servers and clients are sockets of this
 * process in them. What the agent would write into the maps is written by the test, so that it says exactly what is in force.
 */
import { createServer, Socket } from "node:net";
import { resolve } from "node:path";
import { HttpCount, type HttpEvent, HttpEventKind, HttpLimit, httpEventCodec, PolicyFlags } from "#contracts/bpf";
import { compileRules, type RequestRule } from "#control/http";
import { type EndpointId, hostPrefix, type IpAddress, type NumericIdentity, type PolicySetId, parseAddress, parsePrefix } from "#core/model"; // biome-ignore format: one door
import { type BpfMap, ensureBpffs, type Kernel, MapType, type NetworkNamespace, openConnector, openKernel, openListener, type RingBuffer } from "#datapath/linux"; // biome-ignore format: one door
import { sweepTestNamespaces, sweepTestPins, testName } from "#datapath/linux/testing";
import { cleanupDatapath, type LoadedDatapath, loadDatapath, planObjects } from "#datapath/loader";
import { ipcacheKey, ipv4Number, policyKey } from "#datapath/maps";
import { createInterfaceTarget, createNodeConfigWriter, createNodeOperations, type InterfaceTarget, type NodeConfigWriter } from "#datapath/reconcile"; // biome-ignore format: one door
import { textsOf } from "#observer/decode";

/** A workload: a namespace with one interface, an endpoint of the node. */
export interface Workload {
  readonly id: EndpointId;
  readonly identity: NumericIdentity;
  readonly ip4: string;
  readonly ip6: string;
  readonly netns: NetworkNamespace;
  readonly netnsName: string;
  readonly mac: Uint8Array;
  readonly hostMac: Uint8Array;
}

/** What stands in a workload's policy for one port. */
export interface PortPolicy {
  readonly direction: "ingress" | "egress";
  readonly port: number;
  /** Judged in the kernel; `undefined`: allowed whole. */
  readonly rules?: readonly RequestRule[];
  readonly proxyPort?: number;
}

const macText = (last: number, side: number) => `02:00:00:00:${side.toString(16).padStart(2, "0")}:${last.toString(16).padStart(2, "0")}`; // biome-ignore format: one line
const bytesOf = (mac: string) => Uint8Array.from(mac.split(":"), (part) => Number.parseInt(part, 16));
const address = (text: string): IpAddress => parseAddress(text)!;

/** The node. Every test file has one of its own. */
export class HttpNode {
  readonly kernel: Kernel = openKernel();
  readonly workloads: readonly Workload[];
  readonly netns: NetworkNamespace;
  readonly directory: string;
  readonly #undo: (() => void)[] = [];
  readonly #loaded: LoadedDatapath;
  readonly #nodeConfig: NodeConfigWriter;
  readonly #interfaces: InterfaceTarget;
  readonly #events: RingBuffer;
  readonly #policies = new Map<EndpointId, readonly PortPolicy[]>();
  #sets = 0;
  #programs = 0;

  /** `sizes`: capacities in place of the objects' own. */
  constructor(names: readonly string[], sizes: Readonly<Record<string, number>> = {}) {
    ensureBpffs();
    sweepTestNamespaces();
    sweepTestPins();
    const name = testName();
    this.directory = `/sys/fs/bpf/${name}`;
    this.netns = this.#namespace(name);
    const plan = planObjects({
      objectDirectory: resolve(import.meta.dirname, "../../build/bpf"),
      maxEntries: { http_conns: 4096, ct4: 8192, ct6: 8192, nat: 1024, ...sizes },
    });
    const routers = { router4: address("10.0.0.1"), router6: address("fd00::1") };
    const { kernel, directory } = this;
    this.#loaded = this.netns.run(() => loadDatapath({ kernel, plan, directory }));
    this.#undo.push(() => this.netns.run(() => cleanupDatapath(kernel, directory)));
    this.#undo.push(() => this.#loaded.close());
    const { maps, attachments: hooks } = this.#loaded;
    this.#nodeConfig = createNodeConfigWriter(maps.node_config);
    this.#events = kernel.bpf.openRingBuffer(this.rawMap("events"));
    this.#undo.push(() => this.#events.close());
    this.#interfaces = this.netns.run(() => {
      const target = createInterfaceTarget({ kernel, ifaces: maps.ifaces, hooks, routers, isOurs: () => true });
      createNodeOperations({ kernel, hooks, nodeConfig: this.#nodeConfig }).update("node", {
        podCidr4: parsePrefix("10.0.1.0/24")!,
        podCidr6: parsePrefix("fd00:1::/112")!,
        ...routers,
      });
      return target;
    });
    maps.ipcache.set(ipcacheKey(hostPrefix(routers.router4)), { identity: 1 as NumericIdentity, tunnelEndpoint: 0, endpointId: 0 as EndpointId, flags: 0 }); // biome-ignore format: a row
    maps.ipcache.set(ipcacheKey(hostPrefix(routers.router6)), { identity: 1 as NumericIdentity, tunnelEndpoint: 0, endpointId: 0 as EndpointId, flags: 0 }); // biome-ignore format: a row
    this.workloads = names.map((_, i) => this.#workload(i + 1));
    for (const { id } of this.workloads) this.policy(id, []);
  }

  #namespace(name: string): NetworkNamespace {
    const netns = this.kernel.netns.create(name);
    this.#undo.push(() => {
      netns.close();
      this.kernel.netns.delete(name);
    });
    const netlink = this.kernel.netlink(netns);
    netlink.apply([{ kind: "setLink", ifindex: 1, up: true }]);
    netlink.close();
    return netns;
  }

  #workload(n: number): Workload {
    const netnsName = testName();
    const netns = this.#namespace(netnsName);
    const id = n as EndpointId;
    const identity = (1000 + n) as NumericIdentity;
    const [ip4, ip6] = [`10.0.1.${n}`, `fd00:1::${n}`];
    const [mac, hostMac] = [macText(n, 1), macText(n, 2)];
    this.netns.run(() =>
      this.#interfaces.operations.update(id, {
        hostName: `tsl${n}`,
        netnsPath: `/run/netns/${netnsName}`,
        name: "eth0",
        mac,
        hostMac,
        ipv4: address(ip4),
        ipv6: address(ip6),
      }),
    );
    const { maps } = this.#loaded;
    maps.endpoints.set(id, {
      ifindex: this.#interfaces.up.get(id)!,
      identity,
      policySet: 0 as PolicySetId,
      id,
      flags: 3,
      mac: bytesOf(mac),
      hostMac: bytesOf(hostMac),
      ipv4: ipv4Number(address(ip4)),
      ipv6: address(ip6).bytes,
    });
    for (const ip of [ip4, ip6])
      maps.ipcache.set(ipcacheKey(hostPrefix(address(ip))), { identity, tunnelEndpoint: 0, endpointId: id, flags: 0 });
    return { id, identity, ip4, ip6, netns, netnsName, mac: bytesOf(mac), hostMac: bytesOf(hostMac) };
  }

  rawMap(name: string): BpfMap {
    return this.#loaded.rawMaps[name]!;
  }

  get maps(): LoadedDatapath["maps"] {
    return this.#loaded.maps;
  }

  /** Puts a workload's policy in force, as a new set and a new epoch. What no row speaks of is allowed. */
  policy(id: EndpointId, ports: readonly PortPolicy[]): void {
    const { maps } = this.#loaded;
    const set = ++this.#sets as PolicySetId;
    this.#policies.set(id, ports);
    for (const direction of ["ingress", "egress"] as const)
      maps.policy.set(
        policyKey({ set, identity: 0 as NumericIdentity, direction, protocol: 0, port: 0, portBits: 0 }),
        {
          precedence: 0,
          cookie: 0,
          httpProgram: 0,
          proxyPort: 0,
          l4Prefix: 0,
          flags: PolicyFlags.UNENFORCED,
        },
      );
    for (const { direction, port, rules, proxyPort = 0 } of ports)
      maps.policy.set(policyKey({ set, identity: 0 as NumericIdentity, direction, protocol: 6, port, portBits: 16 }), {
        precedence: 1,
        cookie: 0,
        httpProgram: rules === undefined ? 0 : this.program(rules),
        proxyPort,
        l4Prefix: 24,
        flags: rules === undefined && proxyPort === 0 ? 0 : PolicyFlags.REDIRECT,
      });
    maps.endpoints.set(id, { ...maps.endpoints.get(id)!, policySet: set });
    this.#nodeConfig.raiseEpoch();
  }

  /** Compiles and loads rules; returns the program's number. */
  program(rules: readonly RequestRule[]): number {
    const compiled = compileRules(rules);
    if (compiled.kind !== "program") throw new Error(compiled.reason);
    const number = ++this.#programs;
    const map = this.kernel.bpf.createMap({
      name: "http_program",
      type: MapType.ARRAY,
      keySize: 4,
      valueSize: HttpLimit.WORDS * 8,
      maxEntries: 1,
      flags: 0,
    });
    const value = new Uint8Array(HttpLimit.WORDS * 8);
    value.set(compiled.bytes);
    map.update(new Uint8Array(4), value);
    this.kernel.bpf.mapsIn(this.rawMap("http_programs")).set(new Uint8Array(Uint32Array.of(number).buffer), map);
    map.close();
    return number;
  }

  /** Loads the programs anew and puts them in the place of the running ones. */
  replacePrograms(): void {
    const { kernel, directory } = this;
    this.netns.run(() => {
      const plan = planObjects({
        objectDirectory: resolve(import.meta.dirname, "../../build/bpf"),
        maxEntries: Object.fromEntries(
          Object.entries(this.#loaded.rawMaps).map(([name, map]) => [name, map.spec.maxEntries]),
        ),
      });
      const next = loadDatapath({ kernel, plan, directory });
      for (const { id } of this.workloads)
        for (const hook of ["from_endpoint", "to_endpoint"] as const)
          next.attachments.attach(hook, { name: `tsl${id}`, ifindex: this.#interfaces.up.get(id)! });
      next.close();
    });
  }

  /** Sums of `http_counts` by name. */
  counts(): Readonly<Record<keyof typeof HttpCount, number>> {
    const map = this.rawMap("http_counts");
    const at = (index: number) => {
      const values = new BigUint64Array(map.lookup(new Uint8Array(Uint32Array.of(index).buffer))!.buffer);
      return Number(values.reduce((sum, value) => sum + value, 0n));
    };
    return Object.fromEntries(Object.entries(HttpCount).map(([name, index]) => [name, at(index)])) as never;
  }

  /** HTTP events since the last call. Text fields in latin1. */
  events(): readonly KernelHttpEvent[] {
    const found: KernelHttpEvent[] = [];
    this.#events.drain((view, offset, length) => {
      if (view.getUint8(offset + 8) !== 4) return;
      const bytes = new Uint8Array(httpEventCodec.size);
      bytes.set(new Uint8Array(view.buffer, view.byteOffset + offset, Math.min(length, bytes.length)));
      const event = httpEventCodec.read(new DataView(bytes.buffer));
      const [methodText, hostText, pathText] = textsOf(event);
      found.push({
        ...event,
        kindName: Object.keys(HttpEventKind).find(
          (name) => HttpEventKind[name as keyof typeof HttpEventKind] === event.kind,
        )!,
        methodText,
        hostText,
        pathText,
      });
    });
    return found;
  }

  close(): void {
    for (const action of this.#undo.splice(0).reverse()) action();
  }
}

/** An event with its texts. */
export interface KernelHttpEvent extends HttpEvent {
  readonly kindName: string;
  readonly methodText: string;
  readonly hostText: string;
  readonly pathText: string;
}

/** A server in a workload; closing it ends its connections. */
export function serve(
  workload: Workload,
  port: number,
  onConnection: (socket: Socket) => void,
  ip = workload.ip4,
): { close(): void } {
  const { fd } = openListener({ address: address(ip), port }, { netns: workload.netns });
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => undefined);
    onConnection(socket);
  });
  server.listen({ fd });
  return {
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** A client's socket in a workload, connecting. */
export function dial(workload: Workload, host: string, port: number): Socket {
  const own = address(host.includes(":") ? workload.ip6 : workload.ip4);
  const socket = new Socket({ fd: openConnector(own, { netns: workload.netns }), allowHalfOpen: true });
  socket.on("error", () => undefined);
  socket.setNoDelay(true);
  socket.connect({ host, port });
  return socket;
}

/** How long to wait for what. */
interface ExchangeOptions {
  readonly quietMs?: number;
  readonly pauseMs?: number;
  /** With so many bytes there is nothing more to wait for. */
  readonly enough?: number;
}

/** Sends the pieces one after the other and reads until the server closes, or nothing has come for `quietMs`. */
export async function exchange(
  workload: Workload,
  host: string,
  port: number,
  pieces: readonly (string | Buffer)[],
  { quietMs = 300, pauseMs = 0, enough }: ExchangeOptions = {},
): Promise<{ readonly text: string; readonly end: "closed" | "reset" | "quiet" }> {
  const socket = dial(workload, host, port);
  const parts: Buffer[] = [];
  let end: "closed" | "reset" | undefined;
  let last = performance.now();
  const touch = () => {
    last = performance.now();
  };
  socket.on("data", (data) => {
    parts.push(data);
    touch();
  });
  socket.on("end", () => {
    end ??= "closed";
  });
  socket.on("error", () => {
    end = "reset";
  });
  const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms));
  for (const piece of pieces) {
    if (end === "reset") break;
    const written = new Promise<void>((done) => {
      socket.write(typeof piece === "string" ? Buffer.from(piece, "latin1") : piece, () => done());
    });
    await Promise.race([written, sleep(quietMs)]);
    if (pauseMs > 0) await sleep(pauseMs);
    touch();
  }
  const got = () => parts.reduce((sum, part) => sum + part.length, 0);
  while (end === undefined && performance.now() - last < quietMs && got() < (enough ?? Number.POSITIVE_INFINITY))
    await sleep(2);
  socket.destroy();
  return { text: Buffer.concat(parts).toString("latin1"), end: end ?? "quiet" };
}

/** Statuses in what a client has read. */
export const statusesOf = (text: string): number[] =>
  [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map((m) => Number(m[1]));
