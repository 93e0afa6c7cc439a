/** What the observer must know of the rest of the node to put names to numbers; apps/agent hands it in. */
import type { Direction, EndpointId, NumericIdentity, PolicySetId } from "#core/model";
import type { HttpJudgement, HttpReasons } from "#observer/decode";

/** An endpoint as flows show it. Immutable: a change makes a new object, so that flows keep what was true then. */
export interface EndpointInfo {
  /** 0 for an endpoint of another node. */
  readonly id: EndpointId;
  readonly identity: NumericIdentity;
  readonly podName: string;
  readonly namespace: string;
  /** `source:key=value`, sorted. */
  readonly labels: readonly string[];
  readonly workloads: readonly { readonly name: string; readonly kind: string }[];
}

/** A statement of a policy object. */
export interface RuleRef {
  /** CiliumNetworkPolicy, ..., or `implicit` for what the product itself adds. */
  readonly kind: string;
  readonly name: string;
  /** Absent or empty for cluster-wide kinds. */
  readonly namespace?: string;
  readonly uid?: string;
  /** Field path in the object, e.g. `spec.ingress[0]`. */
  readonly path: string;
}

/** Names for numbers. Called often: each must be a look-up in memory. */
export interface FlowLookups {
  endpointById(id: EndpointId): EndpointInfo | undefined;
  /** For addresses of pods on other nodes, and of events without an endpoint. */
  endpointByAddress(address: string): EndpointInfo | undefined;
  /** Labels of an identity, formatted and sorted; undefined if it is not known (any more). */
  identityLabels(identity: NumericIdentity): readonly string[] | undefined;
  /**
   * The rules behind a policy entry; empty if unknown. Asked when the event comes in, so a set may be forgotten soon
   * after the kernel has.
   */
  provenance(set: PolicySetId, cookie: number): readonly RuleRef[];
  /** Why the kernel judged an HTTP request as it did. */
  httpReasons?(judgement: HttpJudgement): HttpReasons;
  /** Name of an interface of this node. */
  interfaceName?(ifindex: number): string | undefined;
  /** DNS names that resolved to an address. */
  namesOf?(address: string): readonly string[];
  /** Nanoseconds to add to CLOCK_MONOTONIC for the time since 1970; see `createWallClockOffset`. */
  wallOffsetNs(): bigint;
}

/** One end of a denied connection. */
export interface DeniedPeer {
  readonly identity: NumericIdentity;
  readonly labels: readonly string[];
  readonly endpoint?: EndpointInfo;
  readonly address: string;
  readonly port: number;
}

/** A policy's refusal of a connection, to be explained. */
export interface DenialQuestion {
  readonly direction: Direction;
  /** `default-deny`: nothing allows it; `explicit-deny`: `rules` say so; `audit`: one of these, but let through. */
  readonly kind: "default-deny" | "explicit-deny" | "audit";
  readonly source: DeniedPeer;
  readonly destination: DeniedPeer;
  /** IP protocol number. */
  readonly protocol: number;
  /** Destination port; of ICMP the type. */
  readonly port: number;
  readonly policySet: PolicySetId;
  readonly rules: readonly RuleRef[];
}

/** Why a connection was denied. */
export interface Explanation {
  /** One sentence, without a full stop. */
  readonly sentence: string;
  /** The rule that came closest to allowing it, and what kept it from doing so. */
  readonly nearest?: {
    readonly ref: RuleRef;
    /** "peer", "port", "protocol", ... */
    readonly field: string;
    readonly expected: string;
    readonly found: string;
  };
  /** The smallest change that would allow it. */
  readonly hint?: string;
}

/** Answers why; undefined if it can't tell. Called when somebody looks at the flow, not when the event comes in. */
export type Explain = (question: DenialQuestion) => Explanation | undefined;
