/** Selectors: predicates over labels, in Kubernetes' terms, keys with Cilium's source prefixes. */
import { createLabels, formatLabel, type Label, type Labels, parseLabelKey } from "#core/model";

/** One condition; all of a selector's must hold. */
export interface Requirement {
  /** Who vouches for the label; `any`: whoever. */
  readonly source: string;
  readonly key: string;
  readonly operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
  /** Sorted; empty for Exists and DoesNotExist. */
  readonly values: readonly string[];
  /** Where it is written, relative to the object; undefined if it was added (namespace, cluster). */
  readonly path?: string;
}

/** A conjunction of requirements; with none it selects everything that has labels at all. */
export interface Selector {
  readonly requirements: readonly Requirement[];
  /** Equal for selectors that mean the same. */
  readonly key: string;
}

/** Labels arranged for matching; make it once per identity. */
export type LabelIndex = ReadonlyMap<string, readonly Label[]>;

/** Makes a selector; order and duplicates of requirements don't matter. */
export function createSelector(requirements: Iterable<Requirement>): Selector {
  const byText = new Map<string, Requirement>();
  for (const requirement of requirements) {
    const values = [...new Set(requirement.values)].sort();
    const text = `${requirement.source}:${requirement.key} ${requirement.operator} ${JSON.stringify(values)}`;
    if (!byText.has(text)) byText.set(text, { ...requirement, values });
  }
  const texts = [...byText.keys()].sort();
  return { requirements: texts.map((text) => byText.get(text)!), key: texts.join("\n") };
}

/** An equality requirement, from `source:key` or `key` (then of any source). */
export function equals(sourceAndKey: string, value: string, path?: string): Requirement {
  const { source, key } = parseLabelKey(sourceAndKey, "any");
  return { source, key, operator: "In", values: [value], ...(path === undefined ? {} : { path }) };
}

/** Arranges labels by key. */
export function indexLabels(labels: Labels): LabelIndex {
  const index = new Map<string, Label[]>();
  for (const label of labels) {
    const others = index.get(label.key);
    if (others === undefined) index.set(label.key, [label]);
    else others.push(label);
  }
  return index;
}

/** Whether one requirement holds. NotIn holds for a label that is absent, too. */
export function meets(requirement: Requirement, labels: LabelIndex): boolean {
  const { source, values, operator } = requirement;
  const found = (labels.get(requirement.key) ?? []).filter((label) => source === "any" || label.source === source);
  switch (operator) {
    case "In":
      return found.some((label) => values.includes(label.value));
    case "NotIn":
      return !found.some((label) => values.includes(label.value));
    case "Exists":
      return found.length > 0;
    case "DoesNotExist":
      return found.length === 0;
  }
}

/** Whether the selector selects an identity with these labels. */
export function selects(selector: Selector, labels: LabelIndex): boolean {
  return selector.requirements.every((requirement) => meets(requirement, labels));
}

/** A requirement for people: `app=client`, `env in (a, b)`, `!canary`. */
export function formatRequirement(requirement: Requirement): string {
  const { source, key, operator, values } = requirement;
  const name = source === "any" ? key : `${source}:${key}`;
  switch (operator) {
    case "In":
      return values.length === 1
        ? values[0] === ""
          ? name
          : `${name}=${values[0]}`
        : `${name} in (${values.join(", ")})`;
    case "NotIn":
      return values.length === 1 ? `${name}!=${values[0]}` : `${name} not in (${values.join(", ")})`;
    case "Exists":
      return `${name} exists`;
    case "DoesNotExist":
      return `!${name}`;
  }
}

/** What an identity has under the key of a requirement, for people. */
export function describeFound(requirement: Requirement, labels: LabelIndex): string {
  const found = labels.get(requirement.key) ?? [];
  return found.length === 0 ? `no label ${requirement.key}` : createLabels(found).map(formatLabel).join(", ");
}
