/**
 * The real programs in the real kernel, fed with packets by BPF_PROG_TEST_RUN: a namespace with one veth pair per endpoint
 * and a device towards the world. What the agent's reconcilers would write is written by them here too. Nothing is on a wire.
 */
import { closeSync } from "node:fs";
import { resolve } from "node:path";
import { type VerdictEvent, verdictEventCodec } from "#contracts/bpf";
import {
  type EndpointId,
  formatPrefix,
  hostPrefix,
  type IpAddress,
  type NumericIdentity,
  type Prefix,
  parseAddress,
  parsePrefix,
} from "#core/model";
import {
  type BpfProgram,
  ensureBpffs,
  type NetworkNamespace,
  openKernel,
  openListener,
  type RingBuffer,
} from "#datapath/linux";
import { createTestNamespace, sweepTestPins } from "#datapath/linux/testing";
import { cleanupDatapath, type HookName, type LoadedDatapath, loadDatapath, planObjects } from "#datapath/loader";
import { ipv4Number, openHttpProgramMap } from "#datapath/maps";
import {
  createEndpointTarget,
  createHttpPrograms,
  createIpcacheOperations,
  createNodeConfigWriter,
  createPolicySets,
  type DesiredPolicySet,
  type EndpointRow,
  type HttpPrograms,
  type IpcacheRow,
  type NodeConfigWriter,
} from "#datapath/reconcile";

/** What bpf programs at tc hooks return. */
export const TcAction = { UNSPEC: -1, OK: 0, SHOT: 2, REDIRECT: 7 } as const;

/** A device of the rig: the host side of a veth pair, and what lies behind it. */
export interface RigDevice {
  readonly ifindex: number;
  /** Of the host side. */
  readonly hostMac: string;
  /** Of the workload's side. */
  readonly mac: string;
}

/** An endpoint as a test describes it. */
export interface RigEndpoint {
  readonly identity: NumericIdentity;
  readonly ips: readonly IpAddress[];
  readonly policy: DesiredPolicySet;
}

/** Everything that the programs look at. */
export interface RigState {
  /** The first one gets endpoint number 1, and so on. */
  readonly endpoints: readonly RigEndpoint[];
  /** Prefixes that are no endpoint's. */
  readonly prefixes: readonly { readonly prefix: Prefix; readonly identity: NumericIdentity }[];
}

/** What became of a packet. */
export interface Outcome {
  /** One of {@link TcAction}. */
  readonly action: number;
  readonly mark: number;
  readonly packet: Uint8Array;
  readonly events: readonly VerdictEvent[];
}

const mac = (side: number, n: number) =>
  `02:00:00:00:${side.toString(16).padStart(2, "0")}:${n.toString(16).padStart(2, "0")}`;
const macBytes = (text: string) => Uint8Array.from(text.split(":"), (part) => Number.parseInt(part, 16));

/** A running rig. */
export class DatapathRig {
  readonly endpoints: readonly RigDevice[];
  readonly world: RigDevice;
  /** Of a listener on both loopback addresses: the proxy as far as the programs see it. */
  readonly proxyPort: number;
  readonly maps: LoadedDatapath["maps"];
  readonly nodeConfig: NodeConfigWriter;
  readonly programs: HttpPrograms;
  readonly #netns: NetworkNamespace;
  readonly #programs: Readonly<Record<HookName, BpfProgram>>;
  readonly #events: RingBuffer;
  readonly #endpointTarget: ReturnType<typeof createEndpointTarget>;
  readonly #ipcache: ReturnType<typeof createIpcacheOperations>;
  readonly #undo: (() => void)[] = [];

