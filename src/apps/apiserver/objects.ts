/** Writing objects: what the server sets, checks and keeps. Runs inside a transaction of the store; refuses by throwing. */
import { randomInt, randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import {
  apiVersionOf,
  checkMetadata,
  checkStructure,
  type KubeObject,
  type ManagedFieldsEntry,
  type Resource,
  resourceOf,
  resources,
  type SchemaProblem,
  type Status,
  type UnknownField,
} from "#contracts/kube";
import { type Fields, isFields } from "./field-sets.ts";
import { changeProblems, kindProblems, withKindDefaults } from "./kind-rules.ts";
import { managedFieldsProblem, managedPart, recordUpdate, type Writer } from "./managed-fields.ts";
import { jsonPatch, mergePatch, strategicMergePatch } from "./patches.ts";
import { applyFields } from "./server-side-apply.ts";
import {
  alreadyExists,
  badRequest,
  conflict,
  forbidden,
  invalid,
  notFound,
  Refusal,
  success,
  unsupportedMediaType,
} from "./status.ts";
import type { StoreKey, Transaction } from "./store.ts";

/** Something wrong or doubtful with what an object means. */
export interface ObjectProblem {
  /** Path such as `spec.ingress[0].toPorts`. */
  readonly path: string;
  readonly message: string;
  /** What to do; absent or empty if there is nothing to say. */
  readonly hint?: string;
  /** Errors (the default) refuse the object; warnings are told to the client; what is merely worth knowing is not sent. */
  readonly severity?: "error" | "warning" | "info";
}

/** Judges what an object means, beyond its schema. Handed in by whoever starts the server. Must not throw. */
export type ObjectValidator = (kind: string, object: KubeObject) => readonly ObjectProblem[];

/** A write request, without its body. */
export interface WriteRequest {
  readonly resource: Resource;
  /** Empty for cluster-wide kinds. */
  readonly namespace: string;
  readonly name: string;
  readonly subresource: "status" | undefined;
  readonly manager: string;
  /** Whether the client named its manager (needed to apply). */
  readonly managerGiven: boolean;
  readonly fieldValidation: "Strict" | "Warn" | "Ignore";
  readonly force: boolean;
  readonly nowMs: number;
  readonly validate: ObjectValidator;
  /** Takes warnings for the client. */
  readonly warn: (text: string) => void;
}

/** The forms of a patch. */
export type PatchForm = "json" | "merge" | "strategic" | "apply";

type Live = KubeObject & { readonly status?: unknown };

/** Where a kind's objects lie in the store. */
export const storeKind = ({ plural, group }: Resource): string => (group === "" ? plural : `${plural}.${group}`);
const keyOf = ({ resource, namespace, name }: Pick<WriteRequest, "resource" | "namespace" | "name">): StoreKey => ({
  kind: storeKind(resource),
  namespace,
  name,
});
const rfc3339 = (ms: number) => `${new Date(ms).toISOString().slice(0, 19)}Z`;
const writerOf = ({ manager, subresource, nowMs }: WriteRequest): Writer => ({
  manager,
  time: rfc3339(nowMs),
  ...(subresource === undefined ? {} : { subresource }),
});

/** Creates an object; the name comes from the object or from its generateName. */
export function createObject(
  transaction: Transaction,
  request: WriteRequest,
  body: unknown,
  applied?: readonly ManagedFieldsEntry[],
): KubeObject {
  const { resource, namespace } = request;
  const decoded = decode(request, body);
  const { resourceVersion, ...given } = decoded.metadata;
  if (resourceVersion !== undefined && resourceVersion !== "") {
    throw badRequest("resourceVersion should not be set on objects to be created");
  }
  const name = given.name || (given.generateName ? given.generateName.slice(0, 58) + randomSuffix() : "");
  if (resource.namespaced) requireNamespace(transaction, namespace, resource, name);
  const key = { ...keyOf(request), name };
  if (transaction.get(key) !== undefined) throw alreadyExists(resource, name);
  const { deletionTimestamp: _d, deletionGracePeriodSeconds: _g, managedFields, selfLink: _s, ...metadata } = given;
  const { status, ...rest } = decoded as Live;
  // The status of what has just been made is the server's to give; a node's agent is trusted to bring its own.
  const keepsStatus = !resource.hasStatus || resource.kind === "Node";
  const object = withKindDefaults(resource, {
    ...rest,
    ...(keepsStatus && status !== undefined ? { status } : {}),
    metadata: {
      ...metadata,
      name,
      ...(namespace === "" ? {} : { namespace }),
      uid: randomUUID(),
      creationTimestamp: rfc3339(request.nowMs),
      ...(hasGeneration(resource) ? { generation: 1 } : {}),
    },
  } as KubeObject);
  refuseProblems(request, name, meaningProblems(request, object));
  const entries =
    applied ??
    recordUpdate(
      resource.schema,
      managedFields ?? [],
      {},
      managedPart(object, mainScope(resource)),
      writerOf(request),
      apiVersionOf(resource),
    );
  const stored = transaction.put(key, withManagedFields(object, entries));
  if (resource.kind === "Namespace") createDefaultAccount(transaction, request, name);
  return stored;
}

/** Replaces an object or its status. */
export function updateObject(transaction: Transaction, request: WriteRequest, body: unknown): KubeObject {
  return replaceObject(transaction, request, liveObject(transaction, request), decode(request, body));
}

/** Changes an object by a patch; applying creates it if need be. */
export function patchObject(
  transaction: Transaction,
  request: WriteRequest,
  form: PatchForm,
  patch: unknown,
): { readonly object: KubeObject; readonly created: boolean } {
  if (form === "apply") return applyObject(transaction, request, patch);
  const { resource } = request;
  if (form === "strategic" && resource.custom) {
    throw unsupportedMediaType(
      `the body of the request was in an unknown format: ${resource.kind} takes application/json-patch+json, application/merge-patch+json and application/apply-patch+yaml`,
    );
  }
  const live = liveObject(transaction, request);
  const patched =
    form === "json"
      ? jsonPatch(live, patch)
      : form === "merge"
        ? mergePatch(live, requireFields(patch))
        : strategicMergePatch(resource.schema, live, requireFields(patch));
  return { object: replaceObject(transaction, request, live, decode(request, patched)), created: false };
}

function applyObject(transaction: Transaction, request: WriteRequest, body: unknown) {
  const { resource, name } = request;
  if (!request.managerGiven)
    throw new Refusal(
      422,
      "Invalid",
      "PatchOptions.meta.k8s.io is invalid: fieldManager: Required value: is required for apply patch",
    );
  const wanted = decode(request, body, true);
  if (wanted.metadata.managedFields !== undefined) throw badRequest("metadata.managedFields must be nil");
  const row = transaction.get(keyOf(request));
  const schema = resource.schema;
  const scope = request.subresource === "status" ? ({ status: "only" } as const) : mainScope(resource);
  const options = { force: request.force, apiVersion: apiVersionOf(resource) };
  const part = managedPart(wanted, scope);
  if (row === undefined) {
    if (request.subresource !== undefined) throw notFound(resource, name);
    const applied = applyFields(schema, {}, [], part, writerOf(request), options);
    const managedFields = applied.ok ? applied.managedFields : [];
    const fresh = { ...wanted, metadata: { ...wanted.metadata, name } };
    return { object: createObject(transaction, request, fresh, managedFields), created: true };
  }
  const live = JSON.parse(row.json) as Live;
  requireVersion(request, live, wanted);
  const entries = live.metadata.managedFields ?? [];
  const applied = applyFields(schema, managedPart(live, scope), entries, part, writerOf(request), options);
  if (!applied.ok) {
    const { conflicts } = applied;
    throw conflict(
      resource,
      name,
      `Apply failed with ${conflicts.length} conflict${conflicts.length === 1 ? "" : "s"}: ${conflicts
        .map(
          ({ manager, operation, path }) =>
            `conflict with "${manager}" using ${apiVersionOf(resource)} (${operation}): ${path}`,
        )
        .join(", ")}`,
      conflicts.map(({ manager, path }) => ({
        reason: "FieldManagerConflict",
        message: `conflict with "${manager}" using ${apiVersionOf(resource)}`,
        field: path,
      })),
    );
  }
  const { metadata: managedMetadata, ...managedRest } = applied.value as Fields & { readonly metadata?: Fields };
  const next = {
    ...(scope.status === "only" ? live : { apiVersion: live.apiVersion, kind: live.kind }),
    ...managedRest,
    metadata: {
      ...unmanagedMetadata(live),
      ...(scope.status === "only" ? live.metadata : managedMetadata),
      managedFields: applied.managedFields,
    },
  };
  const decoded = decode({ ...request, fieldValidation: "Ignore" }, next);
  return { object: replaceObject(transaction, request, live, decoded, applied.managedFields), created: false };
}

const unmanagedMetadata = ({ metadata }: KubeObject) => {
  const { labels: _l, annotations: _a, finalizers: _f, ownerReferences: _o, ...rest } = metadata;
  return rest;
};

/** Puts `next` in the place of `live`. `applied` are the entries of an apply; else they are reckoned from what changed. */
function replaceObject(
  transaction: Transaction,
  request: WriteRequest,
  live: Live,
  next: KubeObject,
  applied?: readonly ManagedFieldsEntry[],
): KubeObject {
  const { resource, name } = request;
  requireVersion(request, live, next);
  const isStatus = request.subresource === "status";
  const { uid, creationTimestamp, generation, deletionTimestamp, deletionGracePeriodSeconds, resourceVersion } =
    live.metadata;
  const kept = { uid, creationTimestamp, generation, deletionTimestamp, deletionGracePeriodSeconds, resourceVersion };
  const { status: nextStatus, ...nextRest } = next as Live;
  const status = isStatus || !resource.hasStatus ? nextStatus : live.status;
  const { managedFields: sentEntries, ...sentMetadata } = isStatus
    ? { ...live.metadata, managedFields: undefined }
    : next.metadata;
  const draft = withKindDefaults(resource, {
    ...(isStatus ? live : nextRest),
    ...(status === undefined ? {} : { status }),
    metadata: {
      ...sentMetadata,
      ...defined(kept),
      name,
      ...(request.namespace === "" ? {} : { namespace: request.namespace }),
    },
  } as KubeObject);
  const object =
    hasGeneration(resource) && !isDeepStrictEqual(desiredPart(resource, live), desiredPart(resource, draft))
      ? { ...draft, metadata: { ...draft.metadata, generation: (generation ?? 0) + 1 } }
      : draft;

  const problems = [...meaningProblems(request, object), ...changeProblems(resource, live, object)];
  const finalizers = object.metadata.finalizers ?? [];
  if (deletionTimestamp !== undefined && finalizers.some((each) => !live.metadata.finalizers?.includes(each))) {
    problems.push({
      path: "metadata.finalizers",
      code: "FieldValueInvalid",
      message: "Forbidden: no new finalizers can be added if the object is being deleted",
    });
  }
  refuseProblems(request, name, problems);

  const scope = isStatus ? ({ status: "only" } as const) : mainScope(resource);
  const entries =
    applied ??
    recordUpdate(
      resource.schema,
      sentEntries ?? live.metadata.managedFields ?? [],
      managedPart(live, scope),
      managedPart(object, scope),
      writerOf(request),
      apiVersionOf(resource),
    );
  const final = withManagedFields(object, entries);
  if (isDeepStrictEqual(final, live)) return live;
  const stored = transaction.put(keyOf(request), final);
  if (deletionTimestamp !== undefined && finalizers.length === 0) {
    if (resource.kind === "Namespace") finishNamespace(transaction, name);
    else removeNow(transaction, request);
  }
  return stored;
}

/** Preconditions of a deletion. */
export interface DeleteConditions {
  readonly uid?: string;
  readonly resourceVersion?: string;
}

/** Deletes an object, or marks it if finalizers must act first. Yields the marked object, or a Status if it is gone. */
export function deleteObject(
  transaction: Transaction,
  request: WriteRequest,
  conditions: DeleteConditions = {},
): KubeObject | Status {
  const { resource, name } = request;
  const live = liveObject(transaction, request);
  for (const field of ["uid", "resourceVersion"] as const) {
    if (conditions[field] !== undefined && conditions[field] !== live.metadata[field]) {
      throw conflict(
        resource,
        name,
        `Precondition failed: ${field} in precondition: ${conditions[field]}, in object meta: ${live.metadata[field]}`,
      );
    }
  }
  if (resource.kind === "Namespace") return deleteNamespace(transaction, request, live);
  return markOrRemove(transaction, request, live);
}

function markOrRemove(transaction: Transaction, request: WriteRequest, live: Live): KubeObject | Status {
  if ((live.metadata.finalizers ?? []).length > 0) return mark(transaction, request, live);
  removeNow(transaction, request);
  return success(request.resource, request.name, live.metadata.uid);
}

function mark(transaction: Transaction, request: WriteRequest, live: Live): KubeObject {
  if (live.metadata.deletionTimestamp !== undefined) return live;
  return transaction.put(keyOf(request), {
    ...live,
    metadata: { ...live.metadata, deletionTimestamp: rfc3339(request.nowMs), deletionGracePeriodSeconds: 0 },
  });
}

/** Namespaces without which nothing works. */
const lastingNamespaces = new Set(["default", "kube-system"]);
const namespacedResources = resources.filter((resource) => resource.namespaced);

function deleteNamespace(transaction: Transaction, request: WriteRequest, live: Live): KubeObject | Status {
  const { resource, name } = request;
  if (lastingNamespaces.has(name)) {
    throw forbidden(`namespaces "${name}" is forbidden: this namespace may not be deleted`, resource, name);
  }
  const terminating = { ...live, status: { ...(live.status as object), phase: "Terminating" } };
  const marked = mark(transaction, request, terminating);
  for (const inside of namespacedResources) {
    for (const row of transaction.scan({ kind: storeKind(inside), namespace: name })) {
      const inner = { ...request, resource: inside, namespace: name, name: row.name };
      markOrRemove(transaction, inner, JSON.parse(row.json) as Live);
    }
  }
  // An empty namespace went away with the last of its objects, or goes now.
  finishNamespace(transaction, name);
  return transaction.get(keyOf(request)) === undefined ? success(resource, name, live.metadata.uid) : marked;
}

/** Removes an object, and its namespace if that only waited for it. */
function removeNow(transaction: Transaction, request: WriteRequest): void {
  transaction.remove(keyOf(request));
  if (request.namespace !== "") finishNamespace(transaction, request.namespace);
}

function finishNamespace(transaction: Transaction, name: string): void {
  const key = { kind: "namespaces", namespace: "", name };
  const row = transaction.get(key);
  if (row === undefined) return;
  const { metadata } = JSON.parse(row.json) as Live;
  if (metadata.deletionTimestamp === undefined || (metadata.finalizers ?? []).length > 0) return;
  const occupied = namespacedResources.some(
    (inside) => transaction.scan({ kind: storeKind(inside), namespace: name, limit: 1 }).length > 0,
  );
  if (!occupied) transaction.remove(key);
}

/** Every namespace has a service account `default`, which pods act as that name no other. */
function createDefaultAccount(transaction: Transaction, request: WriteRequest, namespace: string): void {
  createObject(
    transaction,
    {
      ...request,
      resource: resourceOf("ServiceAccount"),
      namespace,
      name: "default",
      manager: "apiserver",
      subresource: undefined,
    },
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "default" } },
  );
}

