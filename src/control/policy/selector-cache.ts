/** Selectors in use, each once, with the identities that they select: a new identity or rule costs only what it touches. */
import { type Identity, labelsKey, type NumericIdentity } from "#core/model";
import { isPeer, type KnownIdentity, knowIdentity, peerKey } from "./peers.ts";
import type { Peer } from "./rule.ts";
import type { Requirement, Selector } from "./selector.ts";

/** A selector in use. `matches` is kept up to date; don't change it. */
export interface CachedSelector<User> {
  readonly key: string;
  readonly matches: ReadonlySet<NumericIdentity>;
  readonly users: ReadonlySet<User>;
}

interface Entry<User> extends CachedSelector<User> {
  readonly selects: (known: KnownIdentity) => boolean;
  readonly matches: Set<NumericIdentity>;
  readonly users: Set<User>;
}

/** Hears that a selector selects an identity that it did not select before, or no longer does. Called for each user. */
export type SelectionListener<User> = (user: User, selector: CachedSelector<User>, id: NumericIdentity) => void;

/** Keeps selectors and identities together. */
export class SelectorCache<User> {
  readonly #entries = new Map<string, Entry<User>>();
  readonly #identities = new Map<NumericIdentity, KnownIdentity>();
  /** `key=value` of a label -> who has it, whatever the source: finds candidates for equality requirements. */
  readonly #byLabel = new Map<string, Set<NumericIdentity>>();
  readonly #onChange: SelectionListener<User>;
  readonly #clusterName: string;

  constructor(clusterName: string, onChange: SelectionListener<User>) {
    this.#clusterName = clusterName;
    this.#onChange = onChange;
  }

  identity(id: NumericIdentity): KnownIdentity | undefined {
    return this.#identities.get(id);
  }

  identities(): IterableIterator<KnownIdentity> {
    return this.#identities.values();
  }

  /** Adds or replaces an identity. */
  upsertIdentity(identity: Identity): void {
    const before = this.#identities.get(identity.id);
    if (before !== undefined && labelsKey(before.identity.labels) === labelsKey(identity.labels)) return;
    // Other labels under the same number: whoever selected it must look again, even if it goes on selecting it.
    if (before !== undefined) this.removeIdentity(identity.id);
    const known = knowIdentity(identity);
    this.#identities.set(identity.id, known);
    for (const label of identity.labels) {
      const text = `${label.key}=${label.value}`;
      const holders = this.#byLabel.get(text);
      if (holders === undefined) this.#byLabel.set(text, new Set([identity.id]));
      else holders.add(identity.id);
    }
    for (const entry of this.#entries.values()) {
      const had = entry.matches.has(identity.id);
      const has = entry.selects(known);
      if (had === has) continue;
      if (has) entry.matches.add(identity.id);
      else entry.matches.delete(identity.id);
      for (const user of entry.users) this.#onChange(user, entry, identity.id);
    }
  }

  removeIdentity(id: NumericIdentity): void {
    const known = this.#identities.get(id);
    if (known === undefined) return;
    this.#unindex(known);
    this.#identities.delete(id);
    for (const entry of this.#entries.values())
      if (entry.matches.delete(id)) for (const user of entry.users) this.#onChange(user, entry, id);
  }

  /** The selector of a peer, for that user. */
  acquirePeer(peer: Peer, user: User): CachedSelector<User> {
    const requirements = peer.kind === "labels" ? peer.selector.requirements : [];
    return this.#acquire(peerKey(peer), (known) => isPeer(peer, known, this.#clusterName), requirements, user);
  }

  /** A rule's subjects. */
  acquireSubject(selector: Selector, user: User): CachedSelector<User> {
    return this.acquirePeer({ kind: "labels", selector, path: "" }, user);
  }

  /** Everyone who names ports. */
  acquireNamed(user: User): CachedSelector<User> {
    return this.#acquire("named ports", (known) => known.namedPorts.length > 0, [], user);
  }

  /** The user is gone. */
  release(selector: CachedSelector<User>, user: User): void {
    const entry = this.#entries.get(selector.key);
    if (entry === undefined) return;
    entry.users.delete(user);
    if (entry.users.size === 0) this.#entries.delete(selector.key);
  }

  #acquire(
    key: string,
    select: (known: KnownIdentity) => boolean,
    requirements: readonly Requirement[],
    user: User,
  ): CachedSelector<User> {
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = { key, selects: select, matches: new Set(), users: new Set() };
      for (const known of this.#candidates(requirements)) if (select(known)) entry.matches.add(known.identity.id);
      this.#entries.set(key, entry);
    }
    entry.users.add(user);
    return entry;
  }

  /** A superset of what the requirements select, as small as the index of labels tells at no cost. */
  *#candidates(requirements: readonly Requirement[]): Iterable<KnownIdentity> {
    let best: ReadonlySet<NumericIdentity> | undefined;
    for (const { key, operator, values } of requirements) {
      if (operator !== "In" || values.length !== 1) continue;
      const holders = this.#byLabel.get(`${key}=${values[0]}`) ?? noOne;
      if (best === undefined || holders.size < best.size) best = holders;
    }
    if (best === undefined) yield* this.#identities.values();
    else for (const id of best) yield this.#identities.get(id)!;
  }

  #unindex(known: KnownIdentity): void {
    for (const label of known.identity.labels) {
      const text = `${label.key}=${label.value}`;
      const holders = this.#byLabel.get(text);
      holders?.delete(known.identity.id);
      if (holders?.size === 0) this.#byLabel.delete(text);
    }
  }
}

const noOne: ReadonlySet<NumericIdentity> = new Set();
