/** What people call an identity, and the labels by which they would select it. */
import { type Identity, reservedName } from "#core/model";
import { namespaceKey } from "./parse-peers.ts";

/** An identity for people: a reserved name, a prefix, or its telling labels with the namespace. */
export function describeIdentity(identity: Identity): string {
  const reserved = reservedName(identity.id);
  if (reserved !== undefined && identity.id !== 0) return reserved;
  if (identity.prefix !== undefined) return identity.prefix;
  const labels = Object.entries(tellingLabels(identity)).map(([key, value]) => `${key}=${value}`);
  const namespace = k8sLabel(identity, namespaceKey);
  return `${labels.join(",") || `identity ${identity.id}`}${namespace === undefined ? "" : ` in namespace ${namespace}`}`;
}

/** The value of a label that Kubernetes vouches for. */
export function k8sLabel(identity: Identity, key: string): string | undefined {
  return identity.labels.find((label) => label.source === "k8s" && label.key === key)?.value;
}

const naming = ["app", "app.kubernetes.io/name", "k8s-app", "name", "io.cilium.k8s.policy.serviceaccount"];

/** The labels by which people would select an identity: a name, or all that are not technical. */
export function tellingLabels(identity: Identity): Record<string, string> {
  for (const key of naming) {
    const value = k8sLabel(identity, key);
    if (value !== undefined) return { [key]: value };
  }
  const own = identity.labels.filter(
    (label) => label.source === "k8s" && label.key !== namespaceKey && !label.key.startsWith("io.cilium."),
  );
  return Object.fromEntries(own.map((label) => [label.key, label.value]));
}
