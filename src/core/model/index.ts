/**
 * The vocabulary: what every band means by label, identity, address, direction. Pure; knows nothing of wire formats or the kernel.
 * @module
 */
export {
  addressAt,
  formatAddress,
  formatPrefix,
  hostPrefix,
  type IpAddress,
  type IpFamily,
  maskAddress,
  type Prefix,
  parseAddress,
  parsePrefix,
  prefixContains,
} from "./address.ts";
export {
  type Identity,
  identityRanges,
  Reserved,
  type ReservedName,
  reservedLabels,
  reservedName,
} from "./identity.ts";
export {
  createLabels,
  findLabel,
  formatLabel,
  formatLabels,
  type Label,
  type Labels,
  labelsKey,
  parseLabel,
  parseLabelKey,
} from "./labels.ts";
export type { EndpointId, NumericIdentity, PolicySetId } from "./numbers.ts";
export { type Direction, type ProtocolName, protocolName, protocolNumbers, type Verdict } from "./traffic.ts";
