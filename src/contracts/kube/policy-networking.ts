/** The policies of a cluster's administrators. Source: sigs.k8s.io/network-policy-api v1alpha1 and v1alpha2. */
import type { Condition, KubeObject, LabelSelector } from "./meta.ts";

/** Pods in namespaces, both by labels. */
export interface NamespacedPod {
  readonly namespaceSelector: LabelSelector;
  readonly podSelector: LabelSelector;
}

/** Exactly one of the two. */
export interface ClusterPolicySubject {
  readonly namespaces?: LabelSelector;
  readonly pods?: NamespacedPod;
}

/** Exactly one of the fields; the last three only of what traffic goes to. */
export interface ClusterPolicyPeer extends ClusterPolicySubject {
  readonly networks?: readonly string[];
  readonly nodes?: LabelSelector;
  readonly domainNames?: readonly string[];
}

/** A protocol's destination; without a port all of them. */
export interface ProtocolDestination {
  readonly destinationPort?: {
    readonly number?: number;
    readonly range?: { readonly start: number; readonly end: number };
  };
}

/** Exactly one of the fields. */
export interface ClusterPolicyProtocol {
  readonly tcp?: ProtocolDestination;
  readonly udp?: ProtocolDestination;
  readonly sctp?: ProtocolDestination;
  readonly destinationNamedPort?: string;
}

interface NumberedPort {
  readonly protocol?: "TCP" | "UDP" | "SCTP";
}

/** Exactly one of the fields. */
export interface AdminPolicyPort {
  readonly portNumber?: NumberedPort & { readonly port: number };
  readonly portRange?: NumberedPort & { readonly start: number; readonly end: number };
  readonly namedPort?: string;
}

interface Rule<Action extends string> {
  readonly name?: string;
  readonly action: Action;
}

type ClusterAction = "Accept" | "Deny" | "Pass";
type AdminAction = "Allow" | "Deny" | "Pass";

interface PolicyObject<Spec> extends KubeObject {
  readonly spec: Spec;
  readonly status?: { readonly conditions?: readonly Condition[] };
}

interface Sections<Action extends string, Ports> {
  readonly subject: ClusterPolicySubject;
  readonly ingress?: readonly (Rule<Action> & Ports & { readonly from: readonly ClusterPolicySubject[] })[];
  readonly egress?: readonly (Rule<Action> & Ports & { readonly to: readonly ClusterPolicyPeer[] })[];
}

/** Asked before (tier Admin) or after (tier Baseline) the policies of everyone; the smaller priority first. */
export type ClusterNetworkPolicy = PolicyObject<
  Sections<ClusterAction, { readonly protocols?: readonly ClusterPolicyProtocol[] }> & {
    readonly tier: "Admin" | "Baseline";
    readonly priority: number;
  }
>;

/** Tier Admin in v1alpha1. */
export type AdminNetworkPolicy = PolicyObject<
  Sections<AdminAction, { readonly ports?: readonly AdminPolicyPort[] }> & { readonly priority: number }
>;

/** Tier Baseline in v1alpha1: one object, named default. */
export type BaselineAdminNetworkPolicy = PolicyObject<
  Sections<Exclude<AdminAction, "Pass">, { readonly ports?: readonly AdminPolicyPort[] }>
>;
