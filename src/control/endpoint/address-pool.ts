/** IPAM of one node and family: which address of the pod CIDR is whose. */
import { addressAt, formatAddress, type IpAddress, type Prefix, prefixContains } from "#core/model";

/** The addresses of one pod CIDR. */
export interface AddressPool {
  readonly prefix: Prefix;
  /** How many addresses can be given out in all. */
  readonly capacity: number;
  readonly used: number;
  /** The next free address; undefined if there is none. An address that was given back comes last: peers may still hold state about it. */
  allocate(): IpAddress | undefined;
  /** Takes a certain address, as after a restart; false if it is taken, reserved or not of this prefix. Later allocations go on behind it. */
  claim(address: IpAddress): boolean;
  /** Gives an address back; no error if it was not taken. */
  release(address: IpAddress): void;
}

/** The largest number of addresses a pool walks through; an IPv6 prefix has more than any node has endpoints. */
const maxHosts = 65_536;

/** The router's address: the first one behind the network's own. */
export function routerAddress(prefix: Prefix): IpAddress {
  return addressAt(prefix, 1);
}

/** A pool over a prefix; the network's own address, the router's and (IPv4) the last one are never given out. */
export function createAddressPool(prefix: Prefix): AddressPool {
  const bits = (prefix.family === 4 ? 32 : 128) - prefix.length;
  const size = bits >= 16 ? maxHosts : 2 ** bits;
  const first = 2;
  const end = prefix.family === 4 ? size - 1 : size;
  const taken = new Set<string>();
  let cursor = first;

  const numberOf = (address: IpAddress): number => {
    const last = prefix.family === 4 ? 4 : 16;
    let n = 0;
    for (let i = 0; i < last; i++) n = (n * 256 + (address.bytes[i]! ^ prefix.bytes[i]!)) % 2 ** 48;
    return n;
  };

  return {
    prefix,
    capacity: Math.max(0, end - first),
    get used() {
      return taken.size;
    },
    allocate() {
      for (let tried = first; tried < end; tried++) {
        if (cursor >= end) cursor = first;
        const address = addressAt(prefix, cursor++);
        const text = formatAddress(address);
        if (taken.has(text)) continue;
        taken.add(text);
        return address;
      }
      return undefined;
    },
    claim(address) {
      const text = formatAddress(address);
      if (!prefixContains(prefix, address) || taken.has(text)) return false;
      const n = numberOf(address);
      if (n < first || n >= end) return false;
      taken.add(text);
      cursor = n + 1;
      return true;
    },
    release(address) {
      taken.delete(formatAddress(address));
    },
  };
}
