/** Orders -> entries of a policy map, such that the kernel's two longest-prefix lookups find what outranks all else. */
import type { Direction, NumericIdentity } from "#core/model";
import type { DirectionGrants, Grant } from "./grants.ts";
import { maskRange } from "./masks.ts";
import {
  type Entry,
  type EntryAction,
  type EntryRequests,
  type ListenerKind,
  l4Key,
  l4Prefix,
  levelOf,
  levels,
  precedenceOf,
} from "./policy-set.ts";
import { type Overlap, overlaps, RequestLists } from "./requests.ts";
import type { RuleRef } from "./rule.ts";

interface Draft {
  readonly protocol: number;
  readonly port: number;
  readonly portPrefix: number;
  precedence: number;
  action: EntryAction;
  /** With `redirect`. */
  proxy: ListenerKind | undefined;
  refs: RuleRef[];
}

/** The trie of one identity, by `l4Key`. */
type Trie = Map<number, Draft>;

const any = 0 as NumericIdentity;

/** Numbers what entries refer to: reasons get cookies, requests an index; equal lists share one. */
export class Provenance {
  readonly lists: (readonly RuleRef[])[] = [[]];
  readonly requests: EntryRequests[] = [];
  readonly #requestNumbers = new Map<EntryRequests | string, number>();
  readonly #cookies = new Map<string, number>();
  readonly #numbers = new Map<RuleRef, number>();

  cookie(refs: readonly RuleRef[]): number {
    if (refs.length === 0) return 0;
    const key = refs.map((ref) => this.#numberOf(ref)).join(",");
    let cookie = this.#cookies.get(key);
    if (cookie === undefined) {
      cookie = this.lists.push(refs) - 1;
      this.#cookies.set(key, cookie);
    }
    return cookie;
  }

  requestsNumber(requests: EntryRequests): number {
    const known = this.#requestNumbers.get(requests);
    if (known !== undefined) return known;
    const key = JSON.stringify(requests);
    const number = this.#requestNumbers.get(key) ?? this.requests.push(requests) - 1;
    this.#requestNumbers.set(key, number).set(requests, number);
    return number;
  }

  #numberOf(ref: RuleRef): number {
    let number = this.#numbers.get(ref);
    if (number === undefined) {
      number = this.#numbers.size;
      this.#numbers.set(ref, number);
    }
    return number;
  }
}

/** An entry whose reasons and requests are not yet numbered. */
export interface DraftEntry extends Omit<Entry, "cookie" | "requests"> {
  readonly refs: readonly RuleRef[];
  readonly requests?: EntryRequests;
}

/** Makes the entries of one direction. With `audit`, what would be denied is let through and reported. */
export function draftEntries(
  direction: Direction,
  { enforced, grants }: DirectionGrants,
  audit: boolean,
): DraftEntry[] {
  const everything = { direction, identity: any, protocol: 0, port: 0, portPrefix: 0, refs: [] } as const;
  if (!enforced)
    return [{ ...everything, action: "allow", precedence: precedenceOf("allow", levels.implicit), unenforced: true }];
  const tries = new Map<NumericIdentity, Trie>();
  for (const grant of grants) {
    if (grant.peers === "any") add(tries, any, grant, audit);
    else for (const id of grant.peers) add(tries, id, grant, audit);
  }
  const shared = overlaps(grants);
  for (const overlap of shared ?? []) addOverlap(tries, overlap);
  for (const trie of tries.values()) prune(trie);
  pruneByWildcard(tries);
  const lists = new RequestLists(grants, audit);
  const requests = (identity: NumericIdentity, { protocol, port, portPrefix, precedence }: Draft): EntryRequests =>
    shared === undefined
      ? tooManyOverlaps
      : lists.of({ identity, protocol, port, prefix: portPrefix, level: levelOf(precedence) });
  const out = [...tries].flatMap(([identity, trie]) =>
    [...trie.values()].map((draft): DraftEntry => {
      const { proxy, ...rest } = draft;
      return {
        direction,
        identity,
        ...rest,
        ...(proxy === undefined ? {} : { proxy }),
        ...(proxy === "http" ? { requests: requests(identity, draft) } : {}),
      };
    }),
  );
  if (audit && !tries.get(any)?.has(l4Key(0, 0, 0)))
    out.push({ ...everything, action: "audit", precedence: precedenceOf("audit", levels.implicit) });
  return out;
}

/** Numbers the reasons. Sorted before, so that equal policies are equal in every number. */
export function finishEntries(drafts: readonly DraftEntry[], provenance: Provenance): Entry[] {
  return [...drafts].sort(compare).map(({ refs, requests, ...draft }) => ({
    ...draft,
    ...(requests === undefined ? {} : { requests: provenance.requestsNumber(requests) }),
    cookie: provenance.cookie(refs),
  }));
}

