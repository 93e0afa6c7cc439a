/** The columns in which `tsilium get` shows each kind. */
import type {
  CiliumNetworkPolicy,
  ClusterNetworkPolicy,
  Condition,
  Kind,
  KubeKinds,
  KubeObject,
} from "#contracts/kube";
import { type Column, formatAge } from "../output.ts";

const none = "<none>";
const text = (value: string | number | undefined): string =>
  value === undefined || value === "" ? none : String(value);
const labels = (value: Readonly<Record<string, string>> | undefined): string =>
  text(
    Object.entries(value ?? {})
      .map(([key, each]) => `${key}=${each}`)
      .join(","),
  );
const condition = (conditions: readonly Condition[] | undefined, type: string): string =>
  conditions?.find((one) => one.type === type)?.status ?? "Unknown";

const name: Column<KubeObject> = { title: "NAME", cell: ({ metadata }) => text(metadata.name) };
const namespace: Column<KubeObject> = { title: "NAMESPACE", cell: ({ metadata }) => text(metadata.namespace) };
const age: Column<KubeObject> = { title: "AGE", cell: ({ metadata }) => formatAge(metadata.creationTimestamp) };
const labelled: Column<KubeObject> = { title: "LABELS", wide: true, cell: ({ metadata }) => labels(metadata.labels) };

const policy: readonly Column<CiliumNetworkPolicy>[] = [
  { title: "VALID", cell: ({ status }) => condition(status?.conditions, "Valid") },
  {
    title: "SUBJECT",
    cell: ({ spec, specs }) =>
      [...(spec === undefined ? [] : [spec]), ...(specs ?? [])]
        .map(({ endpointSelector, nodeSelector }) => {
          const selector = endpointSelector ?? nodeSelector;
          const parts = [
            ...Object.entries(selector?.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`),
            ...(selector?.matchExpressions ?? []).map(
              ({ key, operator, values }) =>
                `${key} ${operator}${values === undefined ? "" : ` (${values.join(",")})`}`,
            ),
          ];
          return parts.length === 0 ? "all" : parts.join(",");
        })
        .join("; "),
  },
  {
    title: "REASON",
    wide: true,
    cell: ({ status }) => text(status?.conditions?.find((one) => one.type === "Valid")?.message),
  },
];

const validity: Column<Pick<ClusterNetworkPolicy, "status">> = {
  title: "VALID",
  cell: ({ status }) => condition(status?.conditions, "Valid"),
};

/** Columns between the name and the age. A kind that is not here has none. */
const middle: { readonly [K in Kind]?: readonly Column<KubeKinds[K]>[] } = {
  Namespace: [{ title: "STATUS", cell: ({ status }) => status?.phase ?? "Active" }],
  Node: [
    {
      title: "STATUS",
      cell: ({ status }) => (condition(status?.conditions, "Ready") === "True" ? "Ready" : "NotReady"),
    },
    {
      title: "ADDRESSES",
      cell: ({ status }) => text(status?.addresses?.map(({ address }) => address).join(",")),
    },
    { title: "POD-CIDRS", wide: true, cell: ({ spec }) => text((spec?.podCIDRs ?? []).join(",")) },
  ],
  Pod: [
    {
      title: "STATUS",
      cell: ({ metadata, status }) =>
        metadata.deletionTimestamp === undefined ? text(status?.reason ?? status?.phase) : "Terminating",
    },
    { title: "IP", cell: ({ status }) => text(status?.podIP) },
    { title: "SERVICE-ACCOUNT", cell: ({ spec }) => text(spec?.serviceAccountName) },
    {
      title: "IPS",
      wide: true,
      cell: ({ status }) => text(status?.podIPs?.map(({ ip }) => ip).join(",")),
    },
    { title: "NODE", wide: true, cell: ({ spec }) => text(spec?.nodeName) },
  ],
  Service: [
    { title: "TYPE", cell: ({ spec }) => spec?.type ?? "ClusterIP" },
    { title: "CLUSTER-IP", cell: ({ spec }) => text(spec?.clusterIP) },
    {
      title: "PORTS",
      cell: ({ spec }) => text(spec?.ports?.map(({ port, protocol }) => `${port}/${protocol ?? "TCP"}`).join(",")),
    },
    { title: "SELECTOR", wide: true, cell: ({ spec }) => labels(spec?.selector) },
  ],
  ConfigMap: [{ title: "DATA", cell: ({ data }) => String(Object.keys(data ?? {}).length) }],
  Secret: [
    { title: "TYPE", cell: ({ type }) => text(type) },
    { title: "DATA", cell: ({ data }) => String(Object.keys(data ?? {}).length) },
  ],
  NetworkPolicy: [{ title: "POD-SELECTOR", cell: ({ spec }) => labels(spec?.podSelector?.matchLabels) }],
  CiliumNetworkPolicy: policy,
  CiliumClusterwideNetworkPolicy: policy,
  ClusterNetworkPolicy: [
    validity,
    { title: "TIER", cell: ({ spec }) => spec.tier },
    { title: "PRIORITY", cell: ({ spec }) => text(spec.priority) },
  ],
  AdminNetworkPolicy: [validity, { title: "PRIORITY", cell: ({ spec }) => text(spec.priority) }],
  BaselineAdminNetworkPolicy: [validity],
  CiliumCIDRGroup: [{ title: "CIDRS", cell: ({ spec }) => text(spec.externalCIDRs.join(",")) }],
  CiliumIdentity: [
    {
      title: "LABELS",
      cell: (identity) =>
        text(
          Object.entries(identity["security-labels"] ?? {})
            .map(([key, value]) => (value === "" ? key : `${key}=${value}`))
            .join(","),
        ),
    },
  ],
  CiliumEndpoint: [
    { title: "ID", cell: ({ status }) => text(status?.id) },
    { title: "IDENTITY", cell: ({ status }) => text(status?.identity?.id) },
    { title: "STATE", cell: ({ status }) => text(status?.state) },
    {
      title: "IPV4",
      cell: ({ status }) => text(status?.networking?.addressing?.map(({ ipv4 }) => ipv4 ?? "").join(",")),
    },
    {
      title: "IPV6",
      cell: ({ status }) => text(status?.networking?.addressing?.map(({ ipv6 }) => ipv6 ?? "").join(",")),
    },
    { title: "INGRESS", wide: true, cell: ({ status }) => text(status?.policy?.ingress?.state) },
    { title: "EGRESS", wide: true, cell: ({ status }) => text(status?.policy?.egress?.state) },
  ],
};

/** All columns of a kind; with the namespace first where objects of several are shown. */
export function columnsOf(kind: Kind, allNamespaces: boolean): readonly Column<KubeObject>[] {
  // Every column of `middle[kind]` takes objects of that kind, and only those are ever handed to it.
  const between = (middle[kind] ?? []) as readonly Column<KubeObject>[];
  return [...(allNamespaces ? [namespace] : []), name, ...between, age, labelled];
}
