/** What rules come to for one subject: the entries that the kernel gets, the filters that the proxy gets, and where both come from. */
import type { HttpRule, L7Protocol, PolicyFilter } from "#contracts/proxy";
import type { Direction, NumericIdentity } from "#core/model";
import type { MergeConflict } from "./merge.ts";
import type { Authentication, RuleRef } from "./rule.ts";

/** What an entry orders. `audit`: would be denied; let through and reported. */
export type EntryAction = "allow" | "deny" | "redirect" | "audit";

/** Which kind of listener judges what an entry redirects; `tls`: only by the server's name; `envoy`: one that a policy names. */
export type ListenerKind = L7Protocol | "tls" | "envoy";

/** One row of a policy map. */
export interface Entry {
  readonly direction: Direction;
  /** 0 = any. */
  readonly identity: NumericIdentity;
  /** IP protocol number; 0 = any, then the port is any, too. */
  readonly protocol: number;
  /** First port of the block (ICMP: type); host order. */
  readonly port: number;
  /** Significant bits of the port: 16 = this port, 0 = any. */
  readonly portPrefix: number;
  readonly action: EntryAction;
  /** The higher one of (identity, any) decides; u32. */
  readonly precedence: number;
  /** With `redirect`, and with `audit` where requests are judged all the same: which kind of listener. */
  readonly proxy?: ListenerKind;
  /** With `proxy: "http"`: index into the set's requests. */
  readonly requests?: number;
  /** Index into the set's provenance; 0 = no rule. */
  readonly cookie: number;
  /** No policy selects the subject in this direction: allowed, and not a verdict of policy. */
  readonly unenforced?: true;
  /** With `audit`: no rule denies it, but staged ones would deny by default. The cookie names them. */
  readonly byDefault?: true;
  /** Only between peers that have proved who they are. */
  readonly authentication?: Authentication;
}

/** The requests that pass on the connections of an entry. */
export type EntryRequests =
  /** Those that one of the rules matches, in the order in which they are asked. */
  | { readonly kind: "rules"; readonly rules: readonly HttpRule[] }
  /** Only the proxy can tell; a clause such as "its rules limit rates". */
  | { readonly kind: "proxy"; readonly reason: string };

/** An entry apart from whom it is about. */
export type EntryRow = Omit<Entry, "direction" | "identity">;

/** Peers of whom the same is said: a set is kept as rows times peers. */
export interface EntryGroup {
  readonly direction: Direction;
  /** Ascending; 0 stands alone. */
  readonly identities: readonly NumericIdentity[];
  /** One peer's, sorted by protocol, port, prefix length. */
  readonly rows: readonly EntryRow[];
}

/** The complete policy of a subject; immutable. Subjects to which the same rules apply share one. */
export interface PolicySet {
  /** The entries as they are kept. Sorted: ingress before egress, then by the first identity. */
  readonly groups: readonly EntryGroup[];
  readonly entryCount: number;
  /** One by one, sorted: ingress before egress, then by identity, protocol, port, prefix length. Made when first asked for: a hundred bytes each. */
  readonly entries: readonly Entry[];
  /** Cookie -> the statements that made the entry. provenance[0] is empty. */
  readonly provenance: readonly (readonly RuleRef[])[];
  /** What passes on the connections of entries with HTTP rules; equal lists are one. */
  readonly requests: readonly EntryRequests[];
  /** The same policy for connections that go through the proxy; TCP only. Made when first asked for. */
  readonly filters: readonly PolicyFilter[];
  /** Directions in which some rule selects the subject. */
  readonly enforced: Readonly<Record<Direction, boolean>>;
  /** Items that are left out because they can't be joined with others. */
  readonly conflicts: readonly MergeConflict[];
}

/** Makes a set of its groups; the rest follows when it is asked for. */
export function createPolicySet(
  parts: Pick<PolicySet, "groups" | "provenance" | "requests" | "enforced" | "conflicts"> & {
    readonly filters: () => readonly PolicyFilter[];
  },
): PolicySet {
  return new GroupedSet(parts);
}

class GroupedSet implements PolicySet {
  readonly groups: readonly EntryGroup[];
  readonly entryCount: number;
  readonly provenance: PolicySet["provenance"];
  readonly requests: PolicySet["requests"];
  readonly enforced: PolicySet["enforced"];
  readonly conflicts: PolicySet["conflicts"];
  readonly #makeFilters: () => readonly PolicyFilter[];
  #filters: readonly PolicyFilter[] | undefined;
  #entries: readonly Entry[] | undefined;

