/** Deleting objects: finalizers, preconditions, and namespaces with all that is in them. */
import { type KubeObject, resources, type Status } from "#contracts/kube";
import { conflict, forbidden, success } from "./status.ts";
import type { Transaction } from "./store.ts";
import { keyOf, type Live, liveObject, rfc3339, storeKind, type WriteRequest } from "./write-request.ts";

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
export function removeNow(transaction: Transaction, request: WriteRequest): void {
  transaction.remove(keyOf(request));
  if (request.namespace !== "") finishNamespace(transaction, request.namespace);
}

/** Removes a namespace that is being deleted, once nothing is left in it. */
export function finishNamespace(transaction: Transaction, name: string): void {
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
