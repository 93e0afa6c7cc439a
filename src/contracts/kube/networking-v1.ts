/** Kubernetes' own NetworkPolicy. Source: k8s.io/api networking/v1. */
import type { KubeObject, LabelSelector } from "./meta.ts";

/** A port of a NetworkPolicy rule; without `port` all ports of the protocol. */
export interface NetworkPolicyPort {
  readonly protocol?: "TCP" | "UDP" | "SCTP";
  /** Number or name. */
  readonly port?: number | string;
  readonly endPort?: number;
}

/** Who may talk: pods by labels, or a block of addresses. */
export interface NetworkPolicyPeer {
  readonly podSelector?: LabelSelector;
  readonly namespaceSelector?: LabelSelector;
  readonly ipBlock?: { readonly cidr: string; readonly except?: readonly string[] };
}

/** The portable policy object. */
export interface NetworkPolicy extends KubeObject {
  readonly spec?: {
    readonly podSelector: LabelSelector;
    readonly policyTypes?: readonly ("Ingress" | "Egress")[];
    readonly ingress?: readonly {
      readonly from?: readonly NetworkPolicyPeer[];
      readonly ports?: readonly NetworkPolicyPort[];
    }[];
    readonly egress?: readonly {
      readonly to?: readonly NetworkPolicyPeer[];
      readonly ports?: readonly NetworkPolicyPort[];
    }[];
  };
}
