/** Manifests of workloads -> what policies can know of them: labels, named ports, exposed ports. Reads whatever YAML holds. */
import { isWorkloadKind, type Namespace, type Pod, podTemplatePaths, type Service } from "#contracts/kube";
import { type NamedPort, podLabels } from "#control/identity";
import { type Labels, protocolNumbers } from "#core/model";

/** A port on which a workload says that it listens, or to which a Service leads. */
export type ExposedPort = Omit<NamedPort, "name"> & { readonly name?: string };

/** A Pod, or the template of pods in a Deployment, StatefulSet, DaemonSet, ReplicaSet, Job or CronJob. */
export interface Workload {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** All that policies could ask for; not all of it makes the identity. */
  readonly labels: Labels;
  readonly ports: readonly ExposedPort[];
  /** Whether its containers list ports at all: a list that is missing says nothing of where it listens. */
  readonly declaresPorts: boolean;
  readonly addresses: readonly string[];
  /** In the network of its node: then policies take it for the host. */
  readonly hostNetwork: boolean;
}

type Json = Readonly<Record<string, unknown>>;

/** A map, or an empty one in place of anything else. */
export function fieldsOf(value: unknown): Json {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : {};
}

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const textOf = (value: unknown): string | undefined => (typeof value === "string" && value !== "" ? value : undefined);
const textsOf = (value: unknown): Record<string, string> =>
  Object.fromEntries(Object.entries(fieldsOf(value)).map(([key, text]) => [key, String(text ?? "")]));

/** The workload that an object describes; undefined if it is none, or one that has ended. */
export function readWorkload(
  object: Json,
  namespaces: ReadonlyMap<string, Namespace>,
  services: readonly Service[],
  clusterName?: string,
): Workload | undefined {
  const kind = String(object.kind);
  if (!isWorkloadKind(kind)) return undefined;
  const own = fieldsOf(object.metadata);
  const name = textOf(own.name) ?? textOf(own.generateName);
  if (name === undefined) return undefined;
  const phase = fieldsOf(object.status).phase;
  if (kind === "Pod" && (phase === "Succeeded" || phase === "Failed")) return undefined;
  const template = (podTemplatePaths[kind] ?? []).reduce<Json>((at, step) => fieldsOf(at[step]), object);
  const spec = fieldsOf(template.spec);
  const namespace = textOf(own.namespace) ?? "default";
  const containers = listOf(spec.containers).map(fieldsOf);
  const declared = containers.flatMap((container) => listOf(container.ports).flatMap(readPort));
  const pod: Pod = {
    metadata: { namespace, labels: textsOf(fieldsOf(template.metadata).labels) },
    spec: {
      // As admission fills it in: a pod that names no account acts as "default".
      serviceAccountName: textOf(spec.serviceAccountName) ?? textOf(spec.serviceAccount) ?? "default",
      containers: [{ name: "all", ports: declared }],
    },
  };
  const ports = declared.map(({ name: of, containerPort, protocol }) => ({
    ...(of === undefined ? {} : { name: of.toLowerCase() }),
    protocol: protocolNumbers[protocol],
    port: containerPort,
  }));
  return {
    kind,
    namespace,
    name,
    labels: podLabels(pod, namespaceOf(namespace, namespaces), clusterName),
    ports: [...ports, ...portsOfServices(pod, services)],
    declaresPorts: declared.length > 0,
    addresses: [...listOf(fieldsOf(object.status).podIPs).map((one) => fieldsOf(one).ip), fieldsOf(object.status).podIP]
      .filter((ip, i, all) => typeof ip === "string" && all.indexOf(ip) === i)
      .map(String),
    hostNetwork: spec.hostNetwork === true,
  };
}

/** As the API server has it: every namespace carries its own name as a label. */
export function namespaceOf(name: string, namespaces: ReadonlyMap<string, Namespace>): Namespace {
  const labels = textsOf(namespaces.get(name)?.metadata.labels);
  return { metadata: { name, labels: { ...labels, "kubernetes.io/metadata.name": name } } };
}

interface DeclaredPort {
  readonly name?: string;
  readonly containerPort: number;
  readonly protocol: "TCP" | "UDP" | "SCTP";
}

function readPort(value: unknown): DeclaredPort[] {
  const { name, containerPort, protocol = "TCP" } = fieldsOf(value);
  if (typeof containerPort !== "number" || !(containerPort > 0 && containerPort < 65536)) return [];
  if (protocol !== "TCP" && protocol !== "UDP" && protocol !== "SCTP") return [];
  return [{ containerPort, protocol, ...(textOf(name) === undefined ? {} : { name: String(name) }) }];
}

/** Ports to which Services lead: many pods listen without saying so. */
function portsOfServices(pod: Pod, services: readonly Service[]): ExposedPort[] {
  return services
    .filter(({ metadata, spec }) => {
      const wanted = Object.entries(textsOf(spec?.selector));
      if (wanted.length === 0 || (metadata.namespace ?? "default") !== pod.metadata.namespace) return false;
      return wanted.every(([key, value]) => pod.metadata.labels?.[key] === value);
    })
    .flatMap(({ spec }) => listOf(spec?.ports))
    .flatMap((value) => {
      const { port, targetPort = port, protocol = "TCP" } = fieldsOf(value);
      if (typeof targetPort !== "number" || (protocol !== "TCP" && protocol !== "UDP" && protocol !== "SCTP"))
        return [];
      return [{ protocol: protocolNumbers[protocol], port: targetPort }];
    });
}
