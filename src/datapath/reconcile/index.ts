/**
 * From rows to the kernel: interfaces, endpoints with their policy sets, ipcache, the node; and the sweeping of what the
 * programs themselves write. Targets for `createReconciler`; each takes over what an earlier agent left.
 * @module
 */
export type { HookDoor, HookName, MapDoor } from "./doors.ts";
export { createEndpointTarget, type EndpointRow, type EndpointTarget, type RealisedEndpoint } from "./endpoints.ts";
export { createNodeConfigWriter, type NodeConfigWriter } from "./epoch.ts";
export { createHttpPrograms, type HttpProgram, type HttpPrograms } from "./http-programs.ts";
export { createInterfaceTarget, type InterfaceRow, type InterfaceTarget } from "./interfaces.ts";
export { createIpcacheOperations, type IpcacheRow } from "./ipcache.ts";
export { createNodeOperations, type NodeRow, proxyRouteTable, removeNodeTraces } from "./node.ts";
export { createPolicySets, type DesiredPolicySet, type PolicySetEntry, type PolicySets } from "./policy-sets.ts";
export {
  createSocketRedirectOperations,
  type SocketRedirectDoor,
  type SocketRedirectRow,
} from "./socket-redirect.ts";
export { type SliceDoor, type Sweeper, type SweepResult, startSweeper, sweepMap } from "./sweep.ts";