  constructor(parts: Parameters<typeof createPolicySet>[0]) {
    this.groups = parts.groups;
    this.entryCount = parts.groups.reduce((sum, { identities, rows }) => sum + identities.length * rows.length, 0);
    this.provenance = parts.provenance;
    this.requests = parts.requests;
    this.enforced = parts.enforced;
    this.conflicts = parts.conflicts;
    this.#makeFilters = parts.filters;
  }

  get entries(): readonly Entry[] {
    this.#entries ??= flatten(this.groups);
    return this.#entries;
  }

  get filters(): readonly PolicyFilter[] {
    this.#filters ??= this.#makeFilters();
    return this.#filters;
  }
}

function flatten(groups: readonly EntryGroup[]): Entry[] {
  const out: Entry[] = [];
  for (const wanted of ["ingress", "egress"] as const) {
    const placed = groups
      .filter(({ direction }) => direction === wanted)
      .flatMap(({ identities, rows }) => identities.map((identity) => ({ identity, rows })));
    placed.sort((a, b) => a.identity - b.identity);
    for (const { identity, rows } of placed) for (const row of rows) out.push({ direction: wanted, identity, ...row });
  }
  return out;
}

/**
 * Levels are asked in ascending order; 24 bits. Those of tier Admin end where the policies of everyone stand, those of
 * Baseline end where that stands which holds if no rule says anything.
 */
export const levels = { rules: 0x80_0000, implicit: 0xff_fffe } as const;
const actionBits = { deny: 255, redirect: 2, allow: 1, audit: 0 } as const;
/** 255 less Cilium's priority of the listener; FTP and SMTP, which Cilium has not, stand beside its other parsers. */
const listenerBits: Readonly<Record<ListenerKind, number>> = {
  http: 154,
  kafka: 149,
  custom: 144,
  ftp: 144,
  smtp: 144,
  tls: 139,
  dns: 134,
  envoy: 129,
};

/**
 * Precedence of an entry, as in Cilium: inverted 24-bit level, then deny (255) before redirects in the order of their listeners
 * (HTTP 154 to a policy's own 129, or what `priority` from 1 to 100 leaves of 255) before allow (1).
 */
export function precedenceOf(action: EntryAction, level: number, listener?: ListenerKind, priority?: number): number {
  const listening = listener === undefined ? actionBits.redirect : listenerBits[listener];
  const redirect = priority === undefined ? listening : 255 - priority;
  const bits = action === "redirect" ? redirect : actionBits[action];
  return (((0xff_ffff - level) << 8) | bits) >>> 0;
}

/** The level that is in a precedence. */
export function levelOf(precedence: number): number {
  return 0xff_ffff - (precedence >>> 8);
}

/** Length of the L4 part of the kernel's key: 0 = any, 8 = the protocol, 9..24 = with bits of the port. */
export function l4Prefix(entry: Pick<Entry, "protocol" | "portPrefix">): number {
  return entry.protocol === 0 ? 0 : 8 + entry.portPrefix;
}

/** Protocol and masked port as one number: equal for equal keys. */
export function l4Key(protocol: number, port: number, portPrefix: number): number {
  return (protocol * 32 + portPrefix) * 65536 + port;
}

/** Whether two sets order the same, entry by entry and filter by filter, for the same reasons. */
export function samePolicy(a: PolicySet, b: PolicySet): boolean {
  if (a === b) return true;
  return (
    a.entryCount === b.entryCount &&
    a.provenance.length === b.provenance.length &&
    sameGroups(a.groups, b.groups) &&
    JSON.stringify(a.provenance) === JSON.stringify(b.provenance) &&
    JSON.stringify(a.requests) === JSON.stringify(b.requests) &&
    JSON.stringify(a.conflicts) === JSON.stringify(b.conflicts) &&
    JSON.stringify(a.filters) === JSON.stringify(b.filters)
  );
}

function sameGroups(a: readonly EntryGroup[], b: readonly EntryGroup[]): boolean {
  return (
    a.length === b.length &&
    a.every((group, i) => {
      const other = b[i]!;
      return (
        group.direction === other.direction &&
        group.identities.length === other.identities.length &&
        group.rows.length === other.rows.length &&
        group.identities.every((id, n) => id === other.identities[n]) &&
        (group.rows === other.rows || group.rows.every((row, n) => sameRow(row, other.rows[n]!)))
      );
    })
  );
}

function sameRow(a: EntryRow, b: EntryRow): boolean {
  return (
    a.protocol === b.protocol &&
    a.port === b.port &&
    a.portPrefix === b.portPrefix &&
    a.action === b.action &&
    a.precedence === b.precedence &&
    a.cookie === b.cookie &&
    a.proxy === b.proxy &&
    a.requests === b.requests &&
    a.authentication === b.authentication &&
    a.unenforced === b.unenforced &&
    a.byDefault === b.byDefault
  );
}
