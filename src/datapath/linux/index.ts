/**
 * The only door to the kernel: BPF through libbpf and bpf(2), netlink, network namespaces, cgroups, sockets with options that
 * Node doesn't know, processes. The interface `Kernel` has a second implementation in memory (`#datapath/linux/testing`).
 * @module
 */
export { ensureBpffs, isBpffs } from "./bpffs.ts";
export { isErrno, KernelError } from "./errors.ts";
export { type Feature, probeFeatures } from "./features.ts";
export {
  type AttachedProgram,
  type AttachTarget,
  type Bpf,
  type BpfLink,
  type BpfMap,
  type BpfProgram,
  type InterfaceAddress,
  type Kernel,
  type Link,
  type LoadedObject,
  type LoadOptions,
  type MapOfMaps,
  type MapSpec,
  MapType,
  mapTypeName,
  type Neighbour,
  type Netlink,
  type NetworkChange,
  type NetworkNamespace,
  type NetworkNamespaces,
  NO_PREALLOC,
  type ObjectSpec,
  type RingBuffer,
  type Route,
  type RoutingRule,
  type TestRunInput,
  type TestRunResult,
  type VethEnd,
} from "./kernel.ts";
export { openKernel } from "./real-kernel.ts";
export { openConnector, openListener, type SocketEnd, type SocketOptions, sendFile } from "./sockets.ts";
