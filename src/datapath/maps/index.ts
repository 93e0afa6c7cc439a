/**
 * The datapath's maps with decoded keys and values: name, codecs, who writes, who reads, what happens when full.
 * @module
 */
export {
  type DatapathMaps,
  type MapName,
  mapDefinitions,
  openDatapathMaps,
  type SocketNetns,
  socketNetnsMap,
} from "./definitions.ts";
export type { DescribedEntry } from "./describe.ts";
export { type HttpProgramMap, openHttpProgramMap } from "./http-programs.ts";
export {
  decodePolicyKey,
  ipcacheKey,
  ipcachePrefix,
  ipv4Address,
  ipv4Number,
  l4Prefix,
  type PolicyMatchKey,
  policyKey,
} from "./keys.ts";
export { type MapDefinition, openTypedMap, shapeMismatch, type TypedMap } from "./typed-map.ts";
