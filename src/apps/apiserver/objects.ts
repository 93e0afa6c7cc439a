/** Writing objects: what the server sets, checks and keeps. Runs inside a transaction of the store; refuses by throwing. */
import { randomInt, randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { apiVersionOf, type KubeObject, type ManagedFieldsEntry, type Resource, resourceOf } from "#contracts/kube";
import { decode, meaningProblems, refuseProblems } from "./decoding.ts";
import { finishNamespace, removeNow } from "./deletion.ts";
import { type Fields, isFields } from "./field-sets.ts";
import { changeProblems, withKindDefaults } from "./kind-rules.ts";
import { managedPart, recordUpdate } from "./managed-fields.ts";
import { jsonPatch, mergePatch, strategicMergePatch } from "./patches.ts";
import { applyFields } from "./server-side-apply.ts";
import { alreadyExists, badRequest, conflict, forbidden, notFound, Refusal, unsupportedMediaType } from "./status.ts";
import type { Transaction } from "./store.ts";
import { keyOf, type Live, liveObject, rfc3339, storeKind, type WriteRequest, writerOf } from "./write-request.ts";

/** The forms of a patch. */
export type PatchForm = "json" | "merge" | "strategic" | "apply";

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
