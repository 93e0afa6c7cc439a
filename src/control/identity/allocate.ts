/** Numbers for label sets: which are kept, which are new, which may go. A plan; whoever owns the objects carries it out. */
import { type Identity, identityRanges, type Labels, labelsKey, type NumericIdentity } from "#core/model";

/** What a plan starts from. */
export interface IdentityDemand {
  /** Identities that exist, whoever made them. */
  readonly existing: readonly Identity[];
  /** Label sets that need a number; repetition does no harm. */
  readonly wanted: Iterable<Labels>;
  /** When numbers were given back, in milliseconds of the clock that `nowMs` is from. */
  readonly released?: ReadonlyMap<NumericIdentity, number>;
  readonly nowMs: number;
  /** How long a number stays out of use after it was given back: peers may still take it for the old labels. */
  readonly graceMs?: number;
}

/** The plan. */
export interface IdentityPlan {
  /** Labels key -> identity, for every wanted label set that could be served. */
  readonly assigned: ReadonlyMap<string, Identity>;
  /** Those of `assigned` that do not exist yet. */
  readonly created: readonly Identity[];
  /** Existing ones that nobody here wants. */
  readonly unwanted: readonly Identity[];
  /** Label sets for which no number is free. */
  readonly unserved: readonly Labels[];
}

/** Default grace period: an hour. */
export const defaultIdentityGraceMs = 3_600_000;

/** Plans cluster-wide identities (256..65535). If two existing ones have the same labels, the lower number is used. */
export function planIdentities(demand: IdentityDemand): IdentityPlan {
  const graceMs = demand.graceMs ?? defaultIdentityGraceMs;
  const byKey = new Map<string, Identity>();
  const used = new Set<NumericIdentity>();
  for (const identity of demand.existing) {
    used.add(identity.id);
    const key = labelsKey(identity.labels);
    const known = byKey.get(key);
    if (known === undefined || identity.id < known.id) byKey.set(key, identity);
  }
  for (const [id, atMs] of demand.released ?? []) if (demand.nowMs - atMs < graceMs) used.add(id);

  const assigned = new Map<string, Identity>();
  const created: Identity[] = [];
  const unserved = new Map<string, Labels>();
  let next: number = identityRanges.clusterMin;
  for (const labels of demand.wanted) {
    const key = labelsKey(labels);
    if (assigned.has(key) || unserved.has(key)) continue;
    const known = byKey.get(key);
    if (known !== undefined) {
      assigned.set(key, known);
      continue;
    }
    while (next <= identityRanges.clusterMax && used.has(next as NumericIdentity)) next++;
    if (next > identityRanges.clusterMax) {
      unserved.set(key, labels);
      continue;
    }
    const identity: Identity = { id: next++ as NumericIdentity, labels };
    assigned.set(key, identity);
    created.push(identity);
  }
  const serving = new Set([...assigned.values()].map((identity) => identity.id));
  return {
    assigned,
    created,
    unwanted: demand.existing.filter((identity) => !serving.has(identity.id)),
    unserved: [...unserved.values()],
  };
}
