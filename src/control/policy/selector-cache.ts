/** Selectors in use, each once, with the identities that they select: a new identity or rule costs only what it touches. */
import { type Identity, labelsKey, type NumericIdentity } from "#core/model";
import { MultiMap } from "./multi-map.ts";
import { isPeer, type KnownIdentity, knowIdentity, peerKey } from "./peers.ts";
import type { Peer } from "./rule.ts";
import type { Selector } from "./selector.ts";
import { anchorsOf, traitsOf } from "./traits.ts";

/** A selector in use. `matches` is kept up to date; don't change it. */
export interface CachedSelector {
  readonly key: string;
  readonly matches: ReadonlySet<NumericIdentity>;
}

interface Entry extends CachedSelector {
  readonly selects: (known: KnownIdentity) => boolean;
  readonly matches: Set<NumericIdentity>;
  /** Traits under which it waits for identities; undefined: among those that are tried always. */
  readonly anchor: readonly string[] | undefined;
}

/** Hears that a selector selects an identity that it did not select before, or no longer does. Called for each user. */
export type SelectionListener<User> = (user: User, selector: CachedSelector, id: NumericIdentity) => void;

/** Keeps selectors and identities together. */
export class SelectorCache<User extends object> {
  readonly #entries = new Map<string, Entry>();
  readonly #identities = new Map<NumericIdentity, KnownIdentity>();
  /** Trait -> who has it. */
  readonly #holders = new MultiMap<string, NumericIdentity>();
  /** Trait -> selectors that wait for such. */
  readonly #waiting = new MultiMap<string, Entry>();
  readonly #users = new MultiMap<Entry, User>();
  /** Selectors with nothing to go by. */
  readonly #everywhere = new Set<Entry>();
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
    const traits = traitsOf(known);
    for (const text of traits) this.#holders.add(text, identity.id);
    this.#eachCandidate(traits, (entry) => {
      if (entry.matches.has(identity.id) || !entry.selects(known)) return;
      entry.matches.add(identity.id);
      this.#users.forEach(entry, (user) => this.#onChange(user, entry, identity.id));
    });
  }

  removeIdentity(id: NumericIdentity): void {
    const known = this.#identities.get(id);
    if (known === undefined) return;
    this.#identities.delete(id);
    const traits = traitsOf(known);
    this.#eachCandidate(traits, (entry) => {
      if (entry.matches.delete(id)) this.#users.forEach(entry, (user) => this.#onChange(user, entry, id));
    });
    for (const text of traits) this.#holders.remove(text, id);
  }

  /** The selector of a peer, for that user. */
  acquirePeer(peer: Peer, user: User): CachedSelector {
    return this.#acquire(
      peerKey(peer),
      (known) => isPeer(peer, known, this.#clusterName),
      () => anchorsOf(peer),
      user,
    );
  }

  /** A rule's subjects. */
  acquireSubject(selector: Selector, user: User): CachedSelector {
    return this.acquirePeer({ kind: "labels", selector, path: "" }, user);
  }

  /** Everyone who names ports. */
  acquireNamed(user: User): CachedSelector {
    return this.#acquire(
      "named ports",
      (known) => known.namedPorts.length > 0,
      () => [],
      user,
    );
  }

  /** The user is gone. */
  release(selector: CachedSelector, user: User): void {
    const entry = this.#entries.get(selector.key);
    if (entry === undefined) return;
    this.#users.remove(entry, user);
    if (this.#users.count(entry) > 0) return;
    this.#entries.delete(selector.key);
    if (entry.anchor === undefined) this.#everywhere.delete(entry);
    for (const text of entry.anchor ?? []) this.#waiting.remove(text, entry);
  }

  #acquire(
    key: string,
    selects: (known: KnownIdentity) => boolean,
    anchors: () => readonly (readonly string[])[],
    user: User,
  ): CachedSelector {
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      const anchor = this.#leastCommon(anchors());
      entry = { key, selects, matches: new Set(), anchor };
      const { matches } = entry;
      const tryOne = (id: NumericIdentity) => {
        if (selects(this.#identities.get(id)!)) matches.add(id);
      };
      if (anchor === undefined) for (const id of this.#identities.keys()) tryOne(id);
      else for (const text of anchor) this.#holders.forEach(text, tryOne);
      this.#entries.set(key, entry);
      if (anchor === undefined) this.#everywhere.add(entry);
      else for (const text of anchor) this.#waiting.add(text, entry);
    }
    this.#users.add(entry, user);
    return entry;
  }

  /** The anchor that spares most: few have it, and few wait for it. */
  #leastCommon(anchors: readonly (readonly string[])[]): readonly string[] | undefined {
    let best: readonly string[] | undefined;
    let smallest = Number.POSITIVE_INFINITY;
    for (const anchor of anchors) {
      let size = 0;
      for (const text of anchor) size += this.#holders.count(text) + this.#waiting.count(text);
      if (size >= smallest) continue;
      best = anchor;
      smallest = size;
    }
    return best;
  }

  #eachCandidate(traits: readonly string[], action: (entry: Entry) => void): void {
    for (const entry of this.#everywhere) action(entry);
    for (const text of traits) this.#waiting.forEach(text, action);
  }
}
