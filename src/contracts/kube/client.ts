/** A typed client of a Kubernetes API: ours or a real one. */
import { TsiliumError } from "#core/runtime";
import { kubeError } from "./errors.ts";
import { type Informer, type InformerHandlers, type InformerOptions, startInformer } from "./informer.ts";
import { type KubeAccess, readKubeconfig } from "./kubeconfig.ts";
import type { KubeList, KubeObject, WatchEvent } from "./meta.ts";
import { apiVersionOf, type Kind, type KubeKinds, resourceOf, resourcePath } from "./resources.ts";

/** Names an object; `namespace` only for kinds that live in one. */
export interface ObjectRef {
  readonly name: string;
  readonly namespace?: string;
}

/** What to list or watch. */
export interface ListOptions {
  /** Without it: all namespaces. */
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

/** Where a watch begins and how long it lasts. */
export interface WatchOptions extends ListOptions {
  /** Resource version after which events are wanted. */
  readonly resourceVersion?: string;
  /** Ends the watch. */
  readonly signal?: AbortSignal;
  /** After which the server ends the watch; default 300. */
  readonly timeoutSeconds?: number;
  /** Called when the server has accepted the watch; the first event may be long in coming. */
  readonly onOpen?: () => void;
}

/** How a write is made. */
export interface WriteOptions {
  readonly fieldManager?: string;
  /** Checked, answered, not stored. */
  readonly dryRun?: boolean;
}

/** How a patch is made. "apply" is server-side apply and needs a fieldManager. */
export interface PatchOptions extends WriteOptions {
  readonly type?: "merge" | "json" | "strategic" | "apply";
  readonly subresource?: "status";
  readonly force?: boolean;
}

/**
 * The client. Failures throw TsiliumError with code KUBE_NOT_FOUND, KUBE_CONFLICT, KUBE_ALREADY_EXISTS, KUBE_INVALID,
 * KUBE_BAD_REQUEST, KUBE_UNAUTHORIZED, KUBE_FORBIDDEN, KUBE_EXPIRED, KUBE_BUSY, KUBE_REFUSED or KUBE_UNREACHABLE.
 */
export interface KubeClient {
  /** The object; undefined if there is none. */
  get<K extends Kind>(kind: K, ref: ObjectRef): Promise<KubeKinds[K] | undefined>;
  /** All objects, fetched in pages of 500; `metadata.resourceVersion` is the state that was read. */
  list<K extends Kind>(kind: K, options?: ListOptions): Promise<KubeList<KubeKinds[K]>>;
  create<K extends Kind>(kind: K, object: KubeKinds[K], options?: WriteOptions): Promise<KubeKinds[K]>;
  /** Replaces the object; if it carries a resourceVersion that is no longer current: KUBE_CONFLICT. */
  update<K extends Kind>(kind: K, object: KubeKinds[K], options?: WriteOptions): Promise<KubeKinds[K]>;
  /** Replaces only the status. */
  updateStatus<K extends Kind>(kind: K, object: KubeKinds[K], options?: WriteOptions): Promise<KubeKinds[K]>;
  patch<K extends Kind>(kind: K, ref: ObjectRef, patch: unknown, options?: PatchOptions): Promise<KubeKinds[K]>;
  /** Deletes; false if there was nothing. With `uid`, only that very object (else KUBE_CONFLICT). */
  delete(kind: Kind, ref: ObjectRef, options?: { readonly uid?: string }): Promise<boolean>;
  /**
   * Watches once: hands over events in batches until the server ends the stream, then resolves. No events are missed
   * between `resourceVersion` and the end; where that is no longer possible it rejects with KUBE_EXPIRED.
   */
  watch<K extends Kind>(
    kind: K,
    options: WatchOptions,
    onEvents: (events: readonly WatchEvent<KubeKinds[K]>[]) => void,
  ): Promise<void>;
  /** Keeps a copy of all objects of a kind up to date for ever: lists, watches, resumes, lists again after a gap. */
  watchResource<K extends Kind>(
    kind: K,
    handlers: InformerHandlers<KubeKinds[K]>,
    options?: ListOptions & InformerOptions,
  ): Informer<KubeKinds[K]>;
  /** Whether the server says that it is ready; false as well if it can't be reached. */
  ready(): Promise<boolean>;
  /** Ends all watches and connections. */
  close(): void;
}

const pageSize = 500;
const patchTypes = {
  merge: "application/merge-patch+json",
  json: "application/json-patch+json",
  strategic: "application/strategic-merge-patch+json",
  apply: "application/apply-patch+yaml",
} as const;

/** A client for the server of a kubeconfig file, or of given credentials. Throws KUBECONFIG_MISSING or KUBECONFIG_INVALID. */
export async function createKubeClient(target: KubeAccess | { readonly kubeconfig: string }): Promise<KubeClient> {
  const access = "kubeconfig" in target ? await readKubeconfig(target.kubeconfig) : target;
  // The libraries of HTTP and TLS are loaded by those who speak to a server, not by those who only know kinds.
  const { createTransport } = await import("./transport.ts");
  const transport = createTransport(access);
  const closing = new AbortController();

  const query = (parts: Readonly<Record<string, string | number | boolean | undefined>>): string => {
    const given = Object.entries(parts).filter(([, value]) => value !== undefined && value !== "" && value !== false);
    return given.length === 0
      ? ""
      : `?${new URLSearchParams(given.map(([name, value]): [string, string] => [name, String(value)]))}`;
  };
  const selectors = ({ labelSelector, fieldSelector }: ListOptions) => ({ labelSelector, fieldSelector });
  const writing = ({ fieldManager, dryRun }: WriteOptions) => ({ fieldManager, dryRun: dryRun ? "All" : undefined });
  const typed = (kind: Kind, object: KubeObject) => ({ ...object, apiVersion: apiVersionOf(resourceOf(kind)), kind });
  /** The path of an object that is about to be written. */
  const pathOf = (kind: Kind, { metadata }: KubeObject) => {
    if (metadata.name === undefined) {
      throw new TsiliumError("KUBE_BAD_REQUEST", `can't write a ${kind} without metadata.name`);
    }
    return resourcePath(resourceOf(kind), refOf(metadata.name, metadata.namespace));
  };
  /** In a list of a built-in kind the items carry neither apiVersion nor kind. */
  const complete = <K extends Kind>(kind: K, item: KubeKinds[K]): KubeKinds[K] =>
    item.kind === undefined ? (typed(kind, item) as KubeKinds[K]) : item;

  const client: KubeClient = {
    async get(kind, ref) {
      try {
        const path = resourcePath(resourceOf(kind), ref);
        return (await transport.send({ method: "GET", path })) as KubeKinds[typeof kind];
      } catch (error) {
        if (error instanceof TsiliumError && error.code === "KUBE_NOT_FOUND") return undefined;
        throw error;
      }
    },
    async list(kind, options = {}) {
      type Page = KubeList<KubeKinds[typeof kind]>;
      const root = resourcePath(resourceOf(kind), refOf(undefined, options.namespace));
      const page = async (token?: string): Promise<Page> =>
        (await transport.send({
          method: "GET",
          path: root + query({ ...selectors(options), limit: pageSize, continue: token }),
        })) as Page;
      const first = await page();
      const items = [...first.items];
      for (let token = first.metadata.continue; token; ) {
        const next = await page(token);
        items.push(...next.items);
        token = next.metadata.continue;
      }
      return {
        ...first,
        metadata: { ...first.metadata, continue: "" },
        items: items.map((item) => complete(kind, item)),
      };
    },
    async create(kind, object, options = {}) {
      const path =
        resourcePath(resourceOf(kind), refOf(undefined, object.metadata.namespace)) + query(writing(options));
      return (await transport.send({ method: "POST", path, body: typed(kind, object) })) as KubeKinds[typeof kind];
    },
    async update(kind, object, options = {}) {
      const path = pathOf(kind, object) + query(writing(options));
      return (await transport.send({ method: "PUT", path, body: typed(kind, object) })) as KubeKinds[typeof kind];
    },
    async updateStatus(kind, object, options = {}) {
      const path = `${pathOf(kind, object)}/status${query(writing(options))}`;
      return (await transport.send({ method: "PUT", path, body: typed(kind, object) })) as KubeKinds[typeof kind];
    },
    async patch(kind, ref, patch, options = {}) {
      const subresource = options.subresource === undefined ? "" : `/${options.subresource}`;
      return (await transport.send({
        method: "PATCH",
        path: resourcePath(resourceOf(kind), ref) + subresource + query({ ...writing(options), force: options.force }),
        body: patch,
        contentType: patchTypes[options.type ?? "merge"],
      })) as KubeKinds[typeof kind];
    },
    async delete(kind, ref, options = {}) {
      try {
        await transport.send({
          method: "DELETE",
          path: resourcePath(resourceOf(kind), ref),
          ...(options.uid === undefined
            ? {}
            : { body: { apiVersion: "v1", kind: "DeleteOptions", preconditions: { uid: options.uid } } }),
        });
        return true;
      } catch (error) {
        if (error instanceof TsiliumError && error.code === "KUBE_NOT_FOUND") return false;
        throw error;
      }
    },
    async watch(kind, options, onEvents) {
      type Event = WatchEvent<KubeKinds[typeof kind]>;
      const timeoutSeconds = options.timeoutSeconds ?? 300;
      const path =
        resourcePath(resourceOf(kind), refOf(undefined, options.namespace)) +
        query({
          ...selectors(options),
          watch: "1",
          allowWatchBookmarks: "true",
          resourceVersion: options.resourceVersion,
          timeoutSeconds,
        });
      // A server that vanished without a word never ends the stream; the margin is for clocks and slow networks.
      const overdue = AbortSignal.timeout((timeoutSeconds + 30) * 1000);
      const signals = [closing.signal, overdue, ...(options.signal === undefined ? [] : [options.signal])];
      const request = { method: "GET", path, signal: AbortSignal.any(signals) } as const;
      await transport.stream(
        request,
        (lines) => {
          const events = lines.map((line) => JSON.parse(line) as Event);
          const failure = events.find((event) => event.type === "ERROR");
          const good = failure === undefined ? events : events.slice(0, events.indexOf(failure));
          if (good.length > 0) onEvents(good);
          if (failure?.type === "ERROR") throw kubeError(request, failure.object.code ?? 500, failure.object);
        },
        options.onOpen,
      );
    },
    watchResource(kind, handlers, options = {}) {
      return startInformer(
        {
          list: () => client.list(kind, options),
          watch: (resourceVersion, signal, onEvents, onOpen) =>
            client.watch(kind, { ...options, resourceVersion, signal, onOpen }, onEvents),
        },
        handlers,
        {
          ...options,
          signal: options.signal === undefined ? closing.signal : AbortSignal.any([options.signal, closing.signal]),
        },
      );
    },
    async ready() {
      try {
        await transport.send({ method: "GET", path: "/version" });
        return true;
      } catch (error) {
        if (error instanceof TsiliumError) return false;
        throw error;
      }
    },
    close() {
      closing.abort();
      transport.close();
    },
  };
  return client;
}

const refOf = (name: string | undefined, namespace: string | undefined) => ({
  ...(name === undefined ? {} : { name }),
  ...(namespace === undefined ? {} : { namespace }),
});
