/** The kernel side of this node: door, programs, maps, and what carries rows there. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { endpointOfInterface } from "#control/endpoint";
import type { NodePlan } from "#control/node";
import type { EndpointId } from "#core/model";
import { createReconciler, errorMessage, type ReadableTable, type Reconciler, Table } from "#core/runtime";
import { ensureBpffs, type Kernel, KernelError, openKernel } from "#datapath/linux";
import {
  type AttachMode,
  isSocketRedirectAttached,
  type LoadedDatapath,
  loadDatapath,
  openSocketRedirect,
  planObjects,
} from "#datapath/loader";
import { openHttpProgramMap } from "#datapath/maps";
import {
  createEndpointTarget,
  createHttpPrograms,
  createInterfaceTarget,
  createIpcacheOperations,
  createNodeConfigWriter,
  createNodeOperations,
  createPolicySets,
  createSocketRedirectOperations,
  type EndpointRow,
  type EndpointTarget,
  type HttpPrograms,
  type InterfaceRow,
  type IpcacheRow,
  type NodeConfigWriter,
  type NodeRow,
  type PolicySets,
  type SocketRedirectRow,
} from "#datapath/reconcile";

/** Where the compiled programs lie, in a checkout and in the package. */
export const objectDirectory = join(import.meta.dirname, "../../../build/bpf");

/** The open datapath; interfaces and the node are reconciled from the start, endpoints and ipcache when asked. */
export interface NodeDatapath {
  readonly kernel: Kernel;
  readonly loaded: LoadedDatapath;
  readonly nodeConfig: NodeConfigWriter;
  readonly sets: PolicySets;
  readonly programs: HttpPrograms;
  /** Why this kernel does not take the programs that judge HTTP. */
  readonly httpRefused: string | undefined;
  readonly endpointTarget: EndpointTarget;
  readonly interfaceRows: Table<EndpointId, InterfaceRow>;
  /** Host-side index of every interface that stands. */
  readonly interfacesUp: ReadableTable<EndpointId, number>;
  readonly interfaces: Reconciler<EndpointId>;
  readonly node: Reconciler<"node">;
  /** Endpoints that want socket redirect. */
  readonly socketRows: Table<EndpointId, SocketRedirectRow>;
  /** Why this kernel has no socket redirect; undefined when it has, or nobody wants it yet. */
  readonly socketRedirectProblem: string | undefined;
  setNode(plan: NodePlan): void;
  /** Looks for what others have undone of the node's and the endpoints' interfaces and routes, and has it made again; returns the endpoints. */
  repair(): readonly EndpointId[];
  /** Starts to carry policy; the rows must be complete, for the first round removes what is in none. */
  startPolicy(
    endpointRows: ReadableTable<EndpointId, EndpointRow>,
    ipcacheRows: ReadableTable<string, IpcacheRow>,
  ): { endpoints: Reconciler<EndpointId>; ipcache: Reconciler<string> };
  /** Lets go; what is in the kernel stays. */
  close(): void;
}

/** An older kernel may refuse the programs that judge HTTP: then the proxy does, and all else is as usual. */
function loadAsFarAsPossible(load: (stages: boolean) => LoadedDatapath): {
  readonly loaded: LoadedDatapath;
  readonly httpRefused?: string;
} {
  try {
    return { loaded: load(true) };
  } catch (error) {
    if (!(error instanceof KernelError) || error.details.object === undefined) throw error;
    if (!String(error.details.object).endsWith("/http.bpf.o")) throw error;
    return { loaded: load(false), httpRefused: error.message };
  }
}

