/** Tables as `kubectl get` asks for them: the server decides on columns and cells. */
import type {
  ContainerStatus,
  KubeObject,
  LabelSelector,
  LabelSelectorRequirement,
  Namespace,
  NetworkPolicy,
  Node,
  Pod,
  Resource,
  Secret,
  Service,
} from "#contracts/kube";
import { compileJsonPath } from "./json-path.ts";

/** What a row carries of its object. */
export type IncludeObject = "None" | "Metadata" | "Object";

interface Column {
  readonly name: string;
  readonly type: "string" | "integer" | "boolean" | "date";
  readonly format?: "name";
  readonly description: string;
  readonly priority: 0 | 1;
  /** `nowMs` is for ages. */
  readonly cell: (object: KubeObject, nowMs: number) => unknown;
}

/** The Table of objects. Ages are reckoned from `nowMs`. */
export function formatTable(
  resource: Resource,
  objects: readonly KubeObject[],
  options: {
    readonly metadata: object;
    readonly include: IncludeObject;
    readonly nowMs: number;
    /** Left out in all events of a watch but the first. */
    readonly withoutColumns?: boolean;
  },
): object {
  const columns = columnsOf(resource);
  const definitions = columns.map(({ cell: _cell, format = "", ...rest }) => ({ ...rest, format }));
  return {
    kind: "Table",
    apiVersion: "meta.k8s.io/v1",
    metadata: options.metadata,
    columnDefinitions: options.withoutColumns ? null : definitions,
    rows: objects.map((object) => ({
      cells: columns.map(({ cell }) => cell(object, options.nowMs)),
      ...(options.include === "None" ? {} : { object: options.include === "Object" ? object : formatPartial(object) }),
    })),
  };
}

/** An object reduced to its metadata. */
export const formatPartial = ({ metadata }: KubeObject): object => ({
  kind: "PartialObjectMetadata",
  apiVersion: "meta.k8s.io/v1",
  metadata,
});

/** A duration as kubectl writes it: 45s, 3m20s, 5h, 12d, 2y30d. */
export function formatAge(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 0) return seconds < -2 ? "<invalid>" : "0s";
  if (seconds < 120) return `${seconds}s`;
  const two = (big: number, bigUnit: string, small: number, smallUnit: string, limit: number) =>
    small === 0 || big >= limit ? `${big}${bigUnit}` : `${big}${bigUnit}${small}${smallUnit}`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 180) return two(minutes, "m", seconds % 60, "s", 10);
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return two(hours, "h", minutes % 60, "m", 8);
  const days = Math.floor(hours / 24);
  if (days < 730) return two(days, "d", hours % 24, "h", 8);
  return two(Math.floor(days / 365), "y", days % 365, "d", 8);
}

const cache = new Map<string, readonly Column[]>();

function columnsOf(resource: Resource): readonly Column[] {
  let columns = cache.get(resource.kind);
  if (columns === undefined) {
    columns = [name, ...(resource.custom ? declared(resource) : (builtIn[resource.kind] ?? [age]))];
    cache.set(resource.kind, columns);
  }
  return columns;
}

const declared = (resource: Resource): Column[] =>
  resource.columns.map(({ jsonPath, type, ...rest }) => {
    const read = compileJsonPath(jsonPath);
    return {
      ...rest,
      type,
      cell: (object, nowMs) => {
        const value = read(object);
        return type === "date" ? since(value, nowMs) : (value ?? null);
      },
    };
  });

const since = (time: unknown, nowMs: number) =>
  typeof time === "string" ? formatAge(nowMs - Date.parse(time)) : "<unknown>";

function column<T extends KubeObject>(
  heading: string,
  description: string,
  cell: (object: T, nowMs: number) => unknown,
  more: { readonly type?: Column["type"]; readonly priority?: 0 | 1 } = {},
): Column {
  // The table of a kind is only ever given objects of that kind.
  return { name: heading, description, type: "string", priority: 0, ...more, cell: cell as Column["cell"] };
}

const name: Column = {
  ...column("Name", "Name of the object.", ({ metadata }) => metadata.name),
  format: "name",
};
const age = column("Age", "Time since the object was created.", ({ metadata }, nowMs) =>
  since(metadata.creationTimestamp, nowMs),
);
const wide = { priority: 1 } as const;
const none = "<none>";

