/**
 * From labels to numbers: what a pod's labels are, which of them make its identity, which number that has, which prefix is
 * whom. Pure: plans that the agent carries out. Keys, filters and ranges follow Cilium.
 * @module
 */
export { defaultIdentityGraceMs, type IdentityDemand, type IdentityPlan, planIdentities } from "./allocate.ts";
export { defaultLabelFilter, filterLabels, type LabelFilter, type LabelPattern, parseLabelPattern } from "./filter.ts";
export { type IpcachePlanRow, type IpcacheSources, planIpcache } from "./ipcache.ts";
export { type NamedPort, namedPortLabels, namedPorts, podLabelKeys, podLabels } from "./pod-labels.ts";
export { createPrefixIdentities, type PrefixIdentities, prefixLabels } from "./prefixes.ts";
