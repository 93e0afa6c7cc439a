/**
 * Sets of field paths in the form of FieldsV1 (server-side apply's book-keeping), and what the schema says about merging.
 * A node is a member of the set if it is empty or holds "."; its other keys are `f:field`, `k:{keys}` or `v:value`.
 */
import { isDeepStrictEqual } from "node:util";
import type { FieldsV1, Schema } from "#contracts/kube";

/** A JSON object. */
export type Fields = Readonly<Record<string, unknown>>;

/** Whether a value is a JSON object. */
export const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** How a value is merged: field by field, item by item, or as a whole. */
export type MergeForm = "fields" | "items" | "set" | "whole";

/** The schema of a field; of unknown ones nothing is known. */
export const fieldSchema = (schema: Schema, name: string): Schema =>
  schema.properties?.[name] ?? schema.additionalProperties ?? {};

/** How `value` is merged under `schema`. */
export function mergeForm(schema: Schema, value: unknown): MergeForm {
  if (isFields(value)) return schema["x-kubernetes-map-type"] === "atomic" ? "whole" : "fields";
  if (!Array.isArray(value)) return "whole";
  switch (schema["x-kubernetes-list-type"]) {
    case "map":
      return value.every(isFields) ? "items" : "whole";
    case "set":
      return value.some((item) => typeof item === "object") ? "whole" : "set";
    default:
      return "whole";
  }
}

/** The step that names an item of a list told apart by keys. Absent keys take their default. */
export function itemStep(schema: Schema, item: Fields): string {
  const keys = [...(schema["x-kubernetes-list-map-keys"] ?? [])].sort();
  const values = keys.map((key) => [key, item[key] ?? schema.items?.properties?.[key]?.default ?? null]);
  return `k:${JSON.stringify(Object.fromEntries(values))}`;
}

/** The step that names an item of a set. */
export const valueStep = (item: unknown): string => `v:${JSON.stringify(item)}`;

/** The parts of a value with their steps and schemas, for the forms that have parts. */
export function partsOf(schema: Schema, value: unknown, form: MergeForm): [string, unknown, Schema][] {
  if (form === "fields") return Object.entries(value as Fields).map(([k, v]) => [`f:${k}`, v, fieldSchema(schema, k)]);
  const items = value as readonly unknown[];
  if (form === "set") return items.map((item) => [valueStep(item), item, schema.items ?? {}]);
  return items.map((item) => [itemStep(schema, item as Fields), item, schema.items ?? {}]);
}

/** The set of all leaves of a value. */
export function fieldsOf(schema: Schema, value: unknown): FieldsV1 {
  const form = mergeForm(schema, value);
  if (form === "whole") return {};
  const parts = partsOf(schema, value, form).map(([step, part, partSchema]): [string, FieldsV1] => {
    const inner = form === "set" ? {} : fieldsOf(partSchema, part);
    return [step, form === "items" ? { ".": {}, ...inner } : inner];
  });
  return Object.fromEntries(parts);
}

const isMember = (node: FieldsV1) => Object.keys(node).length === 0 || node["."] !== undefined;
const isLeaf = (node: FieldsV1) => Object.keys(node).every((step) => step === ".");

/** Whether the set has no members. The empty tree as a whole is the empty set. */
export const isEmptySet = (set: FieldsV1): boolean => Object.keys(set).length === 0;

/** Members of either set. */
export function union(a: FieldsV1, b: FieldsV1): FieldsV1 {
  const out: Record<string, FieldsV1> = { ...a };
  for (const [step, node] of Object.entries(b)) {
    const other = out[step];
    out[step] = other === undefined ? node : unionNode(other, node);
  }
  return out;
}

function unionNode(a: FieldsV1, b: FieldsV1): FieldsV1 {
  if (isLeaf(a) && isLeaf(b)) return isMember(a) || isMember(b) ? {} : a;
  const both = union(a, b);
  return isMember(a) || isMember(b) ? { ".": {}, ...both } : both;
}

/** Combines two sets node by node; `keep` decides on membership from membership in both. */
function combine(a: FieldsV1, b: FieldsV1, keep: (inA: boolean, inB: boolean) => boolean, onlyA: boolean): FieldsV1 {
  const out: Record<string, FieldsV1> = {};
  for (const [step, node] of Object.entries(a)) {
    if (step === ".") continue;
    const other = b[step];
    if (other === undefined) {
      if (onlyA) out[step] = node;
      continue;
    }
    const inner = combine(node, other, keep, onlyA);
    const member = keep(isMember(node), isMember(other));
    if (isEmptySet(inner)) {
      if (member) out[step] = {};
    } else out[step] = member ? { ".": {}, ...inner } : inner;
  }
  return out;
}

/** Members of `a` that are not in `b`. */
export const difference = (a: FieldsV1, b: FieldsV1): FieldsV1 => combine(a, b, (inA, inB) => inA && !inB, true);
/** Members of both. */
export const intersection = (a: FieldsV1, b: FieldsV1): FieldsV1 => combine(a, b, (inA, inB) => inA && inB, false);

/** The members as readable paths, such as `.spec.ports[port=80,protocol="TCP"].name`. */
export function formatPaths(set: FieldsV1, prefix = ""): string[] {
  return Object.entries(set).flatMap(([step, node]) => {
    if (step === ".") return [];
    const path = prefix + formatStep(step);
    return [...(isMember(node) ? [path] : []), ...formatPaths(node, path)];
  });
}

function formatStep(step: string): string {
  const rest = step.slice(2);
  if (step.startsWith("f:")) return `.${rest}`;
  if (step.startsWith("v:")) return `[=${rest}]`;
  const keys = Object.entries(JSON.parse(rest) as Fields);
  return `[${keys.map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(",")}]`;
}

/** What differs between two states. */
export interface FieldChanges {
  /** Added or changed leaves. */
  readonly changed: FieldsV1;
  readonly removed: FieldsV1;
}

/** The leaves that differ; undefined stands for an absent value. */
export function compareFields(schema: Schema, before: unknown, after: unknown): FieldChanges {
  const form = mergeForm(schema, after);
  if (form === "whole" || form !== mergeForm(schema, before)) throw new Error("compareFields takes values with parts");
  const changed: Record<string, FieldsV1> = {};
  const removed: Record<string, FieldsV1> = {};
  const old = new Map(partsOf(schema, before, form).map(([step, part, inner]) => [step, { part, inner }]));
  const whole = (inner: Schema, part: unknown): FieldsV1 => {
    if (form === "set") return {};
    return form === "items" ? { ".": {}, ...fieldsOf(inner, part) } : fieldsOf(inner, part);
  };
  for (const [step, part, inner] of partsOf(schema, after, form)) {
    const previous = old.get(step);
    old.delete(step);
    if (previous === undefined) changed[step] = whole(inner, part);
    else if (!isDeepStrictEqual(previous.part, part)) {
      const innerForm = mergeForm(inner, part);
      if (innerForm === "whole" || innerForm !== mergeForm(inner, previous.part)) changed[step] = {};
      else {
        const deeper = compareFields(inner, previous.part, part);
        if (!isEmptySet(deeper.changed)) changed[step] = deeper.changed;
        if (!isEmptySet(deeper.removed)) removed[step] = deeper.removed;
      }
    }
  }
  for (const [step, { part, inner }] of old) removed[step] = whole(inner, part);
  return { changed, removed };
}
