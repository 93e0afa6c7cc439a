/** Cluster-wide identities: label sets of this node's endpoints get numbers, kept as CiliumIdentity objects. */
import { type CiliumIdentity, type KubeClient, objectKey } from "#contracts/kube";
import { planIdentities } from "#control/identity";
import {
  createLabels,
  formatLabels,
  type Identity,
  type Labels,
  labelsKey,
  type NumericIdentity,
  parseLabel,
} from "#core/model";
import { errorMessage, type Logger, type ReadableTable, Table, TsiliumError } from "#core/runtime";

/** The identities that exist, and the way to more of them. */
export interface ClusterIdentities {
  readonly table: ReadableTable<NumericIdentity, Identity>;
  /** The identity of a label set; undefined if it has none yet. */
  find(labels: Labels): Identity | undefined;
  /** Sees to it that these label sets get identities; the table tells when. */
  want(labels: Iterable<Labels>): void;
  /** The API server's objects, as they come. */
  put(object: CiliumIdentity): void;
  remove(object: CiliumIdentity): void;
  /** Why a label set has no number yet. */
  readonly problem: string | undefined;
}

/** First pause after a failed write; doubles up to 5 s. */
const firstRetryMs = 50;

/** An allocator that writes through `kube`. `onKnown` hears of an identity before anybody can find it, `onGone` of one that ended. */
export function createClusterIdentities(
  kube: KubeClient,
  log: Logger,
  hooks: { readonly onKnown: (identity: Identity) => void; readonly onGone: (id: NumericIdentity) => void },
): ClusterIdentities {
  const table = new Table<NumericIdentity, Identity>(
    "identities",
    (a, b) => labelsKey(a.labels) === labelsKey(b.labels),
  );
  const byLabels = new Map<string, Identity>();
  const wanted = new Map<string, Labels>();
  const writing = new Set<string>();
  let problem: string | undefined;
  let retryMs = firstRetryMs;

  const keep = (identity: Identity) => {
    const key = labelsKey(identity.labels);
    const known = byLabels.get(key);
    if (table.get(identity.id) === undefined) hooks.onKnown(identity);
    // Two agents may have allocated at once: the lower number counts for both.
    if (known === undefined || identity.id < known.id) byLabels.set(key, identity);
    table.set(identity.id, identity);
  };

  async function write(identity: Identity): Promise<void> {
    const key = labelsKey(identity.labels);
    writing.add(key);
    try {
      await kube.create("CiliumIdentity", objectOf(identity));
      keep(identity);
      problem = undefined;
      retryMs = firstRetryMs;
    } catch (error) {
      if (!(error instanceof TsiliumError)) throw error;
      if (error.code === "KUBE_ALREADY_EXISTS") {
        // Somebody else took the number; what it stands for may not have reached us yet.
        const taken = await kube.get("CiliumIdentity", { name: String(identity.id) }).catch(() => undefined);
        if (taken) put(taken);
      } else {
        problem = `no identity for ${formatLabels(identity.labels).join(", ")}: ${errorMessage(error)}`;
        log.warn({ labels: key, error: errorMessage(error) }, "identity not written; trying again");
      }
      setTimeout(allocate, retryMs).unref();
      retryMs = Math.min(5000, retryMs * 2);
    } finally {
      writing.delete(key);
    }
  }

  function allocate(): void {
    const missing = [...wanted].filter(([key]) => !byLabels.has(key) && !writing.has(key)).map(([, labels]) => labels);
    if (missing.length === 0) return;
    const plan = planIdentities({ existing: [...table.values(), ...reservedNow], wanted: missing, nowMs: Date.now() });
    if (plan.unserved.length > 0) problem = "all identity numbers from 256 to 65535 are taken";
    for (const identity of plan.created) {
      reservedNow.add(identity);
      void write(identity).finally(() => reservedNow.delete(identity));
    }
  }
  /** Numbers that are being written, so that the next plan leaves them alone. */
  const reservedNow = new Set<Identity>();

  function put(object: CiliumIdentity): void {
    const identity = identityOf(object);
    if (identity) keep(identity);
    else log.warn({ object: objectKey(object) }, "CiliumIdentity without number or labels left out");
  }

  return {
    table,
    find: (labels) => byLabels.get(labelsKey(labels)),
    want(all) {
      wanted.clear();
      for (const labels of all) wanted.set(labelsKey(labels), labels);
      allocate();
    },
    put,
    remove(object) {
      const id = Number(object.metadata.name) as NumericIdentity;
      const identity = table.get(id);
      if (!identity) return;
      table.delete(id);
      hooks.onGone(id);
      const key = labelsKey(identity.labels);
      if (byLabels.get(key)?.id !== id) return;
      const other = [...table.values()].find((one) => labelsKey(one.labels) === key);
      if (other) byLabels.set(key, other);
      else byLabels.delete(key);
      // One that is still in use here was deleted by mistake: it is written again, under another number.
      allocate();
    },
    get problem() {
      return problem;
    },
  };
}

function objectOf(identity: Identity): CiliumIdentity {
  const labels: Record<string, string> = {};
  for (const { source, key, value } of identity.labels) labels[`${source}:${key}`] = value;
  return { metadata: { name: String(identity.id) }, "security-labels": labels };
}

function identityOf(object: CiliumIdentity): Identity | undefined {
  const id = Number(object.metadata.name);
  const labels = object["security-labels"];
  if (!Number.isInteger(id) || id <= 0 || typeof labels !== "object") return undefined;
  const parsed = Object.entries(labels).map(([key, value]) => ({ ...parseLabel(key), value }));
  return { id: id as NumericIdentity, labels: createLabels(parsed) };
}
