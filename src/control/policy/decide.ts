/** What the kernel answers: the two lookups of the policy trie, on entries. */
import type { Direction, NumericIdentity, Verdict } from "#core/model";
import { type Entry, l4Key, l4Prefix, type PolicySet } from "./policy-set.ts";

/** How specific the deciding entry was; Hubble's names of `policy_match_type`. */
export type PolicyMatch = "none" | "l3-only" | "l3-l4" | "l4-only" | "all" | "l3-proto" | "proto-only";

/** A verdict on one direction of a connection. */
export interface Decision {
  readonly verdict: Verdict;
  /** Of a drop: no rule allows it, or an explicit deny; also for what is only audited. */
  readonly reason?: "POLICY_DENIED" | "POLICY_DENY";
  readonly match: PolicyMatch;
  readonly entry?: Entry;
}

type Trie = ReadonlyMap<number, Entry>;
const indexes = new WeakMap<PolicySet, ReadonlyMap<string, Trie>>();

/**
 * Judges the first packet of a connection as the kernel does: the longest prefix under the peer's identity, the longest one
 * under any identity; the higher precedence wins, at a tie the longer prefix, then the one of the identity. `port` is the
 * destination port, for ICMP the type.
 */
export function decide(
  set: PolicySet,
  direction: Direction,
  peer: NumericIdentity,
  protocol: number,
  port: number,
): Decision {
  const tries = indexOf(set);
  const own = peer === 0 ? undefined : lookup(tries.get(`${direction} ${peer}`), protocol, port);
  const any = lookup(tries.get(`${direction} 0`), protocol, port);
  const entry = own === undefined || (any !== undefined && beats(any, own)) ? any : own;
  if (entry === undefined) return { verdict: "DROPPED", reason: "POLICY_DENIED", match: "none" };
  const match = matchOf(entry);
  switch (entry.action) {
    case "allow":
      return { verdict: "FORWARDED", match, entry };
    case "redirect":
      return { verdict: "REDIRECTED", match, entry };
    case "deny":
      return { verdict: "DROPPED", reason: entry.cookie === 0 ? "POLICY_DENIED" : "POLICY_DENY", match, entry };
    case "audit":
      return {
        verdict: "AUDIT",
        reason: entry.cookie === 0 || entry.byDefault ? "POLICY_DENIED" : "POLICY_DENY",
        match,
        entry,
      };
  }
}

function beats(any: Entry, own: Entry): boolean {
  return any.precedence !== own.precedence ? any.precedence > own.precedence : l4Prefix(any) > l4Prefix(own);
}

function lookup(trie: Trie | undefined, protocol: number, port: number): Entry | undefined {
  if (trie === undefined) return undefined;
  for (let prefix = 16; prefix >= 0; prefix--) {
    const entry = trie.get(l4Key(protocol, port & (0xffff0000 >> prefix) & 0xffff, prefix));
    if (entry !== undefined) return entry;
  }
  return trie.get(l4Key(0, 0, 0));
}

function matchOf(entry: Entry): PolicyMatch {
  // Not a verdict of policy, whoever the entry stands for.
  if (entry.unenforced) return "all";
  const byIdentity = entry.identity !== 0;
  if (entry.protocol === 0) return byIdentity ? "l3-only" : "all";
  if (entry.portPrefix === 0) return byIdentity ? "l3-proto" : "proto-only";
  return byIdentity ? "l3-l4" : "l4-only";
}

function indexOf(set: PolicySet): ReadonlyMap<string, Trie> {
  const known = indexes.get(set);
  if (known !== undefined) return known;
  const tries = new Map<string, Map<number, Entry>>();
  for (const entry of set.entries) {
    const name = `${entry.direction} ${entry.identity}`;
    let trie = tries.get(name);
    if (trie === undefined) {
      trie = new Map();
      tries.set(name, trie);
    }
    trie.set(l4Key(entry.protocol, entry.port, entry.portPrefix), entry);
  }
  indexes.set(set, tries);
  return tries;
}
