/** A write as the rest of the server sees it: what is asked, by whom, and where the object lies. */
import type { KubeObject, Resource } from "#contracts/kube";
import type { Writer } from "./managed-fields.ts";
import { notFound } from "./status.ts";
import type { Transaction } from "./store.ts";
import type { StoreKey } from "./stored-object.ts";

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
/** An object with its status, if it has one. */
export type Live = KubeObject & { readonly status?: unknown };

/** Where a kind's objects lie in the store. */
export const storeKind = ({ plural, group }: Resource): string => (group === "" ? plural : `${plural}.${group}`);
/** The key of the object that is written. */
export const keyOf = ({
  resource,
  namespace,
  name,
}: Pick<WriteRequest, "resource" | "namespace" | "name">): StoreKey => ({
  kind: storeKind(resource),
  namespace,
  name,
});
/** A time as objects carry it. */
export const rfc3339 = (ms: number) => `${new Date(ms).toISOString().slice(0, 19)}Z`;
/** Who writes, for the book-keeping of fields. */
export const writerOf = ({ manager, subresource, nowMs }: WriteRequest): Writer => ({
  manager,
  time: rfc3339(nowMs),
  ...(subresource === undefined ? {} : { subresource }),
});

/** The object as it is now; refuses with 404 if there is none. */
export function liveObject(transaction: Transaction, request: WriteRequest): Live {
  const row = transaction.get(keyOf(request));
  if (row === undefined) throw notFound(request.resource, request.name);
  return JSON.parse(row.json) as Live;
}
