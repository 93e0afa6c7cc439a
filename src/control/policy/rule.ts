/** Rules as the engine works with them: what a policy object means, every default applied, nothing left to interpret. */
import type { DnsMatch, HttpMatch, L7RulesOf, TlsRules } from "#contracts/proxy";
import type { Direction, Prefix } from "#core/model";
import type { Selector } from "./selector.ts";

/** Kinds of objects that rules come from. */
export type PolicyKind =
  | "CiliumNetworkPolicy"
  | "CiliumClusterwideNetworkPolicy"
  | "NetworkPolicy"
  | "ClusterNetworkPolicy"
  | "AdminNetworkPolicy"
  | "BaselineAdminNetworkPolicy";

/**
 * Where a statement stands if not among the policies of everyone: tier Admin is asked before them, Baseline after them. The
 * smaller order is asked first; within one order deny goes before allow, and allow before pass.
 */
export interface Standing {
  readonly tier: "admin" | "baseline";
  readonly order: number;
}

/** Identifies an object: what its rules' refs carry. */
export interface ObjectRef {
  readonly kind: PolicyKind;
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
}

/** Which statement of which object: what a verdict is traced back to. */
export interface RuleRef {
  readonly kind: PolicyKind | "implicit";
  /** Name of the object; of an implicit rule, its own: "allow-localhost-ingress", "allow-any-egress"... */
  readonly name: string;
  /** Absent for clusterwide and implicit rules. */
  readonly namespace?: string;
  readonly uid?: string;
  /** Field path of the statement in its object, e.g. `spec.ingress[0]`; empty for an implicit rule. */
  readonly path: string;
  /** What its author wrote in `description`. */
  readonly description?: string;
}

/** Entities that a rule can name. `all` stands for any peer at all, `none` for no one. */
export type EntityName =
  | "all"
  | "world"
  | "cluster"
  | "host"
  | "init"
  | "ingress"
  | "unmanaged"
  | "remote-node"
  | "health"
  | "none"
  | "kube-apiserver"
  | "cluster-mesh";

/** One peer of a statement. `path` is where it is written, relative to the object. */
export type Peer =
  | {
      readonly kind: "labels";
      readonly selector: Selector;
      readonly path: string;
      /** Nodes by their labels: fromNodes, toNodes. */
      readonly ofNodes?: true;
    }
  | { readonly kind: "entity"; readonly entity: EntityName; readonly path: string }
  | { readonly kind: "cidr"; readonly prefix: Prefix; readonly except: readonly Prefix[]; readonly path: string }
  /** Addresses to which a name resolves: identities with a label of source `fqdn` for this very selector. */
  | { readonly kind: "fqdn"; readonly name: DnsMatch; readonly path: string };

/** Peers by a Service: its name, or a selector of Services. The engine adds what these stand for to `peers`. */
export interface ServicePeer {
  /** Absent: any namespace. */
  readonly namespace?: string;
  readonly service: string | Selector;
  readonly path: string;
}

/** Addresses that a cloud provider keeps: all fields that are given must match. Lists are sorted. */
export interface CloudGroup {
  readonly provider: "aws";
  readonly labels: Readonly<Record<string, string>>;
  readonly securityGroupIds: readonly string[];
  readonly securityGroupNames: readonly string[];
  readonly region?: string;
}

/** Peers by a CiliumCIDRGroup: its name, or a selector of groups by their labels. */
export interface GroupPeer {
  readonly group: string | Selector;
  /** The group is a cloud provider's: whoever can resolve it puts its addresses under the name in `group`. */
  readonly cloud?: CloudGroup;
  /** Prefixes that are not meant, whatever the group says. */
  readonly except: readonly Prefix[];
  readonly path: string;
}

/** What a port list says of the transport. Protocols are numbers of IP; ports are host order. */
export type PortMatch =
  | {
      readonly kind: "ports";
      readonly protocol: number;
      readonly first: number;
      readonly last: number;
      readonly path: string;
    }
  /** Every packet of the protocol: port "0", or ICMP without a type. */
  | { readonly kind: "protocol"; readonly protocol: number; readonly path: string }
  /** A port by the name that the container gives it: the subject's on ingress, the peer's on egress. */
  | { readonly kind: "named"; readonly protocol: number; readonly name: string; readonly path: string }
  | { readonly kind: "icmp"; readonly protocol: number; readonly type: number; readonly path: string };

/** Where a rule is written, relative to the object. */
export interface Placed {
  readonly place: string;
}

/** One kind of HTTP request that is allowed. */
export type HttpRule = HttpMatch & Placed;

/** Requests of one protocol that are allowed. */
export type L7Rules = L7RulesOf<Placed>;

/** An Envoy listener that connections are handed to: Cilium's `listener`. */
export interface ListenerRef {
  readonly kind: "CiliumEnvoyConfig" | "CiliumClusterwideEnvoyConfig";
  readonly config: string;
  readonly name: string;
  /** 1 to 100, the smaller one first; absent: 101 and later, by kind. */
  readonly priority?: number;
}

/** One list of ports, with what is allowed on them. No matches: the list allows nothing. */
export interface PortList {
  /** Where it is written, relative to the object. */
  readonly path: string;
  readonly matches: readonly PortMatch[];
  /** Requests that are allowed; undefined: whatever is spoken there. Never an empty list. */
  readonly l7?: L7Rules;
  readonly tls?: TlsRules;
  readonly listener?: ListenerRef;
}

/** Whether the two ends must have proved who they are. */
export type Authentication = "disabled" | "required" | "test-always-fail";

/** One item of `ingress`, `egress`, `ingressDeny`, `egressDeny`. */
export interface Statement {
  readonly direction: Direction;
  /** `pass`: nothing more is asked in this tier; the next one decides. Only with a standing. */
  readonly action: "allow" | "deny" | "pass";
  /** Absent: among the policies of everyone. */
  readonly standing?: Standing;
  readonly ref: RuleRef;
  /** "any": no restriction. An empty list: no one. Otherwise whoever one of them selects. */
  readonly peers: "any" | readonly Peer[];
  /** Groups whose prefixes are peers, too; they may change, and need not be there. The engine adds them to `peers`. */
  readonly groups?: readonly GroupPeer[];
  /** Services that are peers, too, in the same way. */
  readonly services?: readonly ServicePeer[];
  /** "any": no restriction, ICMP included. Otherwise what one of them lists. */
  readonly ports: "any" | readonly PortList[];
  readonly authentication?: Authentication;
}

/** A policy that only reports what it would deny. */
export interface Audit {
  /** When it comes in force, in ms since 1970; absent: when its author says so. */
  readonly untilMs?: number;
}

/** One policy: a subject and what it may do. An object with `specs` yields several. */
export interface Rule {
  readonly kind: PolicyKind;
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  /** `spec`, or `specs[n]`. */
  readonly path: string;
  readonly subject: Selector;
  /** A host policy: its subjects are nodes, by their labels. */
  readonly ofNodes?: true;
  readonly statements: readonly Statement[];
  /** Directions in which this rule denies what no rule allows. */
  readonly defaultDeny: { readonly ingress: boolean; readonly egress: boolean };
  /** Staged: it neither allows nor denies, but says what it would deny. */
  readonly audit?: Audit;
  readonly description?: string;
  /** What flows that it decides carry: Hubble's `policy_log`. */
  readonly log?: string;
}