function requireNamespace(transaction: Transaction, namespace: string, resource: Resource, name: string): void {
  const row = transaction.get({ kind: "namespaces", namespace: "", name: namespace });
  if (row === undefined) throw notFound(resourceOf("Namespace"), namespace);
  if ((JSON.parse(row.json) as Live).metadata.deletionTimestamp !== undefined) {
    throw forbidden(
      `${storeKind(resource)} "${name}" is forbidden: unable to create new content in namespace ${namespace} because it is being terminated`,
      resource,
      name,
    );
  }
}

function liveObject(transaction: Transaction, request: WriteRequest): Live {
  const row = transaction.get(keyOf(request));
  if (row === undefined) throw notFound(request.resource, request.name);
  return JSON.parse(row.json) as Live;
}

function requireVersion({ resource, name }: WriteRequest, live: Live, next: KubeObject): void {
  const { resourceVersion, uid } = next.metadata;
  if (uid !== undefined && uid !== "" && uid !== live.metadata.uid) {
    throw conflict(
      resource,
      name,
      `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${live.metadata.uid}`,
    );
  }
  if (resourceVersion !== undefined && resourceVersion !== "" && resourceVersion !== live.metadata.resourceVersion) {
    throw conflict(
      resource,
      name,
      "the object has been modified; please apply your changes to the latest version and try again",
    );
  }
}

