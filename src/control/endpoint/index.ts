/**
 * Endpoints: numbers, addresses (IPAM), states and the record that survives a restart. Pure.
 * @module
 */
export { type AddressPool, createAddressPool, routerAddress } from "./address-pool.ts";
export {
  advanceEndpoint,
  createEndpoint,
  type Endpoint,
  type EndpointEvent,
  type EndpointFacts,
  type EndpointState,
  endpointPrefixes,
} from "./endpoint.ts";
export {
  createEndpointIds,
  type EndpointIds,
  endpointOfInterface,
  hostInterfaceName,
  macAddress,
} from "./endpoint-ids.ts";
export { formatEndpointRecord, parseEndpointRecord } from "./record.ts";
