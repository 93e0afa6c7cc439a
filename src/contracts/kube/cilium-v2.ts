/** Objects of cilium.io/v2: policies, identities, endpoints. Source: Cilium 1.20's custom resource definitions. */
import type { Condition, KubeObject, LabelSelector } from "./meta.ts";

/** Entities that a policy can name. */
export type CiliumEntity =
  | "all"
  | "world"
  | "cluster"
  | "cluster-mesh"
  | "host"
  | "init"
  | "ingress"
  | "unmanaged"
  | "remote-node"
  | "health"
  | "none"
  | "kube-apiserver";

/** A block of addresses: exactly one of cidr, cidrGroupRef, cidrGroupSelector. */
export interface CidrRule {
  readonly cidr?: string;
  readonly cidrGroupRef?: string;
  readonly cidrGroupSelector?: LabelSelector;
  readonly except?: readonly string[];
}

/** Peers found through a cloud provider. */
export interface PeerGroup {
  readonly aws?: {
    readonly labels?: Readonly<Record<string, string>>;
    readonly securityGroupsIds?: readonly string[];
    readonly securityGroupsNames?: readonly string[];
    readonly region?: string;
  };
}

/** A DNS name (`matchName`) or a pattern of names (`matchPattern`): exactly one. */
export interface FqdnSelector {
  readonly matchName?: string;
  readonly matchPattern?: string;
}

/** A Kubernetes service as a peer. */
export interface CiliumServiceSelector {
  readonly k8sService?: { readonly serviceName?: string; readonly namespace?: string };
  readonly k8sServiceSelector?: { readonly selector: LabelSelector; readonly namespace?: string };
}

/** Protocols a port rule can name. */
export type CiliumProtocol = "TCP" | "UDP" | "SCTP" | "VRRP" | "IGMP" | "GRE" | "IPIP" | "IPV6" | "ESP" | "AH" | "ANY";

/** A port, a named port or a range of ports. */
export interface PortProtocol {
  readonly port?: string;
  readonly endPort?: number;
  readonly protocol?: CiliumProtocol;
}

/** A Secret by name. */
export interface SecretReference {
  readonly namespace?: string;
  readonly name: string;
}

/** What to check in a header, and what to do if it does not match. */
export interface HeaderMatch {
  readonly name: string;
  readonly value?: string;
  readonly secret?: SecretReference;
  readonly mismatch?: "LOG" | "ADD" | "DELETE" | "REPLACE";
}

/** One kind of request that is allowed: all given fields must match. path, method and host are RE2, full match. */
export interface HttpRule {
  readonly path?: string;
  readonly method?: string;
  readonly host?: string;
  readonly headers?: readonly string[];
  readonly headerMatches?: readonly HeaderMatch[];
}

/** Where certificates and keys of a TLS leg come from. */
export interface TlsContext {
  readonly secret: SecretReference;
  readonly trustedCA?: string;
  readonly certificate?: string;
  readonly privateKey?: string;
}

/** L7 rules: exactly one of http and dns. */
export interface L7Rules {
  readonly http?: readonly HttpRule[];
  readonly dns?: readonly FqdnSelector[];
}

/** Ports, and what is allowed on them. */
export interface PortRule {
  readonly ports?: readonly PortProtocol[];
  readonly rules?: L7Rules;
  readonly terminatingTLS?: TlsContext;
  readonly originatingTLS?: TlsContext;
  readonly serverNames?: readonly string[];
  readonly listener?: {
    readonly envoyConfig: { readonly kind?: string; readonly name: string };
    readonly name: string;
    readonly priority?: number;
  };
}

/** Ports that are denied. */
export interface PortDenyRule {
  readonly ports?: readonly PortProtocol[];
}

/** ICMP messages by family and type (number or name). */
export interface IcmpRule {
  readonly fields?: readonly { readonly family?: "IPv4" | "IPv6"; readonly type: number | string }[];
}

/** Whether mutual authentication is asked of the peers. */
export interface Authentication {
  readonly mode: "disabled" | "required" | "test-always-fail";
}

/** Sources of an ingress rule, common to allow and deny. */
export interface IngressPeers {
  readonly fromEndpoints?: readonly LabelSelector[];
  readonly fromCIDR?: readonly string[];
  readonly fromCIDRSet?: readonly CidrRule[];
  readonly fromEntities?: readonly CiliumEntity[];
  readonly fromGroups?: readonly PeerGroup[];
  readonly fromNodes?: readonly LabelSelector[];
  /** Removed in Cilium 1.19: must be empty. */
  readonly fromRequires?: readonly string[];
}

