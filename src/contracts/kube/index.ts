/**
 * Kubernetes objects as we speak them: types, schemas, the registry of kinds, selectors, and a client with list and watch that
 * works against our API server and any real one.
 * @module
 */
export type {
  Authentication,
  CidrRule,
  CiliumCIDRGroup,
  CiliumClusterwideNetworkPolicy,
  CiliumEndpoint,
  CiliumEndpointPolicyDirection,
  CiliumEntity,
  CiliumIdentity,
  CiliumNetworkPolicy,
  CiliumPolicyRule,
  CiliumPolicyStatus,
  CiliumProtocol,
  CiliumServiceSelector,
  EgressDenyRule,
  EgressPeers,
  EgressRule,
  FqdnSelector,
  HeaderMatch,
  HttpRule,
  IcmpRule,
  IngressDenyRule,
  IngressPeers,
  IngressRule,
  L7Rules,
  PeerGroup,
  PortDenyRule,
  PortProtocol,
  PortRule,
  SecretReference,
  TlsContext,
} from "./cilium-v2.ts";
export {
  createKubeClient,
  type KubeClient,
  type ListOptions,
  type ObjectRef,
  type PatchOptions,
  type WatchOptions,
  type WriteOptions,
} from "./client.ts";
export type {
  ConfigMap,
  Container,
  ContainerPort,
  ContainerStatus,
  Namespace,
  Node,
  Pod,
  Secret,
  Service,
  ServiceAccount,
  ServicePort,
} from "./core-v1.ts";
export type { CustomResourceDefinition } from "./crd.ts";
export {
  type Informer,
  type InformerHandlers,
  type InformerOptions,
  type ObjectChange,
  objectKey,
} from "./informer.ts";
export { formatKubeconfig, inClusterAccess, type KubeAccess, readKubeconfig } from "./kubeconfig.ts";
export type {
  Condition,
  FieldsV1,
  KubeList,
  KubeObject,
  LabelSelector,
  LabelSelectorRequirement,
  ManagedFieldsEntry,
  ObjectMeta,
  OwnerReference,
  Status,
  StatusCause,
  WatchEvent,
} from "./meta.ts";
export { expandList } from "./meta.ts";
export { checkMetadata, nameProblem } from "./metadata.ts";
export { nearestName } from "./nearest.ts";
export type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort } from "./networking-v1.ts";
export type {
  AdminNetworkPolicy,
  BaselineAdminNetworkPolicy,
  ClusterNetworkPolicy,
} from "./policy-networking.ts";
export {
  apiVersionOf,
  type Kind,
  type KubeKinds,
  type PrinterColumn,
  type Resource,
  resourceOf,
  resourceOfObject,
  resourcePath,
  resources,
} from "./resources.ts";
export { type NamedSchema, namedSchema, type Schema } from "./schema.ts";
export {
  type FieldQuery,
  type LabelQuery,
  matchesFields,
  matchesLabels,
  type Parsed,
  parseFieldQuery,
  parseLabelQuery,
} from "./selector.ts";
export {
  type Checked,
  type CheckOptions,
  checkStructure,
  type SchemaProblem,
  type UnknownField,
} from "./structural.ts";
export { isWorkloadKind, podTemplatePaths } from "./workload-kinds.ts";
