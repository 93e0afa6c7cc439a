/** Watches: the changes of a kind as they are committed, as lines of JSON. */
import type { ServerResponse } from "node:http";
import { apiVersionOf, type KubeObject, type Resource } from "#contracts/kube";
import type { StoreEvent } from "./history.ts";
import { fixedObjects, isSelected, type ObjectSource, type Rendering, renderObject, selectsAll } from "./reading.ts";
import type { Selection } from "./requests.ts";
import { badRequest, expired, type Refusal } from "./status.ts";
import { formatTable } from "./tables.ts";
import { storeKind } from "./write-request.ts";

/** A watch request. */
export interface WatchRequest {
  readonly resource: Resource;
  readonly namespace: string | undefined;
  readonly selection: Selection;
  /** Changes after it are wanted; absent or "0": the present state first. */
  readonly resourceVersion: string | undefined;
  readonly bookmarks: boolean;
  /** The present state first, and a bookmark at its end. */
  readonly initialEvents: boolean;
  readonly timeoutMs: number;
  readonly rendering: Rendering;
}

/** After a quiet minute watchers learn that nothing has happened, so that they can resume from there. */
const bookmarkEveryMs = 60_000;
/** A watcher that lets this much pile up is cut off; it resumes, or lists again. */
const backlogLimitBytes = 16 * 1024 * 1024;

/** Serves a watch on a response until it ends, the client goes or `signal` fires. Throws a Refusal before anything is sent. */
export function serveWatch(
  source: ObjectSource,
  request: WatchRequest,
  response: ServerResponse,
  signal: AbortSignal,
): void {
  const { store } = source;
  const { resource, namespace, selection, rendering } = request;
  const kind = storeKind(resource);
  const everything = selectsAll(selection);
  const start = startRevision(request.resourceVersion);
  let sentColumns = false;
  let lastSent = store.revision();

  response.writeHead(200, { "content-type": "application/json", "cache-control": "no-cache, private" });
  response.flushHeaders();

  const line = (type: string, json: string): string => {
    if (rendering.form !== "table" || type === "BOOKMARK") {
      return `{"type":"${type}","object":${renderObject(resource, json, rendering)}}\n`;
    }
    const object = JSON.parse(json) as KubeObject;
    const table = formatTable(resource, [object], {
      metadata: { resourceVersion: object.metadata.resourceVersion },
      include: rendering.include,
      nowMs: rendering.nowMs,
      withoutColumns: sentColumns,
    });
    sentColumns = true;
    return `{"type":"${type}","object":${JSON.stringify(table)}}\n`;
  };
  const bookmark = (annotations?: object): string => {
    const metadata = {
      resourceVersion: String(store.revision()),
      ...(annotations === undefined ? {} : { annotations }),
    };
    const object = { kind: resource.kind, apiVersion: apiVersionOf(resource), metadata };
    if (rendering.form === "object") return `{"type":"BOOKMARK","object":${JSON.stringify(object)}}\n`;
    if (rendering.form === "partial") return line("BOOKMARK", JSON.stringify(object));
    const row = { cells: [], object: { kind: "PartialObjectMetadata", apiVersion: "meta.k8s.io/v1", metadata } };
    const table = {
      kind: "Table",
      apiVersion: "meta.k8s.io/v1",
      metadata: { resourceVersion: metadata.resourceVersion },
      columnDefinitions: null,
      rows: [row],
    };
    return `{"type":"BOOKMARK","object":${JSON.stringify(table)}}\n`;
  };
  const refusal = ({ status }: Refusal): string => `{"type":"ERROR","object":${JSON.stringify(status)}}\n`;

  /** The line of a change as this watcher sees it: an object that leaves its selection is deleted to it. */
  const lineOf = (event: StoreEvent): string => {
    if (event.kind !== kind || (namespace !== undefined && event.namespace !== namespace)) return "";
    if (everything) return line(event.type, event.json);
    const now = event.type !== "DELETED" && isSelected(selection, JSON.parse(event.json) as KubeObject);
    const before =
      event.previousJson !== undefined && isSelected(selection, JSON.parse(event.previousJson) as KubeObject);
    if (now) return line(before ? "MODIFIED" : "ADDED", event.json);
    return before
      ? line("DELETED", event.type === "DELETED" ? event.json : withVersion(event.previousJson!, event.revision))
      : "";
  };

  const end = (text: string): void => void response.end(text);
  let first = "";
  if (start === undefined || request.initialEvents) {
    const rows = resource.readOnly
      ? fixedObjects(source, resource)
      : store.scan(namespace === undefined ? { kind } : { kind, namespace });
    const selected = everything
      ? rows
      : rows.filter(({ json }) => isSelected(selection, JSON.parse(json) as KubeObject));
    first = selected.map(({ json }) => line("ADDED", json)).join("");
    if (request.initialEvents) first += bookmark({ "k8s.io/initial-events-end": "true" });
  } else {
    const missed = start > store.revision() ? undefined : store.history.since(start);
    if (missed === undefined) {
      end(refusal(expired(`too old resource version: ${start} (${store.history.floor()})`)));
      return;
    }
    first = missed.map(lineOf).join("");
  }
  if (first !== "") response.write(first);

  const unsubscribe = store.history.subscribe((events) => {
    const lines = events.map(lineOf).join("");
    if (lines === "") return;
    lastSent = events.at(-1)!.revision;
    response.write(lines);
    if (response.writableLength > backlogLimitBytes) response.destroy();
  });
  const bookmarking = setInterval(() => {
    if (request.bookmarks && store.revision() >= lastSent) response.write(bookmark());
  }, bookmarkEveryMs);
  const timeout = setTimeout(() => end(request.bookmarks ? bookmark() : ""), request.timeoutMs);
  const stop = () => end("");
  signal.addEventListener("abort", stop, { once: true });
  response.on("close", () => {
    unsubscribe();
    clearInterval(bookmarking);
    clearTimeout(timeout);
    signal.removeEventListener("abort", stop);
  });
}

function startRevision(text: string | undefined): number | undefined {
  if (text === undefined || text === "" || text === "0") return undefined;
  if (!/^[0-9]{1,15}$/.test(text)) throw badRequest(`invalid resource version ${JSON.stringify(text)}`);
  return Number(text);
}

function withVersion(json: string, revision: number): string {
  const object = JSON.parse(json) as KubeObject;
  return JSON.stringify({ ...object, metadata: { ...object.metadata, resourceVersion: String(revision) } });
}
