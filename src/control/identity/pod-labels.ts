/** A pod and its namespace -> the labels that policies see. Keys follow Cilium, so that its policies mean the same here. */
import type { Namespace, Pod } from "#contracts/kube";
import { createLabels, findLabel, type Label, type Labels, protocolNumbers } from "#core/model";

/** Keys of the labels that every pod gets. */
export const podLabelKeys = {
  namespace: "io.kubernetes.pod.namespace",
  namespaceLabels: "io.cilium.k8s.namespace.labels",
  serviceAccount: "io.cilium.k8s.policy.serviceaccount",
  cluster: "io.cilium.k8s.policy.cluster",
  namedPorts: "io.cilium.k8s.named-ports",
} as const;

/** A port that a workload names. `name` is lower case. */
export interface NamedPort {
  readonly name: string;
  readonly protocol: number;
  readonly port: number;
}

/** All labels of a pod, before filtering. A pod can't forge those that tell its namespace, service account or cluster. */
export function podLabels(pod: Pod, namespace: Namespace | undefined, clusterName = "default"): Labels {
  const k8s = (key: string, value: string): Label => ({ source: "k8s", key, value });
  const out: Label[] = [];
  for (const [key, value] of Object.entries(pod.metadata.labels ?? {}))
    if (!key.startsWith("io.cilium.k8s.") && !key.startsWith("io.kubernetes.pod.")) out.push(k8s(key, value));
  for (const [key, value] of Object.entries(namespace?.metadata.labels ?? {}))
    out.push(k8s(`${podLabelKeys.namespaceLabels}.${key}`, value));
  out.push(k8s(podLabelKeys.namespace, pod.metadata.namespace ?? "default"));
  out.push(k8s(podLabelKeys.cluster, clusterName));
  const account = pod.spec?.serviceAccountName;
  if (account) out.push(k8s(podLabelKeys.serviceAccount, account));
  out.push(...namedPortLabels(declaredPorts(pod)));
  return createLabels(out);
}

function declaredPorts(pod: Pod): NamedPort[] {
  return (pod.spec?.containers ?? []).flatMap((container) =>
    (container.ports ?? []).flatMap(({ name, protocol, containerPort }) =>
      name ? [{ name: name.toLowerCase(), protocol: protocolNumbers[protocol ?? "TCP"], port: containerPort }] : [],
    ),
  );
}

/** Named ports are part of the identity (`gen:io.cilium.k8s.named-ports=http.TCP.80_dns.UDP.53`), so that policies can name them. */
export function namedPortLabels(ports: readonly NamedPort[]): Label[] {
  const values: string[] = [];
  const texts = ports.map(({ name, protocol, port }) => `${name}.${transportNames.get(protocol) ?? "TCP"}.${port}`);
  for (const text of [...new Set(texts)].sort()) {
    const last = values.at(-1);
    // A label's value holds at most 63 characters: the rest goes to further labels.
    if (last !== undefined && last.length + 1 + text.length <= 63) values[values.length - 1] = `${last}_${text}`;
    else values.push(text);
  }
  return values.map((value, i) => ({
    source: "gen",
    key: i === 0 ? podLabelKeys.namedPorts : `${podLabelKeys.namedPorts}-${i}`,
    value,
  }));
}

const transportNames: ReadonlyMap<number, string> = new Map(
  (["TCP", "UDP", "SCTP"] as const).map((name) => [protocolNumbers[name], name]),
);

/** The ports that an identity's labels name; the inverse of {@link namedPortLabels}. */
export function namedPorts(labels: Labels): NamedPort[] {
  const out: NamedPort[] = [];
  for (let i = 0; ; i++) {
    const key = i === 0 ? podLabelKeys.namedPorts : `${podLabelKeys.namedPorts}-${i}`;
    const label = findLabel(labels, key, "gen");
    if (label === undefined) return out;
    for (const text of label.value.split("_")) {
      const [name, transport, port] = text.split(".");
      const protocol = [...transportNames].find(([, known]) => known === transport)?.[0];
      if (name && protocol !== undefined && port && /^\d{1,5}$/.test(port))
        out.push({ name, protocol, port: Number(port) });
    }
  }
}
