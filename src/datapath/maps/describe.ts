// Rows as people read them: `tsilium map show`. Plain JSON values; addresses, codes and flags in words.
import { type Ct4Key, type Ct6Key, type CtEntry, CtFlags, CtLeg, Direction, DropReason, type Endpoint, enumName, flagNames, HelperSite, HttpForeign, type HttpPortKey, type HttpPortValue, type IpcacheKey, type IpcacheValue, IpFamily, type Metric, type NatKey, type NatValue, type NodeConfig, NodeFlags, type PolicyEntry, PolicyFlags, type PolicyKey } from "#contracts/bpf"; // biome-ignore format: one door
import { formatAddress, formatPrefix, protocolName } from "#core/model";
import { decodePolicyKey, ipcachePrefix, ipv4Address } from "./keys.ts";

/** One entry as JSON values; undefined for a slot that holds nothing. */
export interface DescribedEntry {
  readonly key: unknown;
  readonly value: unknown;
}

const ipv4 = (number: number) => formatAddress(ipv4Address(number));
const ipv6 = (bytes: Uint8Array) => formatAddress({ family: 6, bytes });
const mac = (bytes: Uint8Array) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
const ended = (address: string, port: number) =>
  address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
/** Counters stay exact: a number as long as JSON can carry it. */
const counter = (value: bigint) => (value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value.toString());

export function describeNodeConfig(_: number, config: NodeConfig): DescribedEntry {
  const { routerIpv4, masqIpv4, routerIpv6, masqIpv6, podCidrIpv4, podMaskIpv4, podCidrIpv6, podPrefixIpv6, flags, ...rest } = config; // biome-ignore format: one row
  return {
    key: 0,
    value: {
      ...rest,
      flags: flagNames(NodeFlags, flags),
      router: [ipv4(routerIpv4), ipv6(routerIpv6)],
      masquerade: [ipv4(masqIpv4), ipv6(masqIpv6)],
      podCidrs: [`${ipv4(podCidrIpv4)}/${bitsOfMask(podMaskIpv4)}`, `${ipv6(podCidrIpv6)}/${podPrefixIpv6}`],
    },
  };
}

export function describeEndpoint(id: number, endpoint: Endpoint): DescribedEntry | undefined {
  if (endpoint.ifindex === 0) return undefined;
  const { ifindex, identity, policySet } = endpoint;
  return {
    key: id,
    value: { ifindex, identity, policySet, ipv4: ipv4(endpoint.ipv4), ipv6: ipv6(endpoint.ipv6), mac: mac(endpoint.mac), hostMac: mac(endpoint.hostMac) }, // biome-ignore format: one row
  };
}

export function describeIpcache(key: IpcacheKey, value: IpcacheValue): DescribedEntry {
  const { identity, endpointId, tunnelEndpoint } = value;
  const tunnel = tunnelEndpoint === 0 ? {} : { tunnelEndpoint: ipv4(tunnelEndpoint) };
  return { key: formatPrefix(ipcachePrefix(key)), value: { identity, ...(endpointId !== 0 && { endpoint: endpointId }), ...tunnel } }; // biome-ignore format: one row
}

export function describePolicy(key: PolicyKey, entry: PolicyEntry): DescribedEntry {
  const { set, identity, direction, protocol, port, portBits } = decodePolicyKey(key);
  const last = port | (0xffff >> portBits);
  const ports = portBits === 0 ? "any" : last === port ? String(port) : `${port}-${last}`;
  return {
    key: { set, direction, identity: identity === 0 ? "any" : identity, protocol: protocolName(protocol), port: ports },
    value: {
      action: actionOf(entry.flags),
      ...(entry.httpProgram !== 0 && { httpProgram: entry.httpProgram }),
      ...(entry.proxyPort !== 0 && { proxyPort: entry.proxyPort }),
      precedence: entry.precedence,
      cookie: entry.cookie,
    },
  };
}

function actionOf(flags: number): string {
  if ((flags & PolicyFlags.AUDIT) !== 0) return "audit";
  if ((flags & PolicyFlags.DENY) !== 0) return "deny";
  if ((flags & PolicyFlags.REDIRECT) !== 0) return "redirect";
  return (flags & PolicyFlags.UNENFORCED) !== 0 ? "allow (not enforced)" : "allow";
}

export function describeLearntPort(key: HttpPortKey, value: HttpPortValue): DescribedEntry {
  return {
    key: {
      endpoint: key.subject,
      direction: key.direction === Direction.INGRESS ? "ingress" : "egress",
      port: key.dport,
      peer: key.peer,
    },
    value: { protocol: enumName(HttpForeign, value.protocol) ?? value.protocol, policySet: value.policySet },
  };
}

export function describeConntrack4(key: Ct4Key, entry: CtEntry): DescribedEntry {
  return conntrack(ended(ipv4(key.addrLo), key.portLo), ended(ipv4(key.addrHi), key.portHi), key, entry);
}

export function describeConntrack6(key: Ct6Key, entry: CtEntry): DescribedEntry {
  return conntrack(ended(ipv6(key.addrLo), key.portLo), ended(ipv6(key.addrHi), key.portHi), key, entry);
}

/** In the initiator's orientation, whichever end is "lo". */
function conntrack(lo: string, hi: string, key: { protocol: number; leg: number }, entry: CtEntry): DescribedEntry {
  const fromLo = (entry.flags & CtFlags.INITIATOR_LO) !== 0;
  return {
    key: {
      source: fromLo ? lo : hi,
      destination: fromLo ? hi : lo,
      protocol: protocolName(key.protocol),
      leg: enumName(CtLeg, key.leg) ?? key.leg,
    },
    value: {
      identities: [entry.srcIdentity, entry.dstIdentity],
      endpoints: [entry.srcEp, entry.dstEp],
      expires: entry.expires,
      epoch: entry.epoch,
      flags: flagNames(CtFlags, entry.flags & ~CtFlags.INITIATOR_LO),
      ...(entry.proxyPort !== 0 && { proxyPort: entry.proxyPort }),
    },
  };
}

export function describeNat(key: NatKey, value: NatValue): DescribedEntry {
  const text = (bytes: Uint8Array) => formatAddress({ family: key.family === IpFamily.IPV4 ? 4 : 6, bytes });
  return {
    key: {
      direction: key.reverse === 0 ? "to world" : "from world",
      protocol: protocolName(key.protocol),
      local: ended(text(key.local), key.localPort),
      remote: ended(text(key.remote), key.remotePort),
    },
    value: { translated: ended(text(value.addr), value.port), lastSeen: value.lastSeen },
  };
}

export function describeMetric(key: number, metric: Metric): DescribedEntry | undefined {
  if (metric.packets === 0n) return undefined;
  const reason = key >> 1;
  return {
    key: {
      reason: reason === 0 ? "FORWARDED" : (enumName(DropReason, reason) ?? reason),
      direction: (key & 1) === Direction.INGRESS ? "ingress" : "egress",
    },
    value: { packets: counter(metric.packets), bytes: counter(metric.bytes) },
  };
}

export function describeHelperErrors(key: number, count: bigint): DescribedEntry | undefined {
  return count === 0n ? undefined : { key: enumName(HelperSite, key) ?? key, value: counter(count) };
}

export function describeCounter(key: number, count: bigint): DescribedEntry {
  return { key, value: counter(count) };
}

/** Leading ones: 0xffffff00 -> 24. */
function bitsOfMask(mask: number): number {
  return Math.clz32(~mask >>> 0);
}
