/** The registry of kinds: how each is named, served, validated and shown. The API server and the client both live off it. */
import type {
  CiliumCIDRGroup,
  CiliumClusterwideNetworkPolicy,
  CiliumEndpoint,
  CiliumIdentity,
  CiliumNetworkPolicy,
} from "./cilium-v2.ts";
import type { ConfigMap, Namespace, Node, Pod, Secret, Service, ServiceAccount } from "./core-v1.ts";
import type { CustomResourceDefinition } from "./crd.ts";
import type { KubeObject } from "./meta.ts";
import type { NetworkPolicy } from "./networking-v1.ts";
import type { AdminNetworkPolicy, BaselineAdminNetworkPolicy, ClusterNetworkPolicy } from "./policy-networking.ts";
import { named, type Schema, string } from "./schema.ts";
import * as cilium from "./schema-cilium.ts";
import * as core from "./schema-core.ts";
import { objectMeta } from "./schema-meta.ts";
import * as policyNetworking from "./schema-policy-networking.ts";

/** The kinds, and the type of their objects. */
export interface KubeKinds {
  Namespace: Namespace;
  Node: Node;
  Pod: Pod;
  Service: Service;
  ServiceAccount: ServiceAccount;
  ConfigMap: ConfigMap;
  Secret: Secret;
  NetworkPolicy: NetworkPolicy;
  CiliumNetworkPolicy: CiliumNetworkPolicy;
  CiliumClusterwideNetworkPolicy: CiliumClusterwideNetworkPolicy;
  ClusterNetworkPolicy: ClusterNetworkPolicy;
  AdminNetworkPolicy: AdminNetworkPolicy;
  BaselineAdminNetworkPolicy: BaselineAdminNetworkPolicy;
  CiliumCIDRGroup: CiliumCIDRGroup;
  CiliumIdentity: CiliumIdentity;
  CiliumEndpoint: CiliumEndpoint;
  CustomResourceDefinition: CustomResourceDefinition;
}

/** Name of a kind. */
export type Kind = keyof KubeKinds;

/** A column that `kubectl get` shows. */
export interface PrinterColumn {
  readonly name: string;
  readonly type: "string" | "integer" | "boolean" | "date";
  readonly description: string;
  /** Where the cell stands in the object, as a JSONPath such as `.status.identity.id`. */
  readonly jsonPath: string;
  /** 0: always shown; 1: with `-o wide`. */
  readonly priority: 0 | 1;
}

/** What is known of a kind. */
export interface Resource {
  readonly kind: Kind;
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly namespaced: boolean;
  /** Whether `status` is written through a subresource of its own. */
  readonly hasStatus: boolean;
  /** Whether a cluster knows the kind only through a CustomResourceDefinition; then strategic merge is not served. */
  readonly custom: boolean;
  /** Whether clients can only read it. */
  readonly readOnly: boolean;
  /** Columns beside the name; for kinds without, the API server has its own. */
  readonly columns: readonly PrinterColumn[];
  /** Paths that field selectors can name, beside metadata.name and metadata.namespace. */
  readonly selectableFields: readonly string[];
  /** Form of the name. */
  readonly nameForm: "dns-subdomain" | "dns-label" | "dns-label-1035";
  /** Schema of the whole object. */
  readonly schema: Schema;
}

type Written = Pick<Resource, "kind" | "plural"> & { readonly body: Schema } & Partial<
    Omit<Resource, "kind" | "plural" | "schema" | "group" | "version">
  >;

function whole(name: string, body: Schema): Schema {
  return named(name, {
    ...body,
    properties: {
      apiVersion: string("Version of the API the object is written in."),
      kind: string("Kind of the object."),
      metadata: objectMeta,
      ...body.properties,
    },
  });
}

const inGroup =
  (group: string, version: string, schemaPrefix: string, defaults: Partial<Resource> = {}) =>
  ({ body, ...written }: Written): Resource => ({
    group,
    version,
    singular: written.kind.toLowerCase(),
    shortNames: [],
    categories: [],
    namespaced: true,
    hasStatus: body.properties?.status !== undefined,
    custom: false,
    readOnly: false,
    columns: [],
    selectableFields: [],
    nameForm: "dns-subdomain",
    schema: whole(`${schemaPrefix}.${written.kind}`, body),
    ...defaults,
    ...written,
  });

