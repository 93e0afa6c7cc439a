/** Numbers of endpoints: slots of the kernel's `endpoints` array. */
import type { EndpointId } from "#core/model";

/** Gives out endpoint numbers 1 up to `capacity - 1`; a number that was given back comes last. */
export interface EndpointIds {
  /** Undefined if the node is full. */
  allocate(): EndpointId | undefined;
  /** Takes a certain number, as after a restart; false if it is taken or out of range. */
  claim(id: EndpointId): boolean;
  release(id: EndpointId): void;
}

/** Numbers for an array of `capacity` slots; slot 0 means "no endpoint". */
export function createEndpointIds(capacity: number): EndpointIds {
  const taken = new Set<EndpointId>();
  let next = 1;
  return {
    allocate() {
      for (let tried = 1; tried < capacity; tried++) {
        if (next >= capacity) next = 1;
        const id = next++ as EndpointId;
        if (taken.has(id)) continue;
        taken.add(id);
        return id;
      }
      return undefined;
    },
    claim(id) {
      if (!Number.isInteger(id) || id < 1 || id >= capacity || taken.has(id)) return false;
      taken.add(id);
      next = id + 1;
      return true;
    },
    release(id) {
      taken.delete(id);
    },
  };
}

/** Name of the host side of an endpoint's interface pair. */
export function hostInterfaceName(id: EndpointId): string {
  return `tsl${id.toString(16)}`;
}

/** The endpoint whose host side has that name; undefined if it is none of ours. */
export function endpointOfInterface(name: string): EndpointId | undefined {
  const match = /^tsl([1-9a-f][0-9a-f]{0,3})$/.exec(name);
  return match ? (Number.parseInt(match[1]!, 16) as EndpointId) : undefined;
}

/** A MAC address from six random bytes: unicast, locally administered. */
export function macAddress(random: Uint8Array): string {
  const bytes = Array.from(random.subarray(0, 6));
  bytes[0] = (bytes[0]! & 0xfc) | 0x02;
  return bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}