function requireFields(patch: unknown): Fields {
  if (!isFields(patch)) throw badRequest("the patch must be an object");
  return patch;
}

/** Checks that the body is an object of this kind, place and schema; yields it without unknown fields and with defaults. */
function decode(request: WriteRequest, body: unknown, partial = false): KubeObject {
  const { resource } = request;
  if (!isFields(body)) throw badRequest("the body of the request must be an object");
  const expected = { apiVersion: apiVersionOf(resource), kind: resource.kind };
  for (const field of ["apiVersion", "kind"] as const) {
    const found = body[field];
    if (found !== undefined && found !== expected[field]) {
      throw badRequest(
        `the ${field} in the data (${String(found)}) does not match the expected ${field} (${expected[field]})`,
      );
    }
  }
  const { value, problems, unknownFields } = checkStructure(
    resource.schema,
    { ...body, metadata: body.metadata ?? {}, ...expected },
    { partial },
  );
  reportUnknown(request, unknownFields);
  const object = value as KubeObject;
  const named =
    isFields(object.metadata) && typeof object.metadata.name === "string" ? object.metadata.name : request.name;
  if (problems.length > 0) throw invalid(resource, named, problems);
  if (request.name !== "" && object.metadata.name !== undefined && object.metadata.name !== request.name) {
    throw badRequest(
      `the name of the object (${object.metadata.name}) does not match the name on the URL (${request.name})`,
    );
  }
  if (
    resource.namespaced &&
    object.metadata.namespace !== undefined &&
    object.metadata.namespace !== request.namespace
  ) {
    throw badRequest(
      `the namespace of the provided object does not match the namespace sent on the request (${object.metadata.namespace} and ${request.namespace})`,
    );
  }
  const wrongEntries = managedFieldsProblem(object.metadata.managedFields);
  if (wrongEntries !== undefined) {
    throw invalid(resource, named, [
      { path: "metadata.managedFields", code: "FieldValueInvalid", message: `Invalid value: ${wrongEntries}` },
    ]);
  }
  return object;
}

