/**
 * Which requests does an entry let through? The kernel's judge knows a connection by the entry that decided it, so each entry has
 * the very list that the proxy would go by for every peer and port it decides; or the reason why only the proxy can judge.
 */
import type { HttpRule } from "#contracts/proxy";
import type { NumericIdentity } from "#core/model";
import type { Grant } from "./grants.ts";
import { type MaskedPort, maskRange } from "./masks.ts";
import type { EntryRequests } from "./policy-set.ts";
import { toHttpRule, toPolicyRef } from "./proxy-form.ts";

/** A place among the entries that an overlap of two orders needs. */
export interface Overlap extends MaskedPort {
  readonly identity: NumericIdentity | 0;
  readonly protocol: number;
  /** The HTTP order that decides there, and the other one that has a say. */
  readonly by: readonly [http: Grant, other: Grant];
}

/** More overlaps than this are not worked out: the proxy, which asks all orders anew for each connection, judges instead. */
const overlapLimit = 10_000;

/**
 * Where an HTTP order and another of its level have peers and ports in common that are not all of the first one's: the entries
 * of neither would say what holds for both. Undefined: there are too many.
 */
export function overlaps(grants: readonly Grant[]): Overlap[] | undefined {
  const out: Overlap[] = [];
  for (const http of grants) {
    if (!isHttp(http)) continue;
    for (const other of grants) {
      if (other === http || other.level !== http.level || !hasASay(other) || coversAll(other, http)) continue;
      if (other.protocol !== 0 && other.protocol !== http.protocol) continue;
      const peers = common(http, other);
      const blocks = maskRange(Math.max(http.first, other.first), Math.min(http.last, other.last));
      for (const identity of peers)
        for (const block of blocks) {
          if (out.length === overlapLimit) return undefined;
          out.push({ identity, protocol: http.protocol, ...block, by: [http, other] });
        }
    }
  }
  return out;
}

/** The requests of entries; entries for which the same orders speak share one list. */
export class RequestLists {
  readonly #grants: readonly Grant[];
  readonly #audited: boolean;
  readonly #known = new Map<string, EntryRequests>();

  /** `audited`: nothing is refused. */
  constructor(grants: readonly Grant[], audited: boolean) {
    this.#grants = grants;
    this.#audited = audited;
  }

  /** Of an entry of this level, peer and block. */
  of(
    entry: { readonly identity: NumericIdentity; readonly protocol: number; readonly level: number } & MaskedPort,
  ): EntryRequests {
    const last = entry.port + (0xffff >> entry.prefix);
    const speaking: number[] = [];
    for (const [i, grant] of this.#grants.entries())
      if (
        grant.level === entry.level &&
        hasASay(grant) &&
        (grant.protocol === 0 || grant.protocol === entry.protocol) &&
        grant.first <= entry.port &&
        grant.last >= last &&
        (grant.peers === "any" || grant.peers.has(entry.identity))
      )
        speaking.push(i);
    const key = speaking.join(",");
    let requests = this.#known.get(key);
    if (requests === undefined) {
      requests = requestsOf(
        speaking.map((i) => this.#grants[i]!),
        this.#audited,
      );
      this.#known.set(key, requests);
    }
    return requests;
  }
}

function requestsOf(speaking: readonly Grant[], audited: boolean): EntryRequests {
  const allow = speaking.find(({ kind }) => kind === "allow");
  if (audited || allow !== undefined) {
    const { ref } = allow ?? speaking[0]!;
    // Every request, CONNECT too, which a rule has to name.
    return { kind: "rules", rules: [{ method: ".*", ref: toPolicyRef(ref ?? nobody) }] };
  }
  if (speaking.some((grant) => !isHttp(grant)))
    return { kind: "proxy", reason: "rules of several protocols hold for the port" };
  const rules = speaking.flatMap(({ l7, ref }) =>
    l7?.protocol === "http" ? l7.rules.map((rule) => toHttpRule(rule, ref ?? nobody)) : [],
  );
  for (const rule of rules) {
    const reason = beyondKernel(rule);
    if (reason !== undefined) return { kind: "proxy", reason };
  }
  return speaking.some(({ tls }) => tls !== undefined)
    ? { kind: "proxy", reason: "its rules speak of TLS" }
    : { kind: "rules", rules };
}

const nobody = { kind: "implicit", name: "nobody", path: "" } as const;

/** What of a rule the kernel's judge does not know. */
function beyondKernel({ grpc, rateLimit, headers }: HttpRule): string | undefined {
  if (grpc !== undefined) return "its rules speak of gRPC";
  if (rateLimit !== undefined) return "its rules limit rates";
  if (headers?.some(({ mismatch }) => mismatch !== undefined)) return "its rules mend or log headers";
  if (headers?.some(({ secret }) => secret !== undefined)) return "its rules take a header's value from a secret";
  return undefined;
}

function isHttp({ kind, l7 }: Grant): boolean {
  return kind === "l7" && l7?.protocol === "http";
}

/** Denies decide before a request is looked at. */
function hasASay({ kind }: Grant): boolean {
  return kind === "allow" || kind === "l7";
}

/** Whether all peers and ports of `inner` are the other one's, too. */
function coversAll(outer: Grant, inner: Grant): boolean {
  if (outer.first > inner.first || outer.last < inner.last) return false;
  if (outer.protocol !== 0 && outer.protocol !== inner.protocol) return false;
  if (outer.peers === "any") return true;
  if (inner.peers === "any") return false;
  for (const id of inner.peers) if (!outer.peers.has(id)) return false;
  return true;
}

/** Identity 0 stands for any. */
function common({ peers: a }: Grant, { peers: b }: Grant): Iterable<NumericIdentity | 0> {
  if (a === "any") return b === "any" ? [0] : b;
  if (b === "any") return a;
  const [small, large] = a.size < b.size ? [a, b] : [b, a];
  return [...small].filter((id) => large.has(id));
}
