/** Getting and listing objects. Without selectors the stored text is answered as it is, without parsing it. */
import {
  apiVersionOf,
  type CustomResourceDefinition,
  type KubeObject,
  matchesFields,
  matchesLabels,
  type Resource,
} from "#contracts/kube";
import type { AnswerForm, Selection } from "./requests.ts";
import { badRequest, expired, notFound, Refusal } from "./status.ts";
import type { Store } from "./store.ts";
import type { StoredObject } from "./stored-object.ts";
import { formatPartial, formatTable, type IncludeObject } from "./tables.ts";
import { storeKind } from "./write-request.ts";

/** What objects are read from: the store, and the definitions that are fixed. */
export interface ObjectSource {
  readonly store: Store;
  readonly definitions: readonly CustomResourceDefinition[];
}

/** A list request. */
export interface ListRequest {
  readonly resource: Resource;
  readonly namespace: string | undefined;
  readonly selection: Selection;
  readonly limit: number | undefined;
  readonly token: string | undefined;
  readonly resourceVersion: string | undefined;
  readonly match: "Exact" | "NotOlderThan" | undefined;
}

/** How objects are to be answered. */
export interface Rendering {
  readonly form: AnswerForm;
  readonly include: IncludeObject;
  readonly nowMs: number;
}

/** Whether an object is selected. */
export const isSelected = ({ labels, fields }: Selection, object: KubeObject): boolean =>
  (labels.length === 0 || matchesLabels(labels, object.metadata.labels)) &&
  (fields.length === 0 || matchesFields(fields, object));

/** Whether everything is selected, so that objects need not be parsed. */
export const selectsAll = ({ labels, fields }: Selection): boolean => labels.length === 0 && fields.length === 0;

/** One object, rendered. */
export function readObject(
  source: ObjectSource,
  resource: Resource,
  key: { readonly namespace: string; readonly name: string },
  rendering: Rendering,
): string {
  const json = resource.readOnly
    ? fixedObjects(source, resource).find((each) => each.name === key.name)?.json
    : source.store.get({ kind: storeKind(resource), ...key })?.json;
  if (json === undefined) throw notFound(resource, key.name);
  return renderObject(resource, json, rendering);
}

/** Renders one object given as text. */
export function renderObject(resource: Resource, json: string, { form, include, nowMs }: Rendering): string {
  if (form === "object" || form === "aggregated-discovery") return json;
  const object = JSON.parse(json) as KubeObject;
  if (form === "partial") return JSON.stringify(formatPartial(object));
  const metadata = { resourceVersion: object.metadata.resourceVersion };
  return JSON.stringify(formatTable(resource, [object], { metadata, include, nowMs }));
}

/** Objects of fixed kinds in the form of stored ones. */
export function fixedObjects({ definitions }: ObjectSource, resource: Resource): StoredObject[] {
  return definitions.map((definition) => ({
    kind: storeKind(resource),
    namespace: "",
    name: definition.metadata.name!,
    json: JSON.stringify(definition),
  }));
}

/** The objects of a list and the revision they are of. */
export interface Listed {
  readonly revision: number;
  readonly objects: readonly StoredObject[];
  /** Where the next page begins; undefined if this is the last. */
  readonly token: string | undefined;
  readonly remaining: number | undefined;
}

