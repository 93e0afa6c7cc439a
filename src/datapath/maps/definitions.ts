// The maps of the datapath, as bpf/lib/maps.h defines them. Capacities stand there: they are the object's to say.
import { ct4KeyCodec, ct6KeyCodec, ctEntryCodec, endpointCodec, httpPortKeyCodec, httpPortValueCodec, ipcacheKeyCodec, ipcacheValueCodec, type Metric, metricCodec, natKeyCodec, natValueCodec, nodeConfigCodec, policyEntryCodec, policyKeyCodec } from "#contracts/bpf"; // biome-ignore format: one door
import type { EndpointId } from "#core/model";
import { type BpfMap, MapType } from "#datapath/linux";
import { describeConntrack4, describeConntrack6, describeCounter, describeEndpoint, describeHelperErrors, describeIpcache, describeLearntPort, describeMetric, describeNat, describeNodeConfig, describePolicy } from "./describe.ts"; // biome-ignore format: one door
import { u16, u32, u64 } from "./scalar.ts";
import { type MapDefinition, openTypedMap, type TypedMap } from "./typed-map.ts";

const define = <K, V>(definition: MapDefinition<K, V>): MapDefinition<K, V> => definition;
const add = (a: bigint, b: bigint) => a + b;

/** By the names they have in the kernel. */
export const mapDefinitions = {
  node_config: define({
    name: "node_config",
    type: MapType.ARRAY,
    key: u32,
    value: nodeConfigCodec,
    purpose: "what the whole node shares: policy epoch, addresses, flags; one row",
    writer: "agent",
    reader: "every program, every packet",
    whenFull: "can't be",
    describe: describeNodeConfig,
  }),
  ifaces: define({
    name: "ifaces",
    type: MapType.HASH,
    key: u32,
    value: u16<EndpointId>(),
    purpose: "index of a host-side interface -> the endpoint behind it",
    writer: "agent",
    reader: "endpoint programs, first packets",
    whenFull: "the new endpoint is refused",
    describe: (ifindex, endpoint) => ({ key: ifindex, value: { endpoint } }),
  }),
  endpoints: define({
    name: "endpoints",
    type: MapType.ARRAY,
    key: u32,
    value: endpointCodec,
    purpose: "endpoint number -> interface, identity, addresses, policy set",
    writer: "agent",
    reader: "every program, every packet",
    whenFull: "no greater numbers are given out",
    describe: describeEndpoint,
  }),
  ipcache: define({
    name: "ipcache",
    type: MapType.LPM_TRIE,
    key: ipcacheKeyCodec,
    value: ipcacheValueCodec,
    purpose: "longest prefix -> identity",
    writer: "agent",
    reader: "endpoint programs, first packets",
    whenFull: "the row fails; the address counts as its next wider prefix",
    describe: describeIpcache,
  }),
  policy: define({
    name: "policy",
    type: MapType.LPM_TRIE,
    key: policyKeyCodec,
    value: policyEntryCodec,
    purpose: "(policy set, identity, direction, protocol, port block) -> action",
    writer: "agent, a whole set at a time",
    reader: "endpoint programs, first packets",
    whenFull: "the new set is not activated; the old one stays",
    describe: describePolicy,
  }),
  http_learnt: define({
    name: "http_learnt",
    type: MapType.LRU_HASH,
    key: httpPortKeyCodec,
    value: httpPortValueCodec,
    purpose: "(endpoint, direction, port, peer) -> what was spoken there in place of HTTP/1",
    writer: "endpoint programs",
    reader: "endpoint programs, first packets; agent",
    whenFull: "the longest unused is forgotten, and learnt again",
    describe: describeLearntPort,
  }),
  ct4: define({
    name: "ct4",
    type: MapType.LRU_HASH,
    key: ct4KeyCodec,
    value: ctEntryCodec,
    purpose: "IPv4 connection -> its state",
    writer: "every program",
    reader: "every program",
    whenFull: "the longest silent connection is forgotten, and judged anew if it speaks",
    describe: describeConntrack4,
  }),
  ct6: define({
    name: "ct6",
    type: MapType.LRU_HASH,
    key: ct6KeyCodec,
    value: ctEntryCodec,
    purpose: "IPv6 connection -> its state",
    writer: "every program",
    reader: "every program",
    whenFull: "as ct4",
    describe: describeConntrack6,
  }),
  nat: define({
    name: "nat",
    type: MapType.LRU_HASH,
    key: natKeyCodec,
    value: natValueCodec,
    purpose: "masqueraded connection -> its translation, once for each direction",
    writer: "network programs",
    reader: "network programs",
    whenFull: "the longest silent mapping is forgotten; its connection breaks",
    describe: describeNat,
  }),
  events_lost: define({
    name: "events_lost",
    type: MapType.PERCPU_ARRAY,
    key: u32,
    value: u64,
    purpose: "events that found no room in the ring buffer; one row",
    writer: "every program",
    reader: "observer",
    whenFull: "can't be",
    combine: add,
    describe: describeCounter,
  }),
  metrics: define({
    name: "metrics",
    type: MapType.PERCPU_ARRAY,
    key: u32,
    value: metricCodec,
    purpose: "drop reason * 2 + direction -> packets and bytes; reason 0 = forwarded",
    writer: "every program",
    reader: "agent",
    whenFull: "can't be",
    combine: (a: Metric, b: Metric): Metric => ({ packets: a.packets + b.packets, bytes: a.bytes + b.bytes }),
    describe: describeMetric,
  }),
  helper_errors: define({
    name: "helper_errors",
    type: MapType.PERCPU_ARRAY,
    key: u32,
    value: u64,
    purpose: "place in the programs -> how often a kernel helper failed there",
    writer: "every program",
    reader: "agent",
    whenFull: "can't be",
    combine: add,
    describe: describeHelperErrors,
  }),
} as const;

/** Endpoint that wants socket redirect -> cookie of its namespace. Apart from the others: not every kernel can load its programs. */
export type SocketNetns = TypedMap<number, bigint>;

/** Puts codecs before that map. */
export const socketNetnsMap = (map: BpfMap): SocketNetns =>
  openTypedMap(map, {
    name: "socket_netns",
    type: MapType.HASH,
    key: u32,
    value: u64,
    purpose: "endpoint that wants socket redirect -> cookie of its network namespace",
    writer: "agent",
    reader: "socket programs, once per connection",
    whenFull: "the endpoint's connections go by TCP",
    describe: (endpoint, cookie) => ({ key: { endpoint }, value: { cookie: String(cookie) } }),
  });

/** A map with typed rows, by its kernel name. */
export type MapName = keyof typeof mapDefinitions;

type RowsOf<D> = D extends MapDefinition<infer K, infer V> ? TypedMap<K, V> : never;

/** All maps with typed rows. */
export type DatapathMaps = { readonly [Name in MapName]: RowsOf<(typeof mapDefinitions)[Name]> };

/** Puts codecs before the datapath's maps. Throws RangeError when one is missing or of another shape. */
export function openDatapathMaps(maps: Readonly<Record<string, BpfMap>>): DatapathMaps {
  const open = (name: MapName): unknown => {
    const map = maps[name];
    if (map === undefined) throw new RangeError(`there is no map ${name} among ${Object.keys(maps).join(", ")}`);
    return openTypedMap<never, never>(map, mapDefinitions[name] as unknown as MapDefinition<never, never>);
  };
  const names = Object.keys(mapDefinitions) as MapName[];
  return Object.fromEntries(names.map((name) => [name, open(name)])) as unknown as DatapathMaps;
}