/** Loads or takes over everything; `interfaceRows` holds the restored endpoints already. */
export async function openNodeDatapath(options: {
  readonly bpfDir: string;
  readonly plan: (kernel: Kernel) => NodePlan;
  readonly interfaceRows: Table<EndpointId, InterfaceRow>;
  readonly policyMapMax?: number;
  readonly attach?: AttachMode;
  /** Where cgroup2 is mounted. */
  readonly cgroupMount: string;
}): Promise<NodeDatapath> {
  ensureBpffs();
  mkdirSync(options.bpfDir, { recursive: true });
  const kernel = openKernel();
  const plan = options.plan(kernel);
  const load = (stages: boolean) =>
    loadDatapath({
      kernel,
      plan: planObjects({
        objectDirectory,
        stages,
        ...(options.policyMapMax !== undefined && { maxEntries: { policy: options.policyMapMax } }),
      }),
      ...(options.attach !== undefined && { mode: options.attach }),
      directory: options.bpfDir,
      // A map of another shape comes from another version: its connections are judged anew, which beats not starting.
      onShapeChange: "recreate",
    });
  const { loaded, httpRefused } = loadAsFarAsPossible(load);
  const { maps, attachments: hooks } = loaded;
  const nodeConfig = createNodeConfigWriter(maps.node_config);
  // Slots may name sets that are not in the map any more, if it was recreated; nobody else's set must get such a number.
  const named = [...maps.endpoints.entries()].map(([, { policySet }]) => policySet);
  const programs = createHttpPrograms(openHttpProgramMap(kernel.bpf, loaded.rawMaps.http_programs!));
  const sets = createPolicySets(maps.policy, programs, named);
  const endpointTarget = createEndpointTarget({ endpoints: maps.endpoints, sets, nodeConfig });

  const nodeRows = new Table<"node", NodeRow>("node");
  const setNode = (wanted: NodePlan) => nodeRows.set("node", wanted);
  setNode(plan);
  const node = createReconciler({
    table: nodeRows,
    operations: createNodeOperations({ kernel, hooks, nodeConfig }),
  });
  // Routes to endpoints name the routers' addresses: the node comes first.
  await node.settled();

  const interfaceTarget = createInterfaceTarget({
    kernel,
    ifaces: maps.ifaces,
    hooks,
    routers: plan,
    isOurs: (name) => endpointOfInterface(name) !== undefined,
  });
  const interfaces = createReconciler({ table: options.interfaceRows, operations: interfaceTarget.operations });
  await interfaces.settled();

  const sockets = startSocketRedirect(kernel, loaded, options);

  const policy: { close(): void }[] = [];
  return {
    kernel,
    loaded,
    nodeConfig,
    sets,
    programs,
    httpRefused,
    endpointTarget,
    interfaceRows: options.interfaceRows,
    interfacesUp: interfaceTarget.up,
    interfaces,
    node,
    socketRows: sockets.rows,
    get socketRedirectProblem() {
      return sockets.problem;
    },
    setNode,
    repair() {
      // The node's part is a handful of requests, all of which may be repeated: cheaper made than compared.
      node.again(["node"]);
      const damaged = interfaceTarget.damaged();
      interfaces.again(damaged);
      return damaged;
    },
    startPolicy(endpointRows, ipcacheRows) {
      const endpoints = createReconciler({ table: endpointRows, operations: endpointTarget.operations });
      const ipcache = createReconciler({
        table: ipcacheRows,
        operations: createIpcacheOperations({ ipcache: maps.ipcache, nodeConfig }),
      });
      policy.push(endpoints, ipcache);
      return { endpoints, ipcache };
    },
    close() {
      for (const part of [node, interfaces, sockets, ...policy]) part.close();
      loaded.close();
    },
  };
}

interface RunningSocketRedirect {
  readonly rows: Table<EndpointId, SocketRedirectRow>;
  readonly problem: string | undefined;
  close(): void;
}

/** Loads the socket programs when the first endpoint wants them: most nodes never need them, and some kernels can't. */
function startSocketRedirect(
  kernel: Kernel,
  { rawMaps }: LoadedDatapath,
  { bpfDir: directory, cgroupMount: cgroup }: { readonly bpfDir: string; readonly cgroupMount: string },
): RunningSocketRedirect {
  const rows = new Table<EndpointId, SocketRedirectRow>("socket redirect");
  const opened: { close(): void }[] = [];
  let problem: string | undefined;
  const open = () => {
    if (opened.length > 0 || problem !== undefined) return;
    try {
      const redirect = openSocketRedirect({ kernel, objectDirectory, directory, rawMaps, cgroup });
      opened.push(redirect);
      const operations = createSocketRedirectOperations({ kernel, redirect });
      opened.unshift(createReconciler({ table: rows, operations }));
    } catch (error) {
      problem = errorMessage(error);
    }
  };
  // What an earlier agent has attached must follow this one's rows, even if there are none.
  if (isSocketRedirectAttached(kernel, directory)) open();
  rows.watch(open);
  return {
    rows,
    get problem() {
      return problem;
    },
    close() {
      for (const one of opened) one.close();
    },
  };
}
