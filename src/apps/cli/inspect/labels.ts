/** Labels for people: what tells workloads apart, without what every identity carries. */

const namespaceKey = "io.kubernetes.pod.namespace";
const serviceAccountKey = "io.cilium.k8s.policy.serviceaccount";

/**
 * `k8s:app=web,k8s:io.kubernetes.pod.namespace=shop,…` -> `app=web in shop`. The service account stands there unless it is the
 * default one; cluster and labels of the namespace do not. What is no label of Kubernetes stays as it is: `reserved:host`, a prefix.
 */
export function shortLabels(labels: readonly string[]): string {
  const shown: string[] = [];
  let namespace = "";
  for (const label of labels) {
    const [, key = "", value = ""] = /^k8s:([^=]*)=?(.*)$/s.exec(label) ?? [];
    if (key === "") shown.push(label);
    else if (key === namespaceKey) namespace = value;
    else if (key === serviceAccountKey) shown.push(...(value === "default" ? [] : [`serviceaccount=${value}`]));
    else if (!key.startsWith("io.cilium.k8s.")) shown.push(value === "" ? key : `${key}=${value}`);
  }
  if (namespace === "") return shown.join(",");
  return `${shown.join(",") || "no labels"} in ${namespace}`;
}