function reportUnknown(request: WriteRequest, fields: readonly UnknownField[]): void {
  if (fields.length === 0 || request.fieldValidation === "Ignore") return;
  const texts = fields.map(
    ({ path, nearest }) => `unknown field "${path}"${nearest === undefined ? "" : ` (did you mean "${nearest}"?)`}`,
  );
  if (request.fieldValidation === "Warn") {
    for (const text of texts) request.warn(text);
    return;
  }
  const { kind, version } = request.resource;
  throw badRequest(
    `${kind} in version "${version}" cannot be handled as a ${kind}: strict decoding error: ${texts.join(", ")}`,
  );
}

function meaningProblems(request: WriteRequest, object: KubeObject): SchemaProblem[] {
  if (request.subresource === "status") return [];
  const { resource, validate } = request;
  const judged = validate(resource.kind, object);
  for (const { severity, path, message } of judged) {
    if (severity === "warning") request.warn(`${path}: ${message}`);
  }
  const refused = judged
    .filter(({ severity }) => severity === undefined || severity === "error")
    .map(({ path, message, hint }) => ({
      path,
      code: "FieldValueInvalid" as const,
      message,
      ...(hint ? { hint } : {}),
    }));
  return [...checkMetadata(resource, object.metadata), ...kindProblems(resource, object), ...refused];
}

function refuseProblems(request: WriteRequest, name: string, problems: readonly SchemaProblem[]): void {
  if (problems.length > 0) throw invalid(request.resource, name, problems);
}

const hasGeneration = ({ custom, schema }: Resource) => custom || schema.properties?.spec !== undefined;
const mainScope = ({ hasStatus }: Resource) => ({ status: hasStatus ? "without" : "with" }) as const;

/** What a person wants of the object: all but metadata and status. */
function desiredPart(resource: Resource, object: Live): Fields {
  const { metadata: _m, status, ...rest } = object;
  return resource.hasStatus || status === undefined ? rest : { ...rest, status };
}

const withManagedFields = (object: KubeObject, entries: readonly ManagedFieldsEntry[]): KubeObject =>
  entries.length === 0 ? object : { ...object, metadata: { ...object.metadata, managedFields: entries } };

const defined = <T extends object>(record: T): Partial<T> =>
  Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as Partial<T>;

/** Five characters that can't form words, as Kubernetes has them. */
function randomSuffix(): string {
  const letters = "bcdfghjklmnpqrstvwxz2456789";
  return Array.from({ length: 5 }, () => letters[randomInt(letters.length)]).join("");
}