  /** Loads the programs and makes the devices; `pods` are the node's own ranges. */
  constructor(options: { readonly size: number; readonly pods: readonly [ipv4: string, ipv6: string] }) {
    const t = { after: (action: () => void) => this.#undo.unshift(action) };
    ensureBpffs();
    sweepTestPins();
    const { name, netns } = createTestNamespace(t);
    const kernel = openKernel();
    const directory = `/sys/fs/bpf/${name}`;
    t.after(() => cleanupDatapath(kernel, directory));
    const plan = planObjects({ objectDirectory: resolve(import.meta.dirname, "../../build/bpf") });
    const loaded = loadDatapath({ kernel, plan, directory });
    const program = (hook: HookName) => kernel.bpf.openProgram(`${directory}/progs/${hook}`)!;
    this.#netns = netns;
    this.#programs = {
      from_endpoint: program("from_endpoint"),
      to_endpoint: program("to_endpoint"),
      from_network: program("from_network"),
      to_network: program("to_network"),
    };
    this.#events = kernel.bpf.openRingBuffer(loaded.rawMaps.events!);
    t.after(() => {
      this.#events.close();
      for (const held of Object.values(this.#programs)) held.close();
      loaded.close();
    });

    const netlink = kernel.netlink(netns);
    const device = (side: number, n: number): RigDevice => {
      const link = { name: `tsl${side}-${n}`, mac: macBytes(mac(side, n)) };
      const peer = { name: `pod${side}-${n}`, mac: macBytes(mac(side + 1, n)) };
      netlink.apply([{ kind: "createVeth", link, peer }]);
      return { ifindex: netlink.link(link.name)!.index, hostMac: mac(side, n), mac: mac(side + 1, n) };
    };
    this.endpoints = Array.from({ length: options.size }, (_, i) => device(0x10, i + 1));
    this.world = device(0x20, 1);
    netlink.close();

    this.maps = loaded.maps;
    this.nodeConfig = createNodeConfigWriter(this.maps.node_config);
    this.programs = createHttpPrograms(openHttpProgramMap(kernel.bpf, loaded.rawMaps.http_programs!));
    const sets = createPolicySets(this.maps.policy, this.programs);
    this.#endpointTarget = createEndpointTarget({ endpoints: this.maps.endpoints, sets, nodeConfig: this.nodeConfig });
    this.#ipcache = createIpcacheOperations({ ipcache: this.maps.ipcache, nodeConfig: this.nodeConfig });
    for (const [i, { ifindex }] of this.endpoints.entries()) this.maps.ifaces.set(ifindex, (i + 1) as EndpointId);
    this.configure(options.pods);

    this.proxyPort = this.listen("127.0.0.1", 0);
    this.listen("::1", this.proxyPort);
  }

  /** Opens a listener on the node, which nobody serves; returns its port. */
  listen(address: string, port: number): number {
    const end = { address: parseAddress(address)!, port };
    const listener = openListener(end, { transparent: true, netns: this.#netns });
    this.#undo.unshift(() => closeSync(listener.fd));
    return listener.port;
  }

  /** Removes everything. */
  close(): void {
    for (const action of this.#undo.splice(0)) action();
  }

  /** Sets what the whole node shares. */
  configure(
    [ipv4, ipv6]: readonly [ipv4: string, ipv6: string],
    flags = 0,
    masquerade?: readonly [string, string],
  ): void {
    const [pods4, pods6] = [parsePrefix(ipv4)!, parsePrefix(ipv6)!];
    const [masq4, masq6] = masquerade?.map((text) => parseAddress(text)!) ?? [];
    const none = new Uint8Array(16);
    this.nodeConfig.configure({
      flags,
      routerIpv4: 0,
      routerIpv6: none,
      masqIpv4: masq4 ? ipv4Number(masq4) : 0,
      masqIpv6: masq6?.bytes ?? none,
      podCidrIpv4: ipv4Number(pods4),
      podMaskIpv4: (0xffff_ffff << (32 - pods4.length)) >>> 0,
      podCidrIpv6: pods6.bytes,
      podPrefixIpv6: pods6.length,
      worldIfindex: this.world.ifindex,
    });
  }

  /** Brings the maps to this state, as an agent would whose objects have changed. Connections live on. */
  async reconcile(state: RigState): Promise<void> {
    const rows = new Map<EndpointId, EndpointRow>();
    const ipcache = new Map<string, IpcacheRow>();
    for (const { prefix, identity } of state.prefixes)
      ipcache.set(formatPrefix(prefix), { identity, endpointId: 0 as EndpointId });
    for (const [i, { identity, ips, policy }] of state.endpoints.entries()) {
      const { ifindex, mac, hostMac } = this.endpoints[i]!;
      const [ipv4, ipv6] = [ips.find(({ family }) => family === 4), ips.find(({ family }) => family === 6)];
      const id = (i + 1) as EndpointId;
      rows.set(id, { ifindex, identity, mac, hostMac, policy, ...(ipv4 && { ipv4 }), ...(ipv6 && { ipv6 }) });
      for (const ip of ips) ipcache.set(formatPrefix(hostPrefix(ip)), { identity, endpointId: id });
    }
    for (const [operations, wanted] of [
      [this.#ipcache, ipcache],
      [this.#endpointTarget.operations, rows],
    ] as const) {
      await operations.prune(wanted as never);
      for (const [key, row] of wanted) await operations.update(key as never, row as never);
      await operations.settled?.();
    }
  }

  /** Forgets all connections. */
  forget(): void {
    for (const map of [this.maps.ct4, this.maps.ct6, this.maps.nat]) {
      const keys = [...map.entries()].map(([key]) => key);
      map.deleteAll(keys as never);
    }
  }

  /** Runs a hook's program on a packet at a device. `from`: the device it came in by, for packets that the host forwards. */
  run(
    hook: HookName,
    device: RigDevice,
    packet: Uint8Array,
    { mark = 0, from }: { readonly mark?: number; readonly from?: RigDevice } = {},
  ): Outcome {
    this.#drain();
    const cameBy = from ?? (hook.startsWith("from_") ? device : undefined);
    const input = { packet, mark, ifindex: device.ifindex, ...(cameBy && { ingressIfindex: cameBy.ifindex }) };
    const { result, ...rest } = this.#netns.run(() => this.#programs[hook].testRun(input));
    return { action: result, mark: rest.mark, packet: rest.packet, events: this.#drain() };
  }

  #drain(): VerdictEvent[] {
    const events: VerdictEvent[] = [];
    this.#events.drain((view, offset) => events.push(verdictEventCodec.read(view, offset)));
    return events;
  }
}
