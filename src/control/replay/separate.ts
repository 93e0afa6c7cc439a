/** The smallest selector that tells a workload from all others of its namespace. */
import { podLabelKeys } from "#control/identity";
import type { Labels } from "#core/model";

/** A selector as policies write it, without its namespace. */
export interface SeparatingSelector {
  readonly matchLabels: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly { readonly key: string; readonly operator: "DoesNotExist" }[];
  /** Other workloads that no selector by labels can leave out. */
  readonly alsoSelects: readonly string[];
}

/** Labels that a selector may name, by key. */
export type LabelMap = ReadonlyMap<string, string>;

interface Labelled {
  readonly namespace: string;
  readonly name: string;
  readonly identities: ReadonlyMap<string, LabelMap>;
}

const naming = [
  "app.kubernetes.io/name",
  "app",
  "k8s-app",
  "name",
  "app.kubernetes.io/component",
  "component",
  "tier",
  "role",
];
/** Labels that differ between instances or releases of one thing: the last ones to select by. */
const passing = /version|hash|revision|release|instance|index|build|commit|chart|managed-by|part-of/;

/** Finds it among the labels that all pods of the workload share. `all`: the workloads of the recording; no two share a label set. */
export function separate(workload: Labelled, all: readonly Labelled[]): SeparatingSelector {
  const own = [...workload.identities.values()];
  const common = commonTo(own);
  const others = all
    .filter((one) => one !== workload && one.namespace === workload.namespace)
    .flatMap((one) => [...one.identities.values()].map((labels) => ({ name: one.name, labels })));
  const ranked = [...common].sort(([a], [b]) => rank(a) - rank(b) || (a < b ? -1 : 1));
  const matches = (subset: readonly (readonly [string, string])[], labels: LabelMap) =>
    subset.every(([key, value]) => labels.get(key) === value);
  for (const subset of subsets(ranked))
    if (!others.some(({ labels }) => matches(subset, labels))) return { matchLabels: named(subset), alsoSelects: [] };
  // No values of its own: then what others have besides, and it has not.
  const confused = others.filter(({ labels }) => matches(ranked, labels));
  const absent = [...new Set(confused.flatMap(({ labels }) => [...labels.keys()]))]
    .filter((key) => own.every((mine) => !mine.has(key)))
    .sort();
  const needed = absent.filter((key) => confused.some(({ labels }) => labels.has(key)));
  const left = confused.filter(({ labels }) => !needed.some((key) => labels.has(key))).map(({ name }) => name);
  return {
    matchLabels: named(ranked),
    ...(needed.length === 0
      ? {}
      : { matchExpressions: needed.map((key) => ({ key: selectorKey(key), operator: "DoesNotExist" as const })) }),
    alsoSelects: [...new Set(left)].sort(),
  };
}

/** Labels that a selector may name: those of the pod itself, and its service account. */
export function selectableLabels(labels: Labels): LabelMap {
  return new Map(
    labels
      .filter(({ source, key }) => source === "k8s" && (key === podLabelKeys.serviceAccount || !key.startsWith("io.")))
      .map(({ key, value }) => [key, value]),
  );
}

function commonTo(sets: readonly LabelMap[]): LabelMap {
  const [first, ...rest] = sets;
  return new Map([...(first ?? [])].filter(([key, value]) => rest.every((other) => other.get(key) === value)));
}

function rank(key: string): number {
  const at = naming.indexOf(key);
  if (at >= 0) return at;
  if (key === podLabelKeys.serviceAccount) return 200;
  return passing.test(key) ? 300 : 100;
}

/** One label, two, three; in the order of their rank. */
function* subsets<T>(items: readonly T[]): Iterable<readonly T[]> {
  for (const a of items) yield [a];
  for (const [i, a] of items.entries()) for (const b of items.slice(i + 1)) yield [a, b];
  for (const [i, a] of items.entries())
    for (const [j, b] of items.slice(i + 1).entries()) for (const c of items.slice(i + j + 2)) yield [a, b, c];
}

/** A key that Kubernetes vouches for needs its source only where its name could be taken for one. */
const selectorKey = (key: string) => (key === podLabelKeys.serviceAccount ? `k8s:${key}` : key);
const named = (pairs: readonly (readonly [string, string])[]) =>
  Object.fromEntries(pairs.map(([key, value]) => [selectorKey(key), value]));
