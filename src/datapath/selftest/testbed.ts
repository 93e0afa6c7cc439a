/** A small node of its own for trying the programs: two workloads in namespaces, maps and pins that nobody else has. */
import { PolicyFlags } from "#contracts/bpf";
import { compileRules, type RequestRule } from "#control/http";
import {
  type EndpointId,
  formatPrefix,
  hostPrefix,
  type IpAddress,
  type NumericIdentity,
  parseAddress,
  parsePrefix,
} from "#core/model";
import { ensureBpffs, type Kernel, type NetworkNamespace } from "#datapath/linux";
import { cleanupDatapath, loadDatapath, planObjects } from "#datapath/loader";
import { openHttpProgramMap, policyKey } from "#datapath/maps";
import { createEndpointTarget, createHttpPrograms, createInterfaceTarget, createIpcacheOperations, createNodeConfigWriter, createNodeOperations, createPolicySets } from "#datapath/reconcile"; // biome-ignore format: one door

/** A workload of the testbed. */
export interface Workload {
  readonly ipv4: IpAddress;
  readonly ipv6: IpAddress;
  readonly netns: NetworkNamespace;
}

/** The testbed: the client may reach the server's port as the rules say. */
export interface Testbed {
  readonly client: Workload;
  readonly server: Workload;
  readonly port: number;
  close(): void;
}

const port = 8080;
const address = (text: string): IpAddress => parseAddress(text)!;
const mac = (side: number, n: number) => `02:00:00:00:0${side}:0${n}`;

/** Makes it, under a name that no other process uses. Throws what the kernel refuses, and leaves nothing then. */
export function openTestbed(options: {
  readonly kernel: Kernel;
  readonly objectDirectory: string;
  readonly rules: readonly RequestRule[];
}): Testbed {
  const { kernel } = options;
  const undo: (() => void)[] = [];
  const close = () => {
    for (const action of undo.splice(0).reverse()) action();
  };
  const namespace = (name: string): NetworkNamespace => {
    kernel.netns.delete(name); // of a process that had our number, and died
    const netns = kernel.netns.create(name);
    undo.push(() => {
      netns.close();
      kernel.netns.delete(name);
    });
    const netlink = kernel.netlink(netns);
    netlink.apply([{ kind: "setLink", ifindex: 1, up: true }]);
    netlink.close();
    return netns;
  };

  try {
    ensureBpffs();
    const name = `tslself-${process.pid}`;
    const node = namespace(name);
    const directory = `/sys/fs/bpf/${name}`;
    kernel.bpf.unpin(directory);
    undo.push(() => node.run(() => cleanupDatapath(kernel, directory)));
    const routers = { router4: address("10.0.0.1"), router6: address("fd00::1") };
    // Capacities as small as the test needs: memory is allocated when the maps are made.
    const maxEntries = { ct4: 1024, ct6: 1024, nat: 64, http_conns: 256, http_learnt: 16, policy: 64, ipcache: 64 };
    const plan = planObjects({ objectDirectory: options.objectDirectory, maxEntries });
    const loaded = node.run(() => loadDatapath({ kernel, plan, directory }));
    undo.push(() => loaded.close());
    const { maps, attachments: hooks } = loaded;
    const nodeConfig = createNodeConfigWriter(maps.node_config);
    const programs = createHttpPrograms(openHttpProgramMap(kernel.bpf, loaded.rawMaps.http_programs!));
    const sets = createPolicySets(maps.policy, programs);
    const endpoints = createEndpointTarget({ endpoints: maps.endpoints, sets, nodeConfig });
    const ipcache = createIpcacheOperations({ ipcache: maps.ipcache, nodeConfig });
    const interfaces = node.run(() => {
      const target = createInterfaceTarget({ kernel, ifaces: maps.ifaces, hooks, routers, isOurs: () => true });
      createNodeOperations({ kernel, hooks, nodeConfig }).update("node", {
        podCidr4: parsePrefix("10.0.1.0/24")!,
        podCidr6: parsePrefix("fd00:1::/112")!,
        ...routers,
      });
      return target;
    });
    const compiled = compileRules(options.rules);
    if (compiled.kind !== "program") throw new RangeError(compiled.reason);

    const workload = (n: number, judged: boolean): Workload => {
      const netnsName = `${name}-${n}`;
      const netns = namespace(netnsName);
      const id = n as EndpointId;
      const identity = (1000 + n) as NumericIdentity;
      const [ipv4, ipv6] = [address(`10.0.1.${n}`), address(`fd00:1::${n}`)];
      const ends = { mac: mac(1, n), hostMac: mac(2, n), ipv4, ipv6 };
      node.run(
        () =>
        interfaces.operations.update(id, { hostName: `tsl${n}`, netnsPath: `/run/netns/${netnsName}`, name: "eth0", ...ends }), // biome-ignore format: one row
      );
      const allow = (direction: "ingress" | "egress") => {
        const { set: _, ...key } = policyKey({ set: 0 as never, identity: 0 as NumericIdentity, direction, protocol: 0, port: 0, portBits: 0 }); // biome-ignore format: one key
        return { key, value: { precedence: 0, cookie: 0, httpProgram: 0, proxyPort: 0, l4Prefix: 0, flags: PolicyFlags.UNENFORCED } }; // biome-ignore format: one row
      };
      const { set: _, ...key } = policyKey({ set: 0 as never, identity: 0 as NumericIdentity, direction: "ingress", protocol: 6, port, portBits: 16 }); // biome-ignore format: one key
      const redirect = {
        key,
        value: { precedence: 1, cookie: 0, httpProgram: 0, proxyPort: 0, l4Prefix: 24, flags: PolicyFlags.REDIRECT },
        http: { bytes: compiled.bytes },
      };
      const entries = [allow("ingress"), allow("egress"), ...(judged ? [redirect] : [])];
      endpoints.operations.update(id, { ifindex: interfaces.up.get(id)!, identity, ...ends, policy: { entries } });
      for (const ip of [ipv4, ipv6]) ipcache.update(formatPrefix(hostPrefix(ip)), { identity, endpointId: id });
      return { ipv4, ipv6, netns };
    };
    const [client, server] = [workload(1, false), workload(2, true)];
    endpoints.operations.settled?.();
    return { client, server, port, close };
  } catch (error) {
    close();
    throw error;
  }
}