const v1 = inGroup("", "v1", "io.k8s.api.core.v1");
const networking = inGroup("networking.k8s.io", "v1", "io.k8s.api.networking.v1");
const apiextensions = inGroup("apiextensions.k8s.io", "v1", "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1");
const ciliumV2 = inGroup("cilium.io", "v2", "io.cilium.v2", { custom: true });

const policyGroup = "policy.networking.k8s.io";
const policyDefaults = { custom: true, namespaced: false } as const;
const policyAlpha1 = inGroup(policyGroup, "v1alpha1", "io.k8s.networking.policy.v1alpha1", policyDefaults);
const policyAlpha2 = inGroup(policyGroup, "v1alpha2", "io.k8s.networking.policy.v1alpha2", policyDefaults);

const column = (
  name: string,
  jsonPath: string,
  description: string,
  more: Partial<Pick<PrinterColumn, "type" | "priority">> = {},
): PrinterColumn => ({ name, jsonPath, description, type: "string", priority: 0, ...more });

const age = column("Age", ".metadata.creationTimestamp", "Time since the object was created.", { type: "date" });
const valid = column(
  "Valid",
  '.status.conditions[?(@.type=="Valid")].status',
  "Whether the agents could take the policy.",
);

const priority = column("Priority", ".spec.priority", "The smaller one is asked first.");