/** Destinations of an egress rule, common to allow and deny. */
export interface EgressPeers {
  readonly toEndpoints?: readonly LabelSelector[];
  readonly toCIDR?: readonly string[];
  readonly toCIDRSet?: readonly CidrRule[];
  readonly toEntities?: readonly CiliumEntity[];
  readonly toGroups?: readonly PeerGroup[];
  readonly toNodes?: readonly LabelSelector[];
  readonly toServices?: readonly CiliumServiceSelector[];
  /** Removed in Cilium 1.19: must be empty. */
  readonly toRequires?: readonly string[];
}

/** Allows traffic into the subject. */
export interface IngressRule extends IngressPeers {
  readonly toPorts?: readonly PortRule[];
  readonly icmps?: readonly IcmpRule[];
  readonly authentication?: Authentication;
}

/** Denies traffic into the subject; beats every allow. */
export interface IngressDenyRule extends IngressPeers {
  readonly toPorts?: readonly PortDenyRule[];
  readonly icmps?: readonly IcmpRule[];
}

/** Allows traffic from the subject. */
export interface EgressRule extends EgressPeers {
  readonly toFQDNs?: readonly FqdnSelector[];
  readonly toPorts?: readonly PortRule[];
  readonly icmps?: readonly IcmpRule[];
  readonly authentication?: Authentication;
}

/** Denies traffic from the subject; beats every allow. */
export interface EgressDenyRule extends EgressPeers {
  readonly toPorts?: readonly PortDenyRule[];
  readonly icmps?: readonly IcmpRule[];
}

/** One policy: a subject and what it may do. Exactly one of endpointSelector and nodeSelector. */
export interface CiliumPolicyRule {
  readonly endpointSelector?: LabelSelector;
  readonly nodeSelector?: LabelSelector;
  readonly ingress?: readonly IngressRule[];
  readonly ingressDeny?: readonly IngressDenyRule[];
  readonly egress?: readonly EgressRule[];
  readonly egressDeny?: readonly EgressDenyRule[];
  readonly enableDefaultDeny?: { readonly ingress?: boolean; readonly egress?: boolean };
  readonly labels?: readonly { readonly key: string; readonly value?: string; readonly source?: string }[];
  readonly description?: string;
  readonly log?: { readonly value?: string };
}

/** What became of a policy. */
export interface CiliumPolicyStatus {
  readonly conditions?: readonly Condition[];
  readonly derivativePolicies?: Readonly<Record<string, unknown>>;
}

/** A policy for the endpoints of its namespace. */
export interface CiliumNetworkPolicy extends KubeObject {
  readonly spec?: CiliumPolicyRule;
  readonly specs?: readonly CiliumPolicyRule[];
  readonly status?: CiliumPolicyStatus;
}

/** A policy for endpoints of all namespaces, or for nodes. */
export interface CiliumClusterwideNetworkPolicy extends KubeObject {
  readonly spec?: CiliumPolicyRule;
  readonly specs?: readonly CiliumPolicyRule[];
  readonly status?: CiliumPolicyStatus;
}

/** Prefixes that policies name together, by the group's name or labels. */
export interface CiliumCIDRGroup extends KubeObject {
  readonly spec: { readonly externalCIDRs: readonly string[] };
}

/** A numeric identity (the object's name, decimal) and the labels it stands for (`source:key` -> value). */
export interface CiliumIdentity extends KubeObject {
  readonly "security-labels": Readonly<Record<string, string>>;
}

/** Whether policy is enforced for a direction of an endpoint. */
export interface CiliumEndpointPolicyDirection {
  readonly enforcing: boolean;
  readonly state?: string;
  readonly allowed?: readonly unknown[];
  readonly denied?: readonly unknown[];
}

/** The attachment of a pod to the network, as seen by others; same name as the pod. */
export interface CiliumEndpoint extends KubeObject {
  readonly status?: {
    /** Endpoint id on its node. */
    readonly id?: number;
    readonly state?:
      | "creating"
      | "waiting-for-identity"
      | "not-ready"
      | "waiting-to-regenerate"
      | "regenerating"
      | "restoring"
      | "ready"
      | "disconnecting"
      | "disconnected"
      | "invalid";
    readonly identity?: { readonly id?: number; readonly labels?: readonly string[] };
    readonly networking?: {
      readonly addressing: readonly { readonly ipv4?: string; readonly ipv6?: string }[];
      readonly node?: string;
    };
    readonly policy?: {
      readonly ingress?: CiliumEndpointPolicyDirection;
      readonly egress?: CiliumEndpointPolicyDirection;
    };
    readonly "external-identifiers"?: Readonly<Record<string, string>>;
    readonly "named-ports"?: readonly { readonly name?: string; readonly port?: number; readonly protocol?: string }[];
    readonly "service-account"?: string;
    readonly encryption?: { readonly key?: number };
    readonly health?: Readonly<Record<string, unknown>>;
    readonly log?: readonly Readonly<Record<string, unknown>>[];
    readonly controllers?: readonly Readonly<Record<string, unknown>>[];
  };
}