/** Lists objects. */
export function listObjects(source: ObjectSource, request: ListRequest): Listed {
  const { store } = source;
  const { resource, namespace, selection, limit } = request;
  const kind = storeKind(resource);
  const start = request.token === undefined ? undefined : decodeToken(request.token);
  const revision = start?.revision ?? wantedRevision(store, request);
  const inNamespace = namespace === undefined ? {} : { namespace };

  let rows: StoredObject[];
  if (resource.readOnly) rows = fixedObjects(source, resource);
  else {
    const wholePage = limit !== undefined && limit > 0 && selectsAll(selection);
    const after = start === undefined ? {} : { after: start.after };
    if (revision === store.revision()) {
      // One more than asked for tells whether there is a next page.
      rows = store.scan({ kind, ...inNamespace, ...after, ...(wholePage ? { limit: limit + 1 } : {}) });
    } else {
      const then = store.history.rewind(kind, store.scan({ kind, ...inNamespace }), revision);
      if (then === undefined) {
        throw expired(
          `The provided continue parameter or resourceVersion is too old: revision ${revision} is no longer known (oldest is ${store.history.floor()}); list again`,
          start === undefined ? undefined : encodeToken(store.revision(), start.after),
        );
      }
      rows = then.filter((row) => namespace === undefined || row.namespace === namespace);
      if (start !== undefined) rows = rows.filter((row) => isAfter(row, start.after));
    }
  }
  if (!selectsAll(selection)) rows = rows.filter((row) => isSelected(selection, JSON.parse(row.json) as KubeObject));
  if (limit === undefined || limit === 0 || rows.length <= limit) {
    return { revision, objects: rows, token: undefined, remaining: undefined };
  }
  const page = rows.slice(0, limit);
  const last = page.at(-1)!;
  return {
    revision,
    objects: page,
    token: encodeToken(revision, last),
    // Only known where the rest was read as well.
    remaining: selectsAll(selection) ? undefined : rows.length - limit,
  };
}

/** The revision a list is to be of. */
function wantedRevision(store: Store, { resourceVersion, match }: ListRequest): number {
  const current = store.revision();
  if (resourceVersion === undefined || resourceVersion === "") {
    if (match !== undefined) throw badRequest("resourceVersionMatch is forbidden unless resourceVersion is provided");
    return current;
  }
  if (!/^[0-9]{1,15}$/.test(resourceVersion))
    throw badRequest(`invalid resource version ${JSON.stringify(resourceVersion)}`);
  const revision = Number(resourceVersion);
  if (match === "Exact" && revision === 0)
    throw badRequest("resourceVersionMatch Exact is forbidden for resourceVersion 0");
  if (revision > current) {
    throw new Refusal(504, "Timeout", `Too large resource version: ${revision}, current: ${current}`, {
      causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }],
      retryAfterSeconds: 1,
    });
  }
  return match === "Exact" ? revision : current;
}

/** The list as text. */
export function renderList(resource: Resource, listed: Listed, { form, include, nowMs }: Rendering): string {
  const metadata = {
    resourceVersion: String(listed.revision),
    ...(listed.token === undefined ? {} : { continue: listed.token }),
    ...(listed.remaining === undefined ? {} : { remainingItemCount: listed.remaining }),
  };
  if (form === "object" || form === "aggregated-discovery") {
    const head = { kind: `${resource.kind}List`, apiVersion: apiVersionOf(resource), metadata };
    return `${JSON.stringify(head).slice(0, -1)},"items":[${listed.objects.map(({ json }) => json).join(",")}]}`;
  }
  const objects = listed.objects.map(({ json }) => JSON.parse(json) as KubeObject);
  return JSON.stringify(
    form === "table"
      ? formatTable(resource, objects, { metadata, include, nowMs })
      : {
          kind: "PartialObjectMetadataList",
          apiVersion: "meta.k8s.io/v1",
          metadata,
          items: objects.map(formatPartial),
        },
  );
}

type Position = { readonly namespace: string; readonly name: string };

const isAfter = (row: Position, after: Position) =>
  row.namespace > after.namespace || (row.namespace === after.namespace && row.name > after.name);

const encodeToken = (revision: number, { namespace, name }: Position): string =>
  Buffer.from(JSON.stringify([revision, namespace, name])).toString("base64url");

function decodeToken(token: string): { readonly revision: number; readonly after: Position } {
  try {
    const [revision, namespace, name] = JSON.parse(Buffer.from(token, "base64url").toString("utf8"));
    if (Number.isSafeInteger(revision) && typeof namespace === "string" && typeof name === "string") {
      return { revision, after: { namespace, name } };
    }
  } catch {
    // Said below.
  }
  throw badRequest("the continue parameter is not one that this server gave");
}
