/** The policy check: from a connection and a request to a permit or a denial. */

import type { NearestRule, PolicyRef } from "#contracts/proxy";
import type { Direction, EndpointId, IpAddress, NumericIdentity } from "#core/model";
import type { RequestHead } from "#proxy/http";
import { findMatch, nearestRule } from "./http-rules.ts";
import type { Decision } from "./policy-set.ts";
import type { PolicyStore } from "./store.ts";

/**
 * The right to forward one request. Only `ConnectionPolicy.judge` makes one: the private field keeps other code from making something that fits.
 */
export class Permit {
  readonly #made = true;
  readonly kind = "permit";
  /** The rules that allowed it, egress before ingress. */
  readonly rules: readonly PolicyRef[];
  readonly direction: Direction;
  /** Whether the whole connection is allowed, whatever is said on it: then a switch to any protocol is, too. */
  readonly unconditional: boolean;

  constructor(key: typeof permitKey, rules: readonly PolicyRef[], direction: Direction, unconditional: boolean) {
    if (key !== permitKey) throw new TypeError("only the policy check makes permits");
    this.rules = rules;
    this.direction = direction;
    this.unconditional = unconditional;
  }

  /** Whether this came from the check; false for anything else that was cast to the type. */
  static isPermit(value: object): boolean {
    return #made in value && (value as Permit).#made;
  }
}

const permitKey = Symbol("permit");

/** Why a request may not go on. */
export interface Denial {
  /** `policy`: answered with 403. `no-state`: the proxy has not been told any policy yet; 503. */
  readonly kind: "policy" | "no-state";
  readonly direction: Direction;
  /** In words. */
  readonly reason: string;
  /** The explicit denies, if it was one. */
  readonly rules: readonly PolicyRef[];
  readonly nearest?: NearestRule;
}

/** One side of a connection as the policy knows it; `endpoint` 0 = not of this node. */
export interface KnownPeer {
  readonly identity: NumericIdentity;
  readonly endpoint: EndpointId;
}

interface DirectionDecision {
  readonly direction: Direction;
  readonly decision: Decision;
  readonly peer: NumericIdentity;
}

const unknownPeer: KnownPeer = { identity: 0 as NumericIdentity, endpoint: 0 as EndpointId };
/** Upgrades to a protocol that carries HTTP again would take later requests out of our sight. */
const hidingProtocols = /(^|,)[ \t]*(h2|h2c|http\/|tls|ssl)/i;

/**
 * The policy for one connection: egress of the source endpoint and ingress of the destination endpoint, as far as they
 * are of this node; with neither everything is denied. Every request is judged by the state in force at that moment;
 * what depends on addresses only is computed once per state.
 */
export class ConnectionPolicy {
  readonly #store: PolicyStore;
  readonly #source: IpAddress;
  readonly #destination: IpAddress;
  readonly #port: number;
  #version = -1;
  #decisions: readonly DirectionDecision[] = [];
  #standing: Permit | Denial | undefined;
  source: KnownPeer = unknownPeer;
  destination: KnownPeer = unknownPeer;

  constructor(store: PolicyStore, source: IpAddress, destination: IpAddress, port: number) {
    this.#store = store;
    this.#source = source;
    this.#destination = destination;
    this.#port = port;
    this.refresh();
  }

  /** Brings identities up to date with the state in force; true if anything may have changed. */
  refresh(): boolean {
    const store = this.#store;
    if (this.#version === store.version) return false;
    this.#version = store.version;
    const source = store.endpoint(this.#source);
    const destination = store.endpoint(this.#destination);
    this.source = {
      identity: source?.identity ?? store.identity(this.#source),
      endpoint: source?.id ?? unknownPeer.endpoint,
    };
    this.destination = {
      identity: destination?.identity ?? store.identity(this.#destination),
      endpoint: destination?.id ?? unknownPeer.endpoint,
    };
    const decisions: DirectionDecision[] = [];
    if (source) {
      const decision = store.set(source.policySet)?.decide("egress", this.destination.identity, this.#port);
      decisions.push({ direction: "egress", decision: decision ?? { kind: "none" }, peer: this.destination.identity });
    }
    if (destination) {
      const decision = store.set(destination.policySet)?.decide("ingress", this.source.identity, this.#port);
      decisions.push({ direction: "ingress", decision: decision ?? { kind: "none" }, peer: this.source.identity });
    }
    this.#decisions = decisions;
    this.#standing = this.#judgeConnection();
    return true;
  }

  /** Judges a request by the state in force. Header values are read from the head, so call it before its reader is fed again. */
  judge(request: RequestHead): Permit | Denial {
    this.refresh();
    if (this.#standing !== undefined) return this.#standing;
    const rules: PolicyRef[] = [];
    let direction: Direction = "ingress";
    for (const { direction: judged, decision } of this.#decisions) {
      if (decision.kind === "allow") rules.push(...decision.refs);
      if (decision.kind !== "http") continue;
      direction = judged;
      const found = findMatch(decision.rules, request);
      if (found === undefined) {
        const nearest = nearestRule(decision.rules, request);
        const reason = nearest ? missText(nearest) : "no HTTP rule allows the request";
        return { kind: "policy", direction: judged, reason, rules: [], ...(nearest && { nearest }) };
      }
      for (const rule of found) rules.push(rule.ref);
    }
    if (request.upgrade !== undefined && hidingProtocols.test(request.upgrade)) {
      const reason = `after an upgrade to ${request.upgrade} later requests could not be judged`;
      return { kind: "policy", direction, reason, rules: [] };
    }
    return new Permit(permitKey, rules, direction, false);
  }

  /** Whether the state in force denies the whole connection, whatever is said on it. */
  revoked(): boolean {
    this.refresh();
    return this.#standing !== undefined && this.#standing.kind !== "permit";
  }

  /** What holds for all requests alike; undefined if each has to be looked at. */
  #judgeConnection(): Permit | Denial | undefined {
    if (this.#store.revision === undefined)
      return {
        kind: "no-state",
        direction: "ingress",
        reason: "the proxy has not been given any policy yet",
        rules: [],
      };
    if (this.#decisions.length === 0)
      return { kind: "policy", direction: "ingress", reason: "neither side is an endpoint of this node", rules: [] };
    for (const { direction, decision, peer } of this.#decisions) {
      if (decision.kind === "deny")
        return { kind: "policy", direction, reason: "an explicit deny", rules: decision.refs };
      if (decision.kind === "none") {
        const what = direction === "ingress" ? "from" : "to";
        return {
          kind: "policy",
          direction,
          reason: `no rule allows ${direction} ${what} identity ${peer} on port ${this.#port}`,
          rules: [],
        };
      }
    }
    if (this.#decisions.some(({ decision }) => decision.kind === "http")) return undefined;
    const refs = this.#decisions.flatMap(({ decision }) => (decision.kind === "allow" ? decision.refs : []));
    return new Permit(permitKey, refs, this.#decisions.at(-1)!.direction, true);
  }
}

function missText({ ref, field, expected, found }: NearestRule): string {
  const name = ref.namespace === "" ? ref.name : `${ref.namespace}/${ref.name}`;
  return `nearest rule: ${ref.kind} ${name} ${ref.path}: ${field} is ${found}, expected ${expected}`;
}
