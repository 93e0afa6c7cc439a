/** What a kind asks for beyond its schema: defaults that depend on other fields, and rules between fields. */
import type {
  KubeObject,
  Namespace,
  NetworkPolicy,
  Pod,
  Resource,
  SchemaProblem,
  Secret,
  Service,
} from "#contracts/kube";
import { nameProblem } from "#contracts/kube";

type Problem = (path: string, code: SchemaProblem["code"], message: string) => void;

/** The object with the defaults of its kind filled in, on creation and on every change. */
export function withKindDefaults(resource: Resource, object: KubeObject): KubeObject {
  switch (resource.kind) {
    case "Namespace": {
      const namespace = object as Namespace;
      const labels = { ...namespace.metadata.labels, "kubernetes.io/metadata.name": namespace.metadata.name ?? "" };
      return {
        ...namespace,
        metadata: { ...namespace.metadata, labels },
        spec: namespace.spec ?? {},
        status: { phase: "Active", ...namespace.status },
      } as Namespace;
    }
    case "Pod": {
      const pod = object as Pod;
      const account = pod.spec?.serviceAccountName ?? (pod.spec as { serviceAccount?: string })?.serviceAccount;
      return {
        ...pod,
        spec: { ...pod.spec, serviceAccountName: account ?? "default" },
        status: { phase: "Pending", ...pod.status },
      } as Pod;
    }
    case "Secret": {
      const { stringData, ...secret } = object as Secret;
      if (stringData === undefined) return object;
      const encoded = Object.entries(stringData).map(([key, text]) => [key, Buffer.from(text).toString("base64")]);
      return { ...secret, data: { ...secret.data, ...Object.fromEntries(encoded) } } as Secret;
    }
    case "NetworkPolicy": {
      const policy = object as NetworkPolicy;
      if (policy.spec === undefined || policy.spec.policyTypes !== undefined) return policy;
      const policyTypes = policy.spec.egress === undefined ? ["Ingress"] : ["Ingress", "Egress"];
      return { ...policy, spec: { ...policy.spec, policyTypes } } as NetworkPolicy;
    }
    case "Service": {
      const service = object as Service;
      const ports = service.spec?.ports?.map((port) => ({ ...port, targetPort: port.targetPort ?? port.port }));
      return ports === undefined ? service : ({ ...service, spec: { ...service.spec, ports } } as Service);
    }
    default:
      return object;
  }
}

/** What breaks the rules of the kind. The object has passed its schema. */
export function kindProblems(resource: Resource, object: KubeObject): SchemaProblem[] {
  const problems: SchemaProblem[] = [];
  const problem: Problem = (path, code, message) => problems.push({ path, code, message });
  switch (resource.kind) {
    case "Pod":
      checkPod(object as Pod, problem);
      break;
    case "Service":
      checkService(object as Service, problem);
      break;
    case "NetworkPolicy":
      if ((object as NetworkPolicy).spec?.podSelector === undefined) {
        problem("spec.podSelector", "FieldValueRequired", "Required value: {} selects all pods of the namespace");
      }
      break;
    case "BaselineAdminNetworkPolicy":
      if (object.metadata.name !== "default")
        problem("metadata.name", "FieldValueInvalid", 'Invalid value: the only baseline is called "default"');
      break;
    case "CiliumIdentity":
      if (!/^[1-9][0-9]{0,9}$/.test(object.metadata.name ?? "") || Number(object.metadata.name) > 0xffff_ffff) {
        problem(
          "metadata.name",
          "FieldValueInvalid",
          "Invalid value: the name must be the numeric identity, in decimal",
        );
      }
      break;
    default:
      break;
  }
  return problems;
}

function checkPod(pod: Pod, problem: Problem): void {
  const containers = pod.spec?.containers ?? [];
  if (containers.length === 0)
    problem("spec.containers", "FieldValueRequired", "Required value: at least one container");
  const seen = new Set<string>();
  for (const [index, { name, ports }] of containers.entries()) {
    const path = `spec.containers[${index}]`;
    const wrong = nameProblem("dns-label", name);
    if (wrong !== undefined)
      problem(`${path}.name`, "FieldValueInvalid", `Invalid value: ${JSON.stringify(name)}: ${wrong}`);
    if (seen.has(name)) problem(`${path}.name`, "FieldValueInvalid", `Duplicate value: ${JSON.stringify(name)}`);
    seen.add(name);
    for (const [at, port] of (ports ?? []).entries()) {
      if (port.name !== undefined && !/^(?=.*[a-z])[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$/.test(port.name)) {
        problem(
          `${path}.ports[${at}].name`,
          "FieldValueInvalid",
          `Invalid value: ${JSON.stringify(port.name)}: must have at most 15 lower-case letters, digits and '-', with at least one letter`,
        );
      }
    }
  }
}

function checkService(service: Service, problem: Problem): void {
  const { ports = [], type, clusterIP, externalName } = service.spec ?? {};
  if (type === "ExternalName") {
    if (!externalName) problem("spec.externalName", "FieldValueRequired", "Required value");
    return;
  }
  if (ports.length === 0 && clusterIP !== "None") problem("spec.ports", "FieldValueRequired", "Required value");
  const names = new Set<string>();
  for (const [index, { name }] of ports.entries()) {
    const path = `spec.ports[${index}].name`;
    if (name === undefined) {
      if (ports.length > 1)
        problem(path, "FieldValueRequired", "Required value: a service with several ports names each");
    } else {
      if (names.has(name)) problem(path, "FieldValueInvalid", `Duplicate value: ${JSON.stringify(name)}`);
      names.add(name);
    }
  }
}

/** What may not change between two states of an object. */
export function changeProblems(resource: Resource, before: KubeObject, after: KubeObject): SchemaProblem[] {
  const immutable = (before as { readonly immutable?: boolean }).immutable === true;
  if ((resource.kind !== "ConfigMap" && resource.kind !== "Secret") || !immutable) return [];
  const changed = ["data", "binaryData", "immutable"].filter(
    (field) =>
      JSON.stringify((before as unknown as Record<string, unknown>)[field]) !==
      JSON.stringify((after as unknown as Record<string, unknown>)[field]),
  );
  return changed.map((path) => ({
    path,
    code: "FieldValueInvalid",
    message: "Forbidden: field is immutable when `immutable` is set",
  }));
}
