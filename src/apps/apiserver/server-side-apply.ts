/**
 * Server-side apply: a manager states the fields it wants; they are merged into the object, fields it no longer states go away
 * unless someone else owns them, and a field that another manager set to another value is a conflict unless forced.
 */
import { isDeepStrictEqual } from "node:util";
import type { FieldsV1, ManagedFieldsEntry, Schema } from "#contracts/kube";
import {
  difference,
  type Fields,
  fieldSchema,
  fieldsOf,
  formatPaths,
  intersection,
  isEmptySet,
  isFields,
  itemStep,
  mergeForm,
  partsOf,
  union,
  valueStep,
} from "./field-sets.ts";
import { createEntry, type Writer, withFields } from "./managed-fields.ts";

/** A field that another manager holds with another value. */
interface ApplyConflict {
  readonly manager: string;
  readonly operation: string;
  readonly path: string;
}

/** What applying gives. */
export type Applied =
  | { readonly ok: true; readonly value: Fields; readonly managedFields: readonly ManagedFieldsEntry[] }
  | { readonly ok: false; readonly conflicts: readonly ApplyConflict[] };

/** Applies `wanted` to `live`; both are managed parts of an object of that schema. */
export function applyFields(
  schema: Schema,
  live: Fields,
  entries: readonly ManagedFieldsEntry[],
  wanted: Fields,
  writer: Writer,
  options: { readonly force: boolean; readonly apiVersion: string },
): Applied {
  const isOwn = (entry: ManagedFieldsEntry) =>
    entry.manager === writer.manager && entry.operation === "Apply" && entry.subresource === writer.subresource;
  const others = entries.filter((entry) => !isOwn(entry));
  const before = entries.find(isOwn)?.fieldsV1 ?? {};
  const stated = fieldsOf(schema, wanted);
  const merged = mergeValue(schema, live, wanted) as Fields;
  const changed = changedMembers(schema, stated, live, merged);

  const contested = others.map((entry) => ({ entry, fields: intersection(changed, entry.fieldsV1 ?? {}) }));
  if (!options.force) {
    const conflicts = contested.flatMap(({ entry, fields }) =>
      formatPaths(fields).map((path) => ({
        manager: entry.manager ?? "unknown",
        operation: entry.operation ?? "Update",
        path,
      })),
    );
    if (conflicts.length > 0) return { ok: false, conflicts };
  }
  const remaining = contested
    .map(({ entry, fields }) => withFields(entry, difference(entry.fieldsV1 ?? {}, fields)))
    .filter((entry) => entry !== undefined);
  const kept = remaining.reduce((sum, entry) => union(sum, entry.fieldsV1 ?? {}), stated);
  const value = removeMembers(schema, merged, difference(before, stated), kept) as Fields;
  const own = isEmptySet(stated) ? [] : [createEntry("Apply", stated, writer, options.apiVersion)];
  // An entry that states what it stated before keeps its time: applying twice changes nothing.
  const previous = entries.find(isOwn);
  const same = previous !== undefined && isDeepStrictEqual(previous.fieldsV1, stated) && isEmptySet(changed);
  return { ok: true, value, managedFields: [...remaining, ...(same ? [previous] : own)] };
}

/** `wanted` laid over `live`. */
function mergeValue(schema: Schema, live: unknown, wanted: unknown): unknown {
  const form = mergeForm(schema, wanted);
  if (form === "whole" || mergeForm(schema, live) !== form) return wanted;
  if (form === "fields") {
    const base = live as Fields;
    const laid = Object.entries(wanted as Fields).map(([name, value]) => [
      name,
      Object.hasOwn(base, name) ? mergeValue(fieldSchema(schema, name), base[name], value) : value,
    ]);
    return { ...base, ...Object.fromEntries(laid) };
  }
  const parts = new Map(partsOf(schema, live, form).map(([step, part]) => [step, part]));
  for (const [step, part] of partsOf(schema, wanted, form)) {
    parts.set(step, parts.has(step) ? mergeValue(schema.items ?? {}, parts.get(step), part) : part);
  }
  return [...parts.values()];
}

/** Those members of `set` whose value is not the same in both states. */
function changedMembers(schema: Schema, set: FieldsV1, live: unknown, merged: unknown): FieldsV1 {
  const form = mergeForm(schema, merged);
  const liveForm = mergeForm(schema, live);
  const before = new Map(
    liveForm === "whole" ? [] : partsOf(schema, live, liveForm).map(([step, part]) => [step, part]),
  );
  const out: Record<string, FieldsV1> = {};
  if (form === "whole") return out;
  for (const [step, part, inner] of partsOf(schema, merged, form)) {
    const node = set[step];
    if (node === undefined) continue;
    if (!before.has(step)) out[step] = node;
    else {
      const old = before.get(step);
      if (isDeepStrictEqual(old, part)) continue;
      const deeper = changedMembers(inner, node, old, part);
      if (!isEmptySet(deeper)) out[step] = deeper;
      else if (Object.keys(node).length === 0) out[step] = {};
    }
  }
  return out;
}

/** The value without the members of `gone`; items that still hold something of `kept` stay. Emptied containers go. */
function removeMembers(schema: Schema, value: unknown, gone: FieldsV1, kept: FieldsV1): unknown {
  if (isEmptySet(gone)) return value;
  const form = mergeForm(schema, value);
  if (form === "whole") return value;
  const survives = (step: string, part: unknown, inner: Schema): unknown => {
    const node = gone[step];
    if (node === undefined) return part;
    const steps = Object.keys(node);
    const wholly = steps.length === 0 || node["."] !== undefined;
    if (wholly && kept[step] === undefined) return undefined;
    if (steps.length === 0) return part;
    const rest = removeMembers(inner, part, node, kept[step] ?? {});
    return kept[step] === undefined && isFields(rest) && Object.keys(rest).length === 0 ? undefined : rest;
  };
  if (form === "fields") {
    const left = Object.entries(value as Fields)
      .map(([name, part]): [string, unknown] => [name, survives(`f:${name}`, part, fieldSchema(schema, name))])
      .filter(([, part]) => part !== undefined);
    return Object.fromEntries(left);
  }
  const step = (item: unknown) => (form === "set" ? valueStep(item) : itemStep(schema, item as Fields));
  return (value as readonly unknown[])
    .map((item) => survives(step(item), item, schema.items ?? {}))
    .filter((item) => item !== undefined);
}