/** All kinds, in the order in which discovery lists them. */
export const resources: readonly Resource[] = [
  v1({
    kind: "Namespace",
    plural: "namespaces",
    shortNames: ["ns"],
    namespaced: false,
    nameForm: "dns-label",
    selectableFields: ["status.phase"],
    body: core.namespace,
  }),
  v1({
    kind: "Node",
    plural: "nodes",
    shortNames: ["no"],
    namespaced: false,
    selectableFields: ["spec.unschedulable"],
    body: core.node,
  }),
  v1({
    kind: "Pod",
    plural: "pods",
    shortNames: ["po"],
    categories: ["all"],
    selectableFields: [
      "spec.nodeName",
      "spec.restartPolicy",
      "spec.serviceAccountName",
      "spec.hostNetwork",
      "status.phase",
      "status.podIP",
    ],
    body: core.pod,
  }),
  v1({
    kind: "Service",
    plural: "services",
    shortNames: ["svc"],
    categories: ["all"],
    nameForm: "dns-label-1035",
    selectableFields: ["spec.clusterIP", "spec.type"],
    body: core.service,
  }),
  v1({ kind: "ServiceAccount", plural: "serviceaccounts", shortNames: ["sa"], body: core.serviceAccount }),
  v1({ kind: "ConfigMap", plural: "configmaps", shortNames: ["cm"], body: core.configMap }),
  v1({ kind: "Secret", plural: "secrets", selectableFields: ["type"], body: core.secret }),
  networking({ kind: "NetworkPolicy", plural: "networkpolicies", shortNames: ["netpol"], body: core.networkPolicy }),
  apiextensions({
    kind: "CustomResourceDefinition",
    plural: "customresourcedefinitions",
    shortNames: ["crd", "crds"],
    categories: ["api-extensions"],
    namespaced: false,
    readOnly: true,
    body: core.customResourceDefinition,
  }),
  ciliumV2({
    kind: "CiliumNetworkPolicy",
    plural: "ciliumnetworkpolicies",
    shortNames: ["cnp", "ciliumnp"],
    categories: ["cilium", "ciliumpolicy"],
    columns: [age, valid],
    body: cilium.ciliumNetworkPolicy,
  }),
  ciliumV2({
    kind: "CiliumClusterwideNetworkPolicy",
    plural: "ciliumclusterwidenetworkpolicies",
    shortNames: ["ccnp"],
    categories: ["cilium", "ciliumpolicy"],
    namespaced: false,
    columns: [age, valid],
    body: cilium.ciliumClusterwideNetworkPolicy,
  }),
  ciliumV2({
    kind: "CiliumCIDRGroup",
    plural: "ciliumcidrgroups",
    shortNames: ["ccg"],
    categories: ["cilium"],
    namespaced: false,
    columns: [age],
    body: cilium.ciliumCidrGroup,
  }),
  // Upstream's short name, cnp, is Cilium's here.
  policyAlpha2({
    kind: "ClusterNetworkPolicy",
    plural: "clusternetworkpolicies",
    columns: [column("Tier", ".spec.tier", "Before or after the policies of everyone."), priority, age, valid],
    body: policyNetworking.clusterNetworkPolicy,
  }),
  policyAlpha1({
    kind: "AdminNetworkPolicy",
    plural: "adminnetworkpolicies",
    shortNames: ["anp"],
    columns: [priority, age, valid],
    body: policyNetworking.adminNetworkPolicy,
  }),
  policyAlpha1({
    kind: "BaselineAdminNetworkPolicy",
    plural: "baselineadminnetworkpolicies",
    shortNames: ["banp"],
    columns: [age, valid],
    body: policyNetworking.baselineAdminNetworkPolicy,
  }),
  ciliumV2({
    kind: "CiliumIdentity",
    plural: "ciliumidentities",
    shortNames: ["ciliumid"],
    categories: ["cilium"],
    namespaced: false,
    columns: [
      column(
        "Namespace",
        ".metadata.labels.io\\.kubernetes\\.pod\\.namespace",
        "Namespace of the pods that have the identity.",
      ),
      age,
    ],
    body: cilium.ciliumIdentity,
  }),
  ciliumV2({
    kind: "CiliumEndpoint",
    plural: "ciliumendpoints",
    shortNames: ["cep", "ciliumep"],
    categories: ["cilium"],
    hasStatus: false, // As in Cilium: the status is all there is, and is written with the object.
    columns: [
      column("Security Identity", ".status.identity.id", "Numeric identity of the endpoint.", { type: "integer" }),
      column("Ingress Enforcement", ".status.policy.ingress.state", "Whether policy is enforced for traffic in.", {
        priority: 1,
      }),
      column("Egress Enforcement", ".status.policy.egress.state", "Whether policy is enforced for traffic out.", {
        priority: 1,
      }),
      column("Endpoint State", ".status.state", "State of the endpoint."),
      column("IPv4", ".status.networking.addressing[0].ipv4", "IPv4 address."),
      column("IPv6", ".status.networking.addressing[0].ipv6", "IPv6 address."),
    ],
    body: cilium.ciliumEndpoint,
  }),
];

const byKind = new Map(resources.map((resource) => [resource.kind as string, resource]));

/** The resource of a kind. */
export function resourceOf(kind: Kind): Resource {
  return byKind.get(kind)!;
}

/** The kind that a written object claims to be, by its apiVersion and kind; undefined if it isn't known. */
export function resourceOfObject(object: Pick<KubeObject, "apiVersion" | "kind">): Resource | undefined {
  const resource = byKind.get(object.kind ?? "");
  return resource !== undefined && apiVersionOf(resource) === object.apiVersion ? resource : undefined;
}

/** The `apiVersion` of a kind's objects: "v1", "cilium.io/v2". */
export const apiVersionOf = (resource: Pick<Resource, "group" | "version">): string =>
  resource.group === "" ? resource.version : `${resource.group}/${resource.version}`;

/** The path under which a kind is served; for namespaced kinds without a namespace, that of all namespaces. */
export function resourcePath(
  resource: Resource,
  ref: { readonly namespace?: string; readonly name?: string } = {},
): string {
  const root = resource.group === "" ? `/api/${resource.version}` : `/apis/${resource.group}/${resource.version}`;
  const scope = resource.namespaced && ref.namespace ? `/namespaces/${encodeURIComponent(ref.namespace)}` : "";
  return `${root}${scope}/${resource.plural}${ref.name === undefined ? "" : `/${encodeURIComponent(ref.name)}`}`;
}
