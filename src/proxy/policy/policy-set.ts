/** A policy set compiled for lookups by direction, peer and port. */

import type { MessageProblem, PolicyRef, PolicySet } from "#contracts/proxy";
import type { Direction, NumericIdentity } from "#core/model";
import { type CompiledHttpRule, compileHttpRule } from "./http-rules.ts";

/** What a set says on a peer and port in one direction, before any request is looked at. */
export type Decision =
  /** Every request passes. */
  | { readonly kind: "allow"; readonly refs: readonly PolicyRef[] }
  /** An explicit deny. */
  | { readonly kind: "deny"; readonly refs: readonly PolicyRef[] }
  /** Each request needs one of the rules. */
  | { readonly kind: "http"; readonly rules: readonly CompiledHttpRule[] }
  /** No filter matches: default deny. */
  | { readonly kind: "none" };

interface CompiledFilter {
  readonly direction: Direction;
  readonly peers: ReadonlySet<NumericIdentity> | undefined;
  readonly firstPort: number;
  readonly lastPort: number;
  readonly kind: "allow" | "deny" | "l7";
  readonly tier: number;
  readonly rules: readonly CompiledHttpRule[];
  readonly refs: readonly PolicyRef[];
}

const none: Decision = { kind: "none" };
/** Decisions kept per set; a connection asks once per revision, but busy nodes have many alike. */
const cacheLimit = 1024;

/** An immutable set. */
export class CompiledPolicySet {
  readonly #filters: readonly CompiledFilter[];
  readonly #cache = new Map<string, Decision>();

  private constructor(filters: readonly CompiledFilter[]) {
    this.#filters = filters;
  }

  /** Compiles a set that came over the wire; all its problems are added to the list. */
  static compile(set: PolicySet, problems: MessageProblem[]): CompiledPolicySet {
    const filters = set.filters.flatMap((filter, i): CompiledFilter[] => {
      const path = `sets[${set.id}].filters[${i}]`;
      const problem = (field: string, message: string) => problems.push({ path: `${path}.${field}`, message });
      const lastPort = filter.port === 0 ? 65535 : (filter.endPort ?? filter.port);
      if (filter.direction !== "ingress" && filter.direction !== "egress")
        problem("direction", "must be ingress or egress");
      if (!["any", "TCP", "UDP"].includes(filter.protocol)) problem("protocol", "must be any, TCP or UDP");
      if (!(filter.port >= 0 && filter.port <= 65535)) problem("port", "must be a number from 0 to 65535");
      if (!(lastPort >= filter.port && lastPort <= 65535)) problem("endPort", "must be a number from port to 65535");
      if (filter.peers !== "any" && !Array.isArray(filter.peers))
        problem("peers", 'must be "any" or a list of identities');
      if (!(filter.precedence >= 0)) problem("precedence", "must be a number");
      if (filter.kind !== "allow" && filter.kind !== "deny" && filter.kind !== "l7")
        problem("kind", "must be allow, deny or l7");
      // An empty list would be a filter that redirects and then denies all: surely a fault of the sender.
      const rules = filter.l7?.protocol === "http" ? filter.l7.rules : [];
      if (filter.kind === "l7" && !rules.length) problem("l7", "an l7 filter needs at least one rule of http");
      if (filter.protocol === "UDP") return [];
      const compiled = {
        direction: filter.direction,
        peers: Array.isArray(filter.peers) ? new Set(filter.peers) : undefined,
        firstPort: filter.port,
        lastPort,
        kind: filter.kind,
        tier: Math.floor(filter.precedence / 256),
        rules:
          filter.kind === "l7" ? rules.map((rule, j) => compileHttpRule(rule, `${path}.l7.rules[${j}]`, problems)) : [],
        refs: filter.refs ?? [],
      };
      return [compiled];
    });
    return new CompiledPolicySet(filters);
  }

  /**
   * Of the filters that match, those of the highest tier decide: any deny denies; else any allow lets every request pass; else
   * the HTTP rules of all of them together.
   */
  decide(direction: Direction, peer: NumericIdentity, port: number): Decision {
    const key = `${direction} ${peer} ${port}`;
    let decision = this.#cache.get(key);
    if (decision === undefined) {
      if (this.#cache.size >= cacheLimit) this.#cache.clear();
      decision = this.#compute(direction, peer, port);
      this.#cache.set(key, decision);
    }
    return decision;
  }

  #compute(direction: Direction, peer: NumericIdentity, port: number): Decision {
    let matching: CompiledFilter[] = [];
    let tier = -1;
    for (const filter of this.#filters) {
      if (filter.direction !== direction || port < filter.firstPort || port > filter.lastPort || filter.tier < tier)
        continue;
      if (filter.peers !== undefined && !filter.peers.has(peer)) continue;
      if (filter.tier > tier) {
        tier = filter.tier;
        matching = [];
      }
      matching.push(filter);
    }
    const refsOf = (kind: "allow" | "deny") => matching.filter((f) => f.kind === kind).flatMap((f) => f.refs);
    if (matching.some((f) => f.kind === "deny")) return { kind: "deny", refs: refsOf("deny") };
    if (matching.some((f) => f.kind === "allow")) return { kind: "allow", refs: refsOf("allow") };
    return matching.length > 0 ? { kind: "http", rules: matching.flatMap((f) => f.rules) } : none;
  }
}
