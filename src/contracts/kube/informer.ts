/**
 * A copy of all objects of one kind, kept up to date by list and watch. Its stages:
 * listing (whole state is read; differences to the last known state become changes), watching (events become changes),
 * waiting (the server is away; the copy stays as it was). A gap that a watch can't bridge leads back to listing.
 */
import { setTimeout as delay } from "node:timers/promises";
import { TsiliumError } from "#core/runtime";
import type { KubeList, KubeObject, WatchEvent } from "./meta.ts";

/** One difference between two states of the copy. */
export type ObjectChange<T> =
  | { readonly kind: "added"; readonly object: T }
  | { readonly kind: "changed"; readonly object: T; readonly previous: T }
  | { readonly kind: "deleted"; readonly object: T };

/** Who is told. Handlers run one at a time and must not throw. */
export interface InformerHandlers<T> {
  /** Once, with the first complete state. Before it nothing else is called. */
  onSync(objects: readonly T[]): void;
  /** After that: all differences, in order, including deletions that happened while the server was away. */
  onChange(changes: readonly ObjectChange<T>[]): void;
  /** Each time the server can't be reached or refuses; the informer goes on trying by itself. */
  onError?(error: TsiliumError): void;
  /** After errors: the server serves again, whether or not anything changed meanwhile. */
  onRecovered?(): void;
}

/** How an informer behaves. */
export interface InformerOptions {
  /** Ends the informer. */
  readonly signal?: AbortSignal;
  /** First pause after a failure, in ms; doubles up to 5 s. Default 50. */
  readonly retryMs?: number;
}

/** A running informer. */
export interface Informer<T> {
  /** Resolves after onSync; rejects if the informer was stopped before. */
  readonly synced: Promise<void>;
  /** The copy: `namespace/name` (or `name`) -> object. */
  readonly objects: ReadonlyMap<string, T>;
  /** Ends it; no handler is called any more. */
  stop(): void;
}

/** The key of an object in the copy. */
export const objectKey = ({ metadata }: KubeObject): string =>
  metadata.namespace ? `${metadata.namespace}/${metadata.name}` : (metadata.name ?? "");

interface Source<T> {
  list(): Promise<KubeList<T>>;
  /** `onOpen` is called when the server has accepted the watch. */
  watch(
    revision: string,
    signal: AbortSignal,
    onEvents: (events: readonly WatchEvent<T>[]) => void,
    onOpen: () => void,
  ): Promise<void>;
}

const longestRetryMs = 5000;
/** A watch that ends sooner than this is a failing server, not the end of its time. */
const shortWatchMs = 1000;

/** Starts at once. */
export function startInformer<T extends KubeObject>(
  source: Source<T>,
  handlers: InformerHandlers<T>,
  options: InformerOptions = {},
): Informer<T> {
  const objects = new Map<string, T>();
  const stopping = new AbortController();
  const signal = options.signal === undefined ? stopping.signal : AbortSignal.any([options.signal, stopping.signal]);
  const firstRetryMs = options.retryMs ?? 50;
  const synced = Promise.withResolvers<void>();
  synced.promise.catch(() => undefined); // Nobody needs to wait for it.
  let isSynced = false;

  function replace(listed: KubeList<T>): void {
    const next = new Map(listed.items.map((item) => [objectKey(item), item]));
    const changes: ObjectChange<T>[] = [];
    for (const [key, previous] of objects) {
      const object = next.get(key);
      // Deleted and created anew while nobody looked: two changes, or its successor would inherit what belonged to it.
      if (object === undefined || object.metadata.uid !== previous.metadata.uid) {
        changes.push({ kind: "deleted", object: previous });
        objects.delete(key);
      }
    }
    for (const [key, object] of next) set(key, object, changes);
    deliver(changes);
  }

  function set(key: string, object: T, changes: ObjectChange<T>[]): void {
    const previous = objects.get(key);
    if (previous?.metadata.resourceVersion === object.metadata.resourceVersion && previous !== undefined) return;
    objects.set(key, object);
    changes.push(previous === undefined ? { kind: "added", object } : { kind: "changed", object, previous });
  }

  function deliver(changes: readonly ObjectChange<T>[]): void {
    try {
      if (isSynced) {
        if (changes.length > 0) handlers.onChange(changes);
        return;
      }
      isSynced = true;
      handlers.onSync([...objects.values()]);
      synced.resolve();
    } catch (error) {
      // A bug of the handler, not of the connection: it must end the process, not look like a failing server.
      queueMicrotask(() => {
        throw error;
      });
    }
  }

  function apply(events: readonly WatchEvent<T>[]): string | undefined {
    const changes: ObjectChange<T>[] = [];
    let revision: string | undefined;
    for (const event of events) {
      if (event.type === "ERROR") continue;
      revision = event.object.metadata.resourceVersion ?? revision;
      if (event.type === "BOOKMARK") continue;
      const key = objectKey(event.object);
      if (event.type !== "DELETED") set(key, event.object, changes);
      else if (objects.delete(key)) changes.push({ kind: "deleted", object: event.object });
    }
    if (changes.length > 0) deliver(changes);
    return revision;
  }

  async function run(): Promise<void> {
    let revision: string | undefined;
    let retryMs = firstRetryMs;
    let failing = false;
    while (!signal.aborted) {
      const startedMs = performance.now();
      try {
        if (revision === undefined) {
          const listed = await source.list();
          if (signal.aborted) return;
          replace(listed);
          revision = listed.metadata.resourceVersion ?? "0";
          retryMs = firstRetryMs;
        }
        await source.watch(
          revision,
          signal,
          (events) => {
            if (signal.aborted) return;
            revision = apply(events) ?? revision;
            retryMs = firstRetryMs;
          },
          () => {
            if (failing && !signal.aborted) handlers.onRecovered?.();
            failing = false;
          },
        );
        if (performance.now() - startedMs > shortWatchMs) continue;
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof TsiliumError)) throw error;
        if (error.code === "KUBE_EXPIRED") revision = undefined;
        failing = true;
        handlers.onError?.(error);
      }
      // Half of the pause is random, so that the watchers of a restarted server don't come all at once.
      await delay(retryMs * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => undefined);
      retryMs = Math.min(2 * retryMs, longestRetryMs);
    }
  }

  const stopped = () =>
    synced.reject(new TsiliumError("KUBE_WATCH_STOPPED", "the watch was stopped before it had the first state"));
  if (signal.aborted) stopped();
  else signal.addEventListener("abort", stopped, { once: true });
  void run();
  return { synced: synced.promise, objects, stop: () => stopping.abort() };
}
