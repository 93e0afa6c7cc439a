/**
 * Labels: the `source:key=value` sets that identities are made of and selectors look at.
 * Format and meaning of sources follow Cilium (`k8s:app=web`, `reserved:host`, `cidr:10.0.0.0/8`).
 */

/** One label. `source` says who vouches for it; in selectors `any` matches every source. */
export interface Label {
  readonly source: string;
  readonly key: string;
  readonly value: string;
}

/** A label set: sorted by source, then key; at most one label per (source, key). Make it with {@link createLabels}. */
export type Labels = readonly Label[];

const compare = (a: Label, b: Label): number =>
  a.source < b.source ? -1 : a.source > b.source ? 1 : a.key < b.key ? -1 : a.key > b.key ? 1 : 0;

/** Sorts labels and drops duplicates of (source, key); the last one given wins. */
export function createLabels(labels: Iterable<Label>): Labels {
  const byKey = new Map<string, Label>();
  for (const label of labels) byKey.set(`${label.source}:${label.key}`, label);
  return [...byKey.values()].sort(compare);
}

/** Parses `source:key=value`, `key=value` or `key`; without a source it is `unspec`. A colon inside the key's path is not a source. */
export function parseLabel(text: string): Label {
  const equals = text.indexOf("=");
  const head = equals < 0 ? text : text.slice(0, equals);
  const value = equals < 0 ? "" : text.slice(equals + 1);
  const { source, key } = parseLabelKey(head, "unspec");
  return { source, key, value };
}

/** Parses `source:key`; without a source, `defaultSource`. */
export function parseLabelKey(text: string, defaultSource: string): { readonly source: string; readonly key: string } {
  const colon = text.indexOf(":");
  if (colon <= 0) return { source: defaultSource, key: colon === 0 ? text.slice(1) : text };
  return { source: text.slice(0, colon), key: text.slice(colon + 1) };
}

/** `source:key=value`; without `=` where the value is empty, as Cilium prints it. */
export function formatLabel(label: Label): string {
  return label.value === "" ? `${label.source}:${label.key}` : `${label.source}:${label.key}=${label.value}`;
}

/** Every label formatted, in the set's order: what Hubble flows and CiliumIdentity objects carry. */
export function formatLabels(labels: Labels): string[] {
  return labels.map(formatLabel);
}

/** A canonical text: equal for equal sets, so it can key a map. */
export function labelsKey(labels: Labels): string {
  return formatLabels(labels).join(";");
}

/** The label with that key; with `source` "any" or none given, whatever its source. */
export function findLabel(labels: Labels, key: string, source = "any"): Label | undefined {
  return labels.find((label) => label.key === key && (source === "any" || label.source === source));
}
