/** The API objects that concern this node, as tables that follow the server. */
import { setTimeout as delay } from "node:timers/promises";
import { createKubeClient, type Kind, type KubeClient, type KubeKinds, objectKey } from "#contracts/kube";
import type { PolicyKind } from "#control/policy";
import { errorMessage, type Logger, type ReadableTable, Table, TsiliumError } from "#core/runtime";

/** All objects of one kind. */
interface Followed<K extends Kind> {
  readonly kind: K;
  /** `namespace/name` (or `name`) -> object. */
  readonly table: ReadableTable<string, KubeKinds[K]>;
  /** Whether the first complete state was seen. */
  readonly synced: boolean;
  /** The newest resource version seen; 0 before the first. */
  readonly version: number;
}

/** What the agent follows. */
export interface FollowedObjects {
  readonly namespaces: Followed<"Namespace">;
  readonly pods: Followed<"Pod">;
  readonly identities: Followed<"CiliumIdentity">;
  readonly groups: Followed<"CiliumCIDRGroup">;
  readonly policies: readonly { readonly [K in PolicyKind]: Followed<K> }[PolicyKind][];
  /** Resolves when all were seen once. */
  readonly synced: Promise<void>;
  /** Why the server can't be reached now; undefined if it can. */
  readonly problem: string | undefined;
}

/** Kinds that a cluster may do without: where they are not served, there are none of them. */
const optionalKinds: ReadonlySet<Kind> = new Set([
  "CiliumCIDRGroup",
  "ClusterNetworkPolicy",
  "AdminNetworkPolicy",
  "BaselineAdminNetworkPolicy",
]);

/** Follows one kind; `changed` is called after each batch of changes was written to the table. */
function follow<K extends Kind>(
  kube: KubeClient,
  kind: K,
  hooks: { changed: () => void; trouble: (kind: Kind, message: string | undefined) => void },
  fieldSelector?: string,
): Followed<K> & { readonly done: Promise<void> } {
  const table = new Table<string, KubeKinds[K]>(kind);
  let version = 0;
  let isSynced = false;
  const unserved = Promise.withResolvers<void>();
  const see = (object: KubeKinds[K]) => {
    version = Math.max(version, Number(object.metadata.resourceVersion ?? 0) || 0);
  };
  const informer = kube.watchResource(
    kind,
    {
      onSync(objects) {
        for (const object of objects) {
          see(object);
          table.set(objectKey(object), object);
        }
        isSynced = true;
        hooks.changed();
      },
      onChange(changes) {
        for (const { kind: what, object } of changes) {
          see(object);
          if (what === "deleted") table.delete(objectKey(object));
          else table.set(objectKey(object), object);
        }
        hooks.changed();
      },
      onError(error) {
        if (!(optionalKinds.has(kind) && error.code === "KUBE_NOT_FOUND")) {
          hooks.trouble(kind, errorMessage(error));
          return;
        }
        hooks.trouble(kind, undefined);
        if (isSynced) return;
        isSynced = true;
        unserved.resolve();
        hooks.changed();
      },
      onRecovered: () => hooks.trouble(kind, undefined),
    },
    fieldSelector === undefined ? {} : { fieldSelector },
  );
  return {
    kind,
    table,
    done: Promise.race([informer.synced, unserved.promise]),
    get synced() {
      return isSynced;
    },
    get version() {
      return version;
    },
  };
}

/** Follows everything; returns at once. `changed` is called after any change. */
export function followObjects(kube: KubeClient, nodeName: string, log: Logger, changed: () => void): FollowedObjects {
  const problems = new Map<Kind, string>();
  const hooks = {
    changed,
    trouble(kind: Kind, message: string | undefined) {
      if (message !== undefined && problems.size === 0) log.warn({ error: message }, "API server out of reach");
      if (message !== undefined) problems.set(kind, message);
      else if (problems.delete(kind) && problems.size === 0) log.info({}, "API server back");
    },
  };
  const followed = [
    follow(kube, "Namespace", hooks),
    follow(kube, "Pod", hooks, `spec.nodeName=${nodeName}`),
    follow(kube, "CiliumIdentity", hooks),
    follow(kube, "CiliumCIDRGroup", hooks),
    follow(kube, "CiliumNetworkPolicy", hooks),
    follow(kube, "CiliumClusterwideNetworkPolicy", hooks),
    follow(kube, "NetworkPolicy", hooks),
    follow(kube, "ClusterNetworkPolicy", hooks),
    follow(kube, "AdminNetworkPolicy", hooks),
    follow(kube, "BaselineAdminNetworkPolicy", hooks),
  ] as const;
  const [namespaces, pods, identities, groups, ...policies] = followed;
  return {
    namespaces,
    pods,
    identities,
    groups,
    policies,
    synced: Promise.all(followed.map((one) => one.done)).then(() => undefined),
    get problem() {
      return problems.values().next().value;
    },
  };
}

/** A client for the server that the kubeconfig names; waits for the file, and for the server to serve us, for as long as it takes. */
export async function waitForApiServer(
  kubeconfig: string,
  log: Logger,
  signal: AbortSignal,
  onProblem: (message: string) => void,
): Promise<KubeClient> {
  let told: string | undefined;
  for (;;) {
    let kube: KubeClient | undefined;
    let message: string;
    try {
      kube = await createKubeClient({ kubeconfig });
      // What needs permission, so that a refused token is named here and not waited for.
      await kube.get("Namespace", { name: "default" });
      return kube;
    } catch (error) {
      kube?.close();
      if (!(error instanceof TsiliumError)) throw error;
      message = errorMessage(error);
    }
    if (told !== message) log.info({ why: message }, "waiting for the API server; what is pinned stays in force");
    told = message;
    onProblem(message);
    await delay(50, undefined, { signal });
  }
}