/** `a=b,c in (d,e)`, as selectors are shown. */
export function formatSelector(selector: LabelSelector | undefined): string {
  const terms = [
    ...Object.entries(selector?.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`),
    ...(selector?.matchExpressions ?? []).map(formatRequirement),
  ];
  return terms.length === 0 ? none : terms.join(",");
}

function formatRequirement({ key, operator, values = [] }: LabelSelectorRequirement): string {
  switch (operator) {
    case "In":
      return `${key} in (${values.join(",")})`;
    case "NotIn":
      return `${key} notin (${values.join(",")})`;
    case "Exists":
      return key;
    case "DoesNotExist":
      return `!${key}`;
  }
}

const count = (record: object | undefined) => Object.keys(record ?? {}).length;

const builtIn: Readonly<Partial<Record<Resource["kind"], readonly Column[]>>> = {
  Namespace: [column<Namespace>("Status", "Stage of its life.", ({ status }) => status?.phase ?? ""), age],
  Node: [
    column<Node>("Status", "Whether the node takes pods.", nodeStatus),
    column<Node>("Roles", "Roles of the node.", nodeRoles),
    age,
    column<Node>("Version", "Version of the node's agent.", ({ status }) => status?.nodeInfo?.kubeletVersion ?? ""),
    column<Node>("Internal-IP", "Address inside the cluster.", nodeAddress("InternalIP"), wide),
    column<Node>("External-IP", "Address outside the cluster.", nodeAddress("ExternalIP"), wide),
    column<Node>("OS-Image", "Operating system.", ({ status }) => status?.nodeInfo?.osImage ?? "<unknown>", wide),
    column<Node>("Kernel-Version", "Kernel.", ({ status }) => status?.nodeInfo?.kernelVersion ?? "<unknown>", wide),
    column<Node>(
      "Container-Runtime",
      "Container runtime.",
      ({ status }) => status?.nodeInfo?.containerRuntimeVersion ?? "<unknown>",
      wide,
    ),
  ],
  Pod: [
    column<Pod>("Ready", "Containers that serve, of all.", ({ spec, status }) => {
      const ready = (status?.containerStatuses ?? []).filter((container) => container.ready).length;
      return `${ready}/${spec?.containers.length ?? 0}`;
    }),
    column<Pod>("Status", "What the pod is doing.", podStatus),
    column<Pod>("Restarts", "How often containers were restarted.", ({ status }) =>
      String((status?.containerStatuses ?? []).reduce((sum, each) => sum + each.restartCount, 0)),
    ),
    age,
    column<Pod>("IP", "Address of the pod.", ({ status }) => status?.podIP ?? none, wide),
    column<Pod>("Node", "Machine it runs on.", ({ spec }) => spec?.nodeName ?? none, wide),
    column<Pod>("Nominated Node", "Machine that makes room.", () => none, wide),
    column<Pod>("Readiness Gates", "Further conditions of readiness.", () => none, wide),
  ],
  Service: [
    column<Service>("Type", "How the service is reached.", ({ spec }) => spec?.type ?? ""),
    column<Service>("Cluster-IP", "Address of the service.", ({ spec }) => spec?.clusterIP ?? none),
    column<Service>("External-IP", "Addresses from outside.", serviceExternal),
    column<Service>("Port(s)", "Ports of the service.", servicePorts),
    age,
    column<Service>(
      "Selector",
      "Labels of the pods behind it.",
      ({ spec }) => formatSelector({ matchLabels: spec?.selector ?? {} }),
      wide,
    ),
  ],
  ServiceAccount: [age],
  ConfigMap: [
    column<KubeObject & { data?: object; binaryData?: object }>(
      "Data",
      "Number of items.",
      ({ data, binaryData }) => count(data) + count(binaryData),
      { type: "integer" },
    ),
    age,
  ],
  Secret: [
    column<Secret>("Type", "Kind of secret.", ({ type }) => type ?? "Opaque"),
    column<Secret>("Data", "Number of items.", ({ data }) => count(data), { type: "integer" }),
    age,
  ],
  NetworkPolicy: [
    column<NetworkPolicy>("Pod-Selector", "The pods it is for.", ({ spec }) => formatSelector(spec?.podSelector)),
    age,
  ],
  CustomResourceDefinition: [
    column("Created At", "When it was created.", ({ metadata }) => metadata.creationTimestamp, { type: "date" }),
  ],
};

function nodeStatus({ spec, status }: Node): string {
  const ready = status?.conditions?.find(({ type }) => type === "Ready")?.status;
  const word = ready === "True" ? "Ready" : ready === undefined ? "Unknown" : "NotReady";
  return spec?.unschedulable ? `${word},SchedulingDisabled` : word;
}

function nodeRoles({ metadata }: Node): string {
  const prefix = "node-role.kubernetes.io/";
  const roles = Object.keys(metadata.labels ?? {})
    .filter((label) => label.startsWith(prefix))
    .map((label) => label.slice(prefix.length));
  return roles.length === 0 ? none : roles.sort().join(",");
}

function nodeAddress(type: string): (node: Node) => string {
  return ({ status }) => status?.addresses?.find((each) => each.type === type)?.address ?? none;
}

function podStatus({ metadata, status }: Pod): string {
  if (metadata.deletionTimestamp !== undefined) return "Terminating";
  const reasonOf = ({ state }: ContainerStatus) =>
    state?.waiting?.reason ??
    (state?.terminated === undefined
      ? undefined
      : (state.terminated.reason ?? `ExitCode:${state.terminated.exitCode}`));
  const reason = (status?.containerStatuses ?? []).map(reasonOf).find((word) => word !== undefined);
  return status?.reason ?? reason ?? status?.phase ?? "Unknown";
}

function serviceExternal({ spec, status }: Service): string {
  if (spec?.type === "ExternalName") return spec.externalName ?? none;
  const balanced = (status?.loadBalancer?.ingress ?? []).map(({ ip, hostname }) => ip ?? hostname ?? "");
  const all = [...balanced, ...(spec?.externalIPs ?? [])].filter((address) => address !== "");
  if (all.length > 0) return all.join(",");
  return spec?.type === "LoadBalancer" ? "<pending>" : none;
}

function servicePorts({ spec }: Service): string {
  const ports = (spec?.ports ?? []).map(
    ({ port, nodePort, protocol }) => `${port}${nodePort === undefined ? "" : `:${nodePort}`}/${protocol ?? "TCP"}`,
  );
  return ports.length === 0 ? none : ports.join(",");
}
