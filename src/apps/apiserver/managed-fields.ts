/** Who owns which fields, after an ordinary write: what a manager changed becomes its own and is taken from the others. */
import type { FieldsV1, KubeObject, ManagedFieldsEntry, Schema } from "#contracts/kube";
import { compareFields, difference, type Fields, isEmptySet, isFields, union } from "./field-sets.ts";

/** Who writes, and how. */
export interface Writer {
  /** The fieldManager of the request, or the name of the client. */
  readonly manager: string;
  readonly subresource?: "status";
  /** RFC 3339. */
  readonly time: string;
}

/** Fields that belong to the server or name the object: nobody manages them. */
const unmanagedMetadata = new Set([
  "name",
  "generateName",
  "namespace",
  "uid",
  "resourceVersion",
  "generation",
  "creationTimestamp",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
  "selfLink",
  "managedFields",
]);

/** The part of an object whose fields can be managed: all, or without status if that has its own subresource. */
export function managedPart(object: KubeObject, scope: { readonly status: "only" | "without" | "with" }): Fields {
  const { apiVersion: _a, kind: _k, metadata, status, ...rest } = object as KubeObject & { readonly status?: unknown };
  const own = Object.fromEntries(Object.entries(metadata).filter(([name]) => !unmanagedMetadata.has(name)));
  const withMetadata = Object.keys(own).length > 0 ? { metadata: own } : {};
  const withStatus = status === undefined ? {} : { status };
  switch (scope.status) {
    case "only":
      return withStatus;
    case "without":
      return { ...withMetadata, ...rest };
    case "with":
      return { ...withMetadata, ...rest, ...withStatus };
  }
}

/** The entries after `writer` turned `before` into `after`; both are managed parts. */
export function recordUpdate(
  schema: Schema,
  entries: readonly ManagedFieldsEntry[],
  before: Fields,
  after: Fields,
  writer: Writer,
  apiVersion: string,
): readonly ManagedFieldsEntry[] {
  const { changed, removed } = compareFields(schema, before, after);
  if (isEmptySet(changed) && isEmptySet(removed)) return entries;
  const gone = union(changed, removed);
  const isOwn = (entry: ManagedFieldsEntry) =>
    entry.manager === writer.manager && entry.operation === "Update" && entry.subresource === writer.subresource;
  const kept = entries
    .filter((entry) => !isOwn(entry))
    .map((entry) => withFields(entry, difference(entry.fieldsV1 ?? {}, gone)))
    .filter((entry) => entry !== undefined);
  const own = entries.find(isOwn);
  const fields = union(difference(own?.fieldsV1 ?? {}, removed), changed);
  return isEmptySet(fields) ? kept : [...kept, createEntry("Update", fields, writer, apiVersion)];
}

/** A new entry. */
export const createEntry = (
  operation: "Apply" | "Update",
  fieldsV1: FieldsV1,
  { manager, subresource, time }: Writer,
  apiVersion: string,
): ManagedFieldsEntry => ({
  manager,
  operation,
  apiVersion,
  time,
  fieldsType: "FieldsV1",
  fieldsV1,
  ...(subresource === undefined ? {} : { subresource }),
});

/** The entry with other fields; undefined if none are left. */
export const withFields = (entry: ManagedFieldsEntry, fieldsV1: FieldsV1): ManagedFieldsEntry | undefined =>
  isEmptySet(fieldsV1) ? undefined : { ...entry, fieldsV1 };

/** What is wrong with entries that a client sends: they must be FieldsV1 trees. */
export function managedFieldsProblem(entries: unknown): string | undefined {
  if (entries === undefined) return undefined;
  if (!Array.isArray(entries)) return "must be a list";
  const isTree = (value: unknown, depth: number): boolean =>
    depth < 64 &&
    isFields(value) &&
    Object.entries(value).every(([step, node]) => (step === "." || isStep(step)) && isTree(node, depth + 1));
  const wrong = entries.findIndex(
    (entry) => !isFields(entry) || (entry.fieldsV1 !== undefined && !isTree(entry.fieldsV1, 0)),
  );
  return wrong < 0 ? undefined : `entry ${wrong} holds no FieldsV1 tree`;
}

function isStep(step: string): boolean {
  if (step.startsWith("f:")) return true;
  if (!step.startsWith("k:") && !step.startsWith("v:")) return false;
  try {
    const value: unknown = JSON.parse(step.slice(2));
    return step.startsWith("v:") || isFields(value);
  } catch {
    return false;
  }
}
