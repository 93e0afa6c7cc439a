/** Orders -> entries of a policy map, such that the kernel's two longest-prefix lookups find what outranks all else. */
import type { Direction, NumericIdentity } from "#core/model";
import type { Cell } from "./cells.ts";
import type { DirectionGrants, Grant } from "./grants.ts";
import { maskRange } from "./masks.ts";
import {
  type EntryAction,
  type EntryGroup,
  type EntryRequests,
  type EntryRow,
  type ListenerKind,
  l4Key,
  l4Prefix,
  levelOf,
  levels,
  precedenceOf,
} from "./policy-set.ts";
import { type Overlap, overlaps, RequestLists } from "./requests.ts";
import type { Authentication, RuleRef } from "./rule.ts";

interface Draft {
  readonly protocol: number;
  readonly port: number;
  readonly portPrefix: number;
  precedence: number;
  action: EntryAction;
  /** With `redirect`. */
  proxy: ListenerKind | undefined;
  authentication: Authentication | undefined;
  /** Some may be named twice. */
  refs: RuleRef[];
}

type Key = Pick<Draft, "protocol" | "port" | "portPrefix">;

/** The entries of one peer, by `l4Key`. */
type Trie = Map<number, Draft>;

const any = 0 as NumericIdentity;

/** Numbers what entries refer to: reasons get cookies, requests an index; equal lists share one. */
export class Provenance {
  readonly lists: (readonly RuleRef[])[] = [[]];
  readonly requests: EntryRequests[] = [];
  readonly #requestNumbers = new Map<EntryRequests | string, number>();
  readonly #cookies = new Map<RuleRef | string, number>();
  readonly #numbers = new Map<RuleRef, number>();

