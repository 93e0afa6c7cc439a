/**
 * From names to numbers: which names a rule's pattern means, which addresses they were found to have and until when, and which
 * identity such an address has. Pure: what was learnt, the time and the connections that live are told.
 * @module
 */
export {
  createNameCache,
  defaultNameCacheLimits,
  type LearnResult,
  type LearntName,
  type NameCache,
  type NameCacheLimits,
  type NameRecord,
} from "./cache.ts";
export { createNameIdentities, type NameIdentities, type NameIdentityChanges } from "./identities.ts";
export { canonicalName, compileName, type NameMatcher } from "./pattern.ts";
export { createNameSelectors, type NameSelectors } from "./selectors.ts";
