/** Branded numbers: the compiler keeps an identity from being passed as an endpoint number. */

/** Security-relevant identity of a workload, prefix or reserved peer; u32. In a policy key 0 means "any". */
export type NumericIdentity = number & { readonly __brand: "NumericIdentity" };

/** Node-local endpoint number, u16; 0 = no endpoint of this node. */
export type EndpointId = number & { readonly __brand: "EndpointId" };

/** Number of one immutable, complete set of policy entries, u32; 0 = none, which denies everything. */
export type PolicySetId = number & { readonly __brand: "PolicySetId" };
