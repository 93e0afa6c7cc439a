/** The endpoints of this node: made, restored, advanced, forgotten. The one writer of the endpoints' table and their records. */
import { randomBytes } from "node:crypto";
import {
  type AddressPool,
  advanceEndpoint,
  createAddressPool,
  createEndpoint,
  createEndpointIds,
  type Endpoint,
  type EndpointEvent,
  type EndpointFacts,
  formatEndpointRecord,
  macAddress,
  parseEndpointRecord,
} from "#control/endpoint";
import { type EndpointId, formatPrefix, type Prefix } from "#core/model";
import { type ReadableTable, Table, TsiliumError } from "#core/runtime";
import type { RecordFolder } from "./files.ts";

/** What an endpoint is made from. */
type NewEndpoint = Pick<EndpointFacts, "containerId" | "pod" | "netnsPath" | "interfaceName">;

/** The store. */
export interface EndpointStore {
  readonly table: ReadableTable<EndpointId, Endpoint>;
  /** Takes number and addresses and records them. Throws ENDPOINT_EXISTS, NO_FREE_ADDRESS, TOO_MANY_ENDPOINTS. */
  create(wanted: NewEndpoint): Endpoint;
  find(containerId: string): Endpoint | undefined;
  ofPod(namespace: string, name: string): Endpoint | undefined;
  advance(id: EndpointId, event: EndpointEvent): void;
  /** Forgets an endpoint whose kernel state is gone; its number and addresses are free again. */
  remove(id: EndpointId): void;
  /** Names of records that could not be read, for the log. */
  readonly unreadable: readonly string[];
}

/** Opens the store with what the records hold, oldest first so that addresses go on where they were. */
export function createEndpointStore(options: {
  readonly records: RecordFolder;
  readonly podCidr4: Prefix;
  readonly podCidr6: Prefix;
  /** Slots of the kernel's array. */
  readonly capacity: number;
  readonly nowMs: () => number;
}): EndpointStore {
  const { records } = options;
  const table = new Table<EndpointId, Endpoint>("endpoints");
  const ids = createEndpointIds(options.capacity);
  const pools = [createAddressPool(options.podCidr4), createAddressPool(options.podCidr6)] as const;
  const byContainer = new Map<string, EndpointId>();
  const byPod = new Map<string, EndpointId>();
  const podKey = (namespace: string, name: string) => `${namespace}/${name}`;
  const unreadable: string[] = [];

  const keep = (endpoint: Endpoint) => {
    byContainer.set(endpoint.containerId, endpoint.id);
    byPod.set(podKey(endpoint.pod.namespace, endpoint.pod.name), endpoint.id);
    table.set(endpoint.id, endpoint);
  };
  const poolOf = (family: 4 | 6): AddressPool => pools[family === 4 ? 0 : 1];
  const releaseAll = (facts: EndpointFacts) => {
    ids.release(facts.id);
    for (const address of [facts.ipv4, facts.ipv6]) if (address) poolOf(address.family).release(address);
  };

  const restored = records.readAll().map(([name, text]) => ({ name, facts: parseEndpointRecord(text) }));
  for (const { name, facts } of restored.sort((a, b) => (a.facts?.createdAtMs ?? 0) - (b.facts?.createdAtMs ?? 0))) {
    const addresses = [facts?.ipv4, facts?.ipv6].filter((address) => address !== undefined);
    if (!facts || !ids.claim(facts.id)) {
      unreadable.push(name);
      continue;
    }
    // Of another pod CIDR, after a change of settings: it keeps its addresses, which nobody else will be given.
    for (const address of addresses) poolOf(address.family).claim(address);
    keep(createEndpoint(facts));
  }

  return {
    table,
    unreadable,
    create(wanted) {
      if (byContainer.has(wanted.containerId)) {
        throw new TsiliumError("ENDPOINT_EXISTS", `${wanted.containerId} has an endpoint already`, {
          details: { id: byContainer.get(wanted.containerId) },
        });
      }
      const id = ids.allocate();
      if (id === undefined)
        throw new TsiliumError("TOO_MANY_ENDPOINTS", `this node has its ${options.capacity - 1} endpoints already`);
      const [ipv4, ipv6] = pools.map((pool) => pool.allocate());
      if (!ipv4 || !ipv6) {
        for (const address of [ipv4, ipv6]) if (address) poolOf(address.family).release(address);
        ids.release(id);
        const full = pools[ipv4 ? 1 : 0];
        throw new TsiliumError(
          "NO_FREE_ADDRESS",
          `all ${full.capacity} addresses of ${formatPrefix(full.prefix)} are taken; stop workloads or start the agent with a larger --pod-cidr-ipv${full.prefix.family}`,
        );
      }
      const endpoint = createEndpoint({
        ...wanted,
        id,
        mac: macAddress(randomBytes(6)),
        hostMac: macAddress(randomBytes(6)),
        ipv4,
        ipv6,
        createdAtMs: options.nowMs(),
      });
      try {
        records.write(String(id), formatEndpointRecord(endpoint));
      } catch (error) {
        releaseAll(endpoint);
        throw error;
      }
      keep(endpoint);
      return endpoint;
    },
    find: (containerId) => table.get(byContainer.get(containerId) ?? (0 as EndpointId)),
    ofPod: (namespace, name) => table.get(byPod.get(podKey(namespace, name)) ?? (0 as EndpointId)),
    advance(id, event) {
      const endpoint = table.get(id);
      if (endpoint) table.set(id, advanceEndpoint(endpoint, event));
    },
    remove(id) {
      const endpoint = table.get(id);
      if (!endpoint) return;
      records.delete(String(id));
      byContainer.delete(endpoint.containerId);
      const key = podKey(endpoint.pod.namespace, endpoint.pod.name);
      if (byPod.get(key) === id) byPod.delete(key);
      table.delete(id);
      releaseAll(endpoint);
    },
  };
}
