/**
 * Staged policies beside those in force, in one set of entries: what is in force decides, and where it lets something through that
 * the staged ones would not, the entry says so. The kernel's two look-ups answer for both at once.
 */
import type { NumericIdentity } from "#core/model";
import type { DraftEntry } from "./entries.ts";
import { l4Key, l4Prefix, levels, precedenceOf } from "./policy-set.ts";
import type { RuleRef } from "./rule.ts";

/** The entries in force, and those if the staged policies were in force, too; of one direction. */
export interface Staging {
  readonly enforced: readonly DraftEntry[];
  readonly all: readonly DraftEntry[];
  /** The staged rules that speak of the direction: what is named where no statement of theirs is the reason. */
  readonly staged: readonly RuleRef[];
}

type Key = Pick<DraftEntry, "protocol" | "port" | "portPrefix">;
/** What happens to a box of flows. `identity`, precedence and key are of no meaning. */
type Outcome = Pick<
  DraftEntry,
  "action" | "proxy" | "requests" | "refs" | "unenforced" | "byDefault" | "authentication"
>;
type Trie = Map<number, DraftEntry>;

const any = 0 as NumericIdentity;
const denied: Outcome = { action: "deny", refs: [] };

/** One list of entries for both. An identity's entries all outrank those for any identity, and say all that holds for it. */
export function overlay(staging: Staging): DraftEntry[] {
  const enforced = index(staging.enforced);
  const all = index(staging.all);
  const outcome = (identity: NumericIdentity, key: Key): Outcome => {
    const now = decideBox(enforced, identity, key) ?? denied;
    const then = decideBox(all, identity, key) ?? denied;
    if (now.action === "deny" || then.action !== "deny") return now;
    const byStaged = then.refs.some((ref) => staging.staged.some((staged) => isOf(ref, staged)));
    return {
      action: "audit",
      refs: byStaged ? then.refs : [...then.refs, ...staging.staged],
      ...(now.proxy === undefined ? {} : { proxy: now.proxy }),
      ...(now.requests === undefined ? {} : { requests: now.requests }),
      ...(now.authentication === undefined ? {} : { authentication: now.authentication }),
      ...(then.refs.length === 0 ? { byDefault: true as const } : {}),
    };
  };
  const shared = keysOf(any, enforced, all);
  const wildcard = cover(any, shared, outcome, () => denied);
  const forAnyone = new Map([[any, new Map(wildcard.map((entry) => [keyNumber(entry), entry]))]]);
  const out = [...wildcard];
  for (const identity of new Set([...enforced.keys(), ...all.keys()])) {
    if (identity === any) continue;
    const keys = new Map([...shared, ...keysOf(identity, enforced, all)]);
    out.push(...cover(identity, keys, outcome, (key) => decideBox(forAnyone, any, key) ?? denied));
  }
  return out;
}

/** The fewest entries of one identity: those that say something else than the next wider one, or than what holds without any. */
function cover(
  identity: NumericIdentity,
  keys: ReadonlyMap<number, Key>,
  outcome: (identity: NumericIdentity, key: Key) => Outcome,
  otherwise: (key: Key) => Outcome,
): DraftEntry[] {
  const precedence = precedenceOf("allow", identity === any ? levels.implicit : levels.rules);
  const kept: Trie = new Map();
  for (const { protocol, port, portPrefix } of [...keys.values()].sort((a, b) => l4Prefix(a) - l4Prefix(b))) {
    const key = { protocol, port, portPrefix };
    const wanted = outcome(identity, key);
    if (isSame(wanted, longest(kept, key) ?? otherwise(key))) continue;
    const { action, proxy, requests, refs, unenforced, byDefault, authentication } = wanted;
    kept.set(keyNumber(key), {
      identity,
      ...key,
      action,
      precedence,
      refs,
      ...(proxy === undefined ? {} : { proxy }),
      ...(requests === undefined ? {} : { requests }),
      ...(unenforced === undefined ? {} : { unenforced }),
      ...(byDefault === undefined ? {} : { byDefault }),
      ...(authentication === undefined ? {} : { authentication }),
    });
  }
  return [...kept.values()];
}

function index(entries: readonly DraftEntry[]): Map<NumericIdentity, Trie> {
  const tries = new Map<NumericIdentity, Trie>();
  for (const entry of entries) {
    const trie: Trie = tries.get(entry.identity) ?? new Map();
    trie.set(keyNumber(entry), entry);
    tries.set(entry.identity, trie);
  }
  return tries;
}

function keysOf(identity: NumericIdentity, ...both: readonly ReadonlyMap<NumericIdentity, Trie>[]): Map<number, Key> {
  return new Map(both.flatMap((tries) => [...(tries.get(identity) ?? [])]));
}

/** What decides a box of which no narrower entry speaks: as the kernel does for a flow inside. */
function decideBox(
  tries: ReadonlyMap<NumericIdentity, Trie>,
  identity: NumericIdentity,
  key: Key,
): DraftEntry | undefined {
  const own = identity === any ? undefined : longest(tries.get(identity), key);
  const wide = longest(tries.get(any), key);
  if (own === undefined || wide === undefined) return own ?? wide;
  if (own.precedence !== wide.precedence) return own.precedence > wide.precedence ? own : wide;
  return l4Prefix(wide) > l4Prefix(own) ? wide : own;
}

function longest(trie: Trie | undefined, { protocol, port, portPrefix }: Key): DraftEntry | undefined {
  if (trie === undefined) return undefined;
  if (protocol !== 0)
    for (let prefix = portPrefix; prefix >= 0; prefix--) {
      const found = trie.get(l4Key(protocol, port & (0xffff0000 >> prefix) & 0xffff, prefix));
      if (found !== undefined) return found;
    }
  return trie.get(l4Key(0, 0, 0));
}

const keyNumber = ({ protocol, port, portPrefix }: Key): number => l4Key(protocol, port, portPrefix);

function isSame(a: Outcome, b: Outcome): boolean {
  return (
    a.action === b.action &&
    a.proxy === b.proxy &&
    a.requests === b.requests &&
    a.unenforced === b.unenforced &&
    a.authentication === b.authentication &&
    a.refs.length === b.refs.length &&
    a.refs.every((ref, i) => ref === b.refs[i])
  );
}

/** Whether a statement's reference belongs to the rule. */
function isOf(ref: RuleRef, rule: RuleRef): boolean {
  return ref.kind === rule.kind && ref.name === rule.name && ref.namespace === rule.namespace;
}