type Order = Pick<Entry, "identity" | "protocol" | "port" | "portPrefix">;

function compare(a: Order, b: Order): number {
  return a.identity - b.identity || a.protocol - b.protocol || a.port - b.port || l4Prefix(a) - l4Prefix(b);
}

function add(tries: Map<NumericIdentity, Trie>, identity: NumericIdentity, grant: Grant, audit: boolean): void {
  let trie = tries.get(identity);
  if (trie === undefined) {
    trie = new Map();
    tries.set(identity, trie);
  }
  const ordered = actionOf(grant);
  const proxy = listenerOf(grant);
  const precedence = precedenceOf(ordered, grant.level, proxy);
  // What no rule ordered has no reference, and so the cookie 0.
  const refs = grant.ref === undefined ? [] : [grant.ref];
  // An audited deny keeps the deny's rank: it must not let an allow take its place in the report.
  const action = ordered === "deny" && audit ? "audit" : ordered;
  for (const { port, prefix } of grant.protocol === 0 ? [{ port: 0, prefix: 0 }] : maskRange(grant.first, grant.last)) {
    const key = l4Key(grant.protocol, port, prefix);
    const draft = trie.get(key);
    if (draft === undefined) {
      trie.set(key, { protocol: grant.protocol, port, portPrefix: prefix, precedence, action, proxy, refs });
    } else if (draft.precedence < precedence) {
      draft.precedence = precedence;
      draft.action = action;
      draft.proxy = proxy;
      draft.refs = refs;
    } else if (draft.precedence === precedence) {
      draft.refs = [...new Set([...draft.refs, ...refs])];
    }
  }
}

const tooManyOverlaps: EntryRequests = {
  kind: "proxy",
  reason: "too many of the rules overlap in peers or ports",
};

/** An entry of its own where two orders overlap, unless something else decides there. */
function addOverlap(tries: Map<NumericIdentity, Trie>, { identity, protocol, port, prefix, by }: Overlap): void {
  const id = identity as NumericIdentity;
  const trie: Trie = tries.get(id) ?? new Map();
  tries.set(id, trie);
  const key = l4Key(protocol, port, prefix);
  const precedence = precedenceOf("redirect", by[0].level, "http");
  const refs = by.flatMap(({ ref }) => ref ?? []);
  const draft = trie.get(key);
  if (draft === undefined || draft.precedence < precedence)
    trie.set(key, { protocol, port, portPrefix: prefix, precedence, action: "redirect", proxy: "http", refs });
  else if (draft.precedence === precedence) draft.refs = [...new Set([...draft.refs, ...refs])];
}

function actionOf({ kind }: Grant): EntryAction {
  switch (kind) {
    case "l7":
      return "redirect";
    case "default-deny":
      return "deny";
    case "allow":
    case "deny":
      return kind;
  }
}

/** Who judges what an `l7` grant lets through. */
export function listenerOf({ kind, l7 }: Grant): ListenerKind | undefined {
  return kind === "l7" ? (l7?.protocol ?? "tls") : undefined;
}

/** The entries of a trie that cover a given one, itself excluded. */
function* covering(trie: Trie, { protocol, port, portPrefix }: Draft, itselfToo: boolean): Iterable<Draft> {
  if (protocol !== 0) {
    const all = trie.get(l4Key(0, 0, 0));
    if (all !== undefined) yield all;
    for (let prefix = 0; prefix < portPrefix; prefix++) {
      const found = trie.get(l4Key(protocol, port & (0xffff0000 >> prefix) & 0xffff, prefix));
      if (found !== undefined) yield found;
    }
  }
  const same = itselfToo ? trie.get(l4Key(protocol, port, portPrefix)) : undefined;
  if (same !== undefined) yield same;
}

/** A lookup finds the narrowest entry only: where a wider one outranks it, the narrow one must not be there. */
function prune(trie: Trie): void {
  if (trie.size < 2) return;
  for (const [key, draft] of trie)
    for (const wider of covering(trie, draft, false))
      if (wider.precedence > draft.precedence) {
        trie.delete(key);
        break;
      }
}

/** What an entry for any identity outranks never decides: it would only take room. */
function pruneByWildcard(tries: Map<NumericIdentity, Trie>): void {
  const wildcard = tries.get(any);
  if (wildcard === undefined) return;
  for (const [identity, trie] of tries) {
    if (identity === any) continue;
    for (const [key, draft] of trie)
      for (const wider of covering(wildcard, draft, true))
        if (wider.precedence > draft.precedence) {
          trie.delete(key);
          break;
        }
    if (trie.size === 0) tries.delete(identity);
  }
}