  cookie(refs: readonly RuleRef[]): number {
    if (refs.length === 0) return 0;
    const key = refs.length === 1 ? refs[0]! : refs.map((ref) => this.#numberOf(ref)).join(",");
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

/** What an entry says, its reasons and requests not yet numbered. */
export interface DraftRow extends Omit<EntryRow, "cookie" | "requests"> {
  readonly refs: readonly RuleRef[];
  readonly requests?: EntryRequests;
}

/** The same with whom it is about. */
export interface DraftEntry extends DraftRow {
  readonly identity: NumericIdentity;
}

/** Peers and what is said of each of them. */
export interface DraftGroup {
  readonly identities: readonly NumericIdentity[];
  readonly rows: readonly DraftRow[];
}

/** Makes the entries of one direction; `cells` are those of its orders. With `audit`, what would be denied is let through and reported. */
export function draftGroups(
  { enforced, grants }: DirectionGrants,
  cells: readonly Cell[],
  audit: boolean,
): DraftGroup[] {
  const everything = { protocol: 0, port: 0, portPrefix: 0, refs: [] } as const;
  if (!enforced) {
    const precedence = precedenceOf("allow", levels.implicit);
    return [{ identities: [any], rows: [{ ...everything, action: "allow", precedence, unenforced: true }] }];
  }
  const shared = overlaps(grants);
  const overlapsOf = new Map<number, Overlap[]>();
  for (const overlap of shared ?? []) {
    const others = overlapsOf.get(overlap.identity);
    if (others === undefined) overlapsOf.set(overlap.identity, [overlap]);
    else others.push(overlap);
  }
  const asksProof = grants.some(({ authentication }) => authentication !== undefined);
  const lists = new RequestLists(grants, audit);
  const trieOf = (identity: NumericIdentity, orders: Iterable<Grant>): Trie => {
    const trie: Trie = new Map();
    for (const grant of orders) addGrant(trie, grant, audit);
    for (const overlap of overlapsOf.get(identity) ?? []) addOverlap(trie, overlap);
    if (asksProof) inheritAuthentication(trie, trie);
    prune(trie);
    return trie;
  };
  const rowsOf = (identity: NumericIdentity, trie: Trie): DraftRow[] =>
    [...trie.values()].sort(compareRows).map((draft) => {
      const { protocol, port, portPrefix, precedence, action, proxy, authentication } = draft;
      const refs = draft.refs.length < 2 ? draft.refs : [...new Set(draft.refs)];
      const proof = authentication === undefined || authentication === "disabled" ? {} : { authentication };
      const row = { protocol, port, portPrefix, precedence, action, refs, ...proof };
      if (proxy !== "http") return proxy === undefined ? row : { ...row, proxy };
      const level = levelOf(precedence);
      const requests =
        shared === undefined ? tooManyOverlaps : lists.of({ identity, protocol, port, prefix: portPrefix, level });
      return { ...row, proxy, requests };
    });

  const wildcard = trieOf(
    any,
    grants.filter(({ peers }) => peers === "any"),
  );
  const out: DraftGroup[] = [];
  const rows = rowsOf(any, wildcard);
  if (audit && !wildcard.has(l4Key(0, 0, 0)))
    rows.unshift({ ...everything, action: "audit", precedence: precedenceOf("audit", levels.implicit) });
  if (rows.length > 0) out.push({ identities: [any], rows });
  for (const { identities, orders } of cells) {
    const trie = trieOf(
      identities[0]!,
      orders.map((i) => grants[i]!),
    );
    if (asksProof) inheritAuthentication(trie, wildcard);
    pruneByWildcard(trie, wildcard);
    if (trie.size > 0) out.push({ identities, rows: rowsOf(identities[0]!, trie) });
  }
  return out;
}

/** Numbers the reasons: in the order of the entries, so that equal policies are equal in every number. */
export function finishGroups(
  direction: Direction,
  drafts: readonly DraftGroup[],
  provenance: Provenance,
): EntryGroup[] {
  return drafts.map(({ identities, rows }) => ({
    direction,
    identities,
    rows: rows.map(({ refs, requests, ...row }) => ({
      ...row,
      ...(requests === undefined ? {} : { requests: provenance.requestsNumber(requests) }),
      cookie: provenance.cookie(refs),
    })),
  }));
}

/** Group by group to entry by entry. */
export function ungroup(groups: readonly DraftGroup[]): DraftEntry[] {
  return groups.flatMap(({ identities, rows }) =>
    identities.flatMap((identity) => rows.map((row) => ({ identity, ...row }))),
  );
}

/** Entry by entry to a group for each identity. */
export function regroup(entries: readonly DraftEntry[]): DraftGroup[] {
  const rows = new Map<NumericIdentity, DraftRow[]>();
  for (const { identity, ...row } of entries) {
    const others = rows.get(identity);
    if (others === undefined) rows.set(identity, [row]);
    else others.push(row);
  }
  return [...rows]
    .sort(([a], [b]) => a - b)
    .map(([identity, own]) => ({ identities: [identity], rows: own.sort(compareRows) }));
}

function compareRows(a: Key, b: Key): number {
  return a.protocol - b.protocol || a.port - b.port || l4Prefix(a) - l4Prefix(b);
}

function addGrant(trie: Trie, grant: Grant, audit: boolean): void {
  const ordered = actionOf(grant);
  const proxy = listenerOf(grant);
  const precedence = precedenceOf(ordered, grant.level, proxy, grant.listener?.priority);
  const { authentication } = grant;
  // What no rule ordered has no reference, and so the cookie 0.
  const refs = grant.ref === undefined ? [] : [grant.ref];
  // An audited deny keeps the deny's rank: it must not let an allow take its place in the report.
  const action = ordered === "deny" && audit ? "audit" : ordered;
  for (const { port, prefix } of grant.protocol === 0 ? [{ port: 0, prefix: 0 }] : maskRange(grant.first, grant.last)) {
    const key = l4Key(grant.protocol, port, prefix);
    const draft = trie.get(key);
    if (draft === undefined) {
      trie.set(key, {
        protocol: grant.protocol,
        port,
        portPrefix: prefix,
        precedence,
        action,
        proxy,
        authentication,
        refs,
      });
    } else if (draft.precedence < precedence) {
      draft.precedence = precedence;
      draft.action = action;
      draft.proxy = proxy;
      draft.authentication = authentication;
      draft.refs = refs;
    } else if (draft.precedence === precedence) {
      draft.refs.push(...refs);
      draft.authentication = stricter(draft.authentication, authentication);
    }
  }
}

const tooManyOverlaps: EntryRequests = {
  kind: "proxy",
  reason: "too many of the rules overlap in peers or ports",
};

/** An entry of its own where two orders overlap, unless something else decides there. */
function addOverlap(trie: Trie, { protocol, port, prefix, by }: Overlap): void {
  const key = l4Key(protocol, port, prefix);
  const precedence = precedenceOf("redirect", by[0].level, "http");
  const refs = by.flatMap(({ ref }) => ref ?? []);
  const draft = trie.get(key);
  if (draft === undefined || draft.precedence < precedence)
    trie.set(key, {
      protocol,
      port,
      portPrefix: prefix,
      precedence,
      action: "redirect",
      proxy: "http",
      authentication: by[0].authentication,
      refs,
    });
  else if (draft.precedence === precedence) draft.refs.push(...refs);
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
export function listenerOf({ kind, l7, listener }: Grant): ListenerKind | undefined {
  if (kind !== "l7") return undefined;
  return listener === undefined ? (l7?.protocol ?? "tls") : "envoy";
}

const strictness: readonly (Authentication | undefined)[] = [undefined, "disabled", "required", "test-always-fail"];

function stricter(a: Authentication | undefined, b: Authentication | undefined): Authentication | undefined {
  return strictness.indexOf(a) > strictness.indexOf(b) ? a : b;
}

/** What a wider entry asks holds for a narrower one that says nothing of it. */
function inheritAuthentication(trie: Trie, from: Trie): void {
  for (const draft of trie.values()) {
    if (draft.authentication !== undefined || draft.action === "deny") continue;
    for (const key of keysAbove(draft)) {
      const wider = from.get(key);
      if (wider !== draft) draft.authentication = wider?.authentication ?? draft.authentication;
    }
  }
}

/** Keys that cover an entry's, the widest first, its own last. */
function keysAbove({ protocol, port, portPrefix }: Draft): number[] {
  const keys = [l4Key(0, 0, 0)];
  for (let prefix = 0; protocol !== 0 && prefix <= portPrefix; prefix++)
    keys.push(l4Key(protocol, port & (0xffff0000 >> prefix) & 0xffff, prefix));
  return keys;
}

/** Whether an entry of the trie covers that key, itself excluded unless wanted, and outranks it. */
function isOutranked({ protocol, port, portPrefix, precedence }: Draft, trie: Trie, itselfToo: boolean): boolean {
  const beats = (key: number) => (trie.get(key)?.precedence ?? -1) > precedence;
  if (protocol !== 0) {
    if (beats(l4Key(0, 0, 0))) return true;
    for (let prefix = 0; prefix < portPrefix; prefix++)
      if (beats(l4Key(protocol, port & (0xffff0000 >> prefix) & 0xffff, prefix))) return true;
  }
  return itselfToo && beats(l4Key(protocol, port, portPrefix));
}

/** A lookup finds the narrowest entry only: where a wider one outranks it, the narrow one must not be there. */
function prune(trie: Trie): void {
  if (trie.size < 2) return;
  for (const [key, draft] of trie) if (isOutranked(draft, trie, false)) trie.delete(key);
}

/** What an entry for any identity outranks never decides: it would only take room. */
function pruneByWildcard(trie: Trie, wildcard: Trie): void {
  if (wildcard.size === 0) return;
  for (const [key, draft] of trie) if (isOutranked(draft, wildcard, true)) trie.delete(key);
}
