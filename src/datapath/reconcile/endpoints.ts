/** Endpoint rows -> `endpoints[id]`: who an endpoint is and which policy set judges it. One store switches a policy. */
import { type Endpoint, EndpointFlags } from "#contracts/bpf";
import type { EndpointId, IpAddress, NumericIdentity, PolicySetId } from "#core/model";
import { type Operations, Table } from "#core/runtime";
import { ipv4Number } from "#datapath/maps";
import { macBytes, zeroAddress } from "./bytes.ts";
import type { MapDoor } from "./doors.ts";
import type { NodeConfigWriter } from "./epoch.ts";
import type { DesiredPolicySet, PolicySets } from "./policy-sets.ts";

/** What the kernel shall hold about an endpoint whose interface is up. */
export interface EndpointRow {
  readonly ifindex: number;
  readonly identity: NumericIdentity;
  readonly mac: string;
  readonly hostMac: string;
  readonly ipv4?: IpAddress;
  readonly ipv6?: IpAddress;
  readonly policy: DesiredPolicySet;
}

/** What the kernel holds about an endpoint now. */
export interface RealisedEndpoint {
  readonly identity: NumericIdentity;
  readonly policySet: PolicySetId;
  readonly policy: DesiredPolicySet;
}

/** The target of endpoint rows. */
export interface EndpointTarget {
  readonly operations: Operations<EndpointId, EndpointRow>;
  /** What is in force, by endpoint; a row that could not be realised leaves the former one here. */
  readonly realised: Table<EndpointId, RealisedEndpoint>;
}

/** A free slot: every packet of it is dropped. */
const freeSlot: Endpoint = {
  ifindex: 0,
  identity: 0 as NumericIdentity,
  policySet: 0 as PolicySetId,
  id: 0 as EndpointId,
  flags: 0,
  mac: new Uint8Array(6),
  hostMac: new Uint8Array(6),
  ipv4: 0,
  ipv6: zeroAddress,
};

/** Makes the target. The order within a round: sets are written, slots are switched, the epoch is raised, unused sets are deleted. */
export function createEndpointTarget(options: {
  readonly endpoints: MapDoor<number, Endpoint>;
  readonly sets: PolicySets;
  readonly nodeConfig: NodeConfigWriter;
}): EndpointTarget {
  const { endpoints, sets, nodeConfig } = options;
  const realised = new Table<EndpointId, RealisedEndpoint>("realised-endpoints");
  /** Which set each slot of the kernel names, ours or an earlier agent's. */
  const named = new Map<EndpointId, PolicySetId>();
  for (const [index, slot] of endpoints.entries())
    if (slot.ifindex !== 0) named.set(index as EndpointId, slot.policySet);
  let changed = false;

  const store = (id: EndpointId, slot: Endpoint) => {
    const before = endpoints.get(id);
    if (before && sameSlot(before, slot)) return;
    endpoints.set(id, slot);
    changed = true;
  };

  return {
    realised,
    operations: {
      update(id, row) {
        const policySet = sets.acquire(row.policy);
        store(id, {
          ifindex: row.ifindex,
          identity: row.identity,
          policySet,
          id,
          flags: (row.ipv4 ? EndpointFlags.IPV4 : 0) | (row.ipv6 ? EndpointFlags.IPV6 : 0),
          mac: macBytes(row.mac),
          hostMac: macBytes(row.hostMac),
          ipv4: row.ipv4 ? ipv4Number(row.ipv4) : 0,
          ipv6: row.ipv6?.bytes ?? zeroAddress,
        });
        named.set(id, policySet);
        realised.set(id, { identity: row.identity, policySet, policy: row.policy });
      },
      delete(id) {
        store(id, freeSlot);
        named.delete(id);
        realised.delete(id);
      },
      prune(rows) {
        for (const id of named.keys()) {
          if (rows.has(id)) continue;
          store(id, freeSlot);
          named.delete(id);
        }
      },
      settled() {
        if (changed) nodeConfig.raiseEpoch();
        changed = false;
        sets.collect(new Set(named.values()));
      },
    },
  };
}

function sameSlot(a: Endpoint, b: Endpoint): boolean {
  const equal = (x: Uint8Array, y: Uint8Array) => x.every((byte, i) => byte === y[i]);
  return (
    a.ifindex === b.ifindex &&
    a.identity === b.identity &&
    a.policySet === b.policySet &&
    a.id === b.id &&
    a.flags === b.flags &&
    a.ipv4 === b.ipv4 &&
    equal(a.mac, b.mac) &&
    equal(a.hostMac, b.hostMac) &&
    equal(a.ipv6, b.ipv6)
  );
}
