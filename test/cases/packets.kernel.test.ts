/**
 * What single packets meet in the kernel: a sentence, what is sent, what becomes of the last packet, and every event that
 * it causes. Each row starts without connections, under the policy below.
 */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import {
  Direction,
  DropReason,
  EventFlags,
  EventType,
  enumName,
  NodeFlags,
  SkbMark,
  Verdict,
  type VerdictEvent,
} from "#contracts/bpf";
import type { EndpointId, PolicySetId } from "#core/model";
import { type PacketLayers, packet } from "../packet/index.ts";
import { DatapathRig, type Outcome, type RigDevice, TcAction } from "../packet/rig.ts";
import { casePods, loadIntoKernel } from "./bpf-runner.ts";
import { parseCaseFile } from "./case-file.ts";
import { loadCase } from "./run-case.ts";

/** A case of three endpoints; `rules` are the server's. */
const caseText = (rules: string, options = "") => `${options}
-- policy.yaml --
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: default}
spec:
  endpointSelector: {matchLabels: {app: server}}
  ${rules.trim().replaceAll("\n", "\n  ")}
-- endpoints --
name    labels      ip                    identity
client  app=client  10.0.1.10,fd00:1::10  1001
server  app=server  10.0.1.20,fd00:1::20  1002
other   app=other   10.0.1.30,fd00:1::30  1003
`;
const usual = `
ingress:
- fromEndpoints: [{matchLabels: {app: client}}]
  toPorts:
  - ports: [{port: "80"}, {port: "1000", endPort: 1999, protocol: TCP}]
- fromEndpoints: [{matchLabels: {app: client}}]
  toPorts:
  - ports: [{port: "8080", protocol: TCP}]
    rules: {http: [{method: GET}]}
- fromEndpoints: [{matchLabels: {app: client}}]
  icmps: [{fields: [{type: 8}, {type: 128, family: IPv6}]}]
- fromEndpoints: [{matchLabels: {app: other}}]
  toPorts:
  - ports: [{port: "80", protocol: TCP}]
- fromCIDR: ["192.0.2.0/24", "2001:db8::/32"]
  toPorts:
  - ports: [{port: "443", protocol: TCP}]
ingressDeny:
- fromEndpoints: [{matchLabels: {app: other}}]
- fromEndpoints: [{matchLabels: {app: client}}]
  toPorts:
  - ports: [{port: "1500", protocol: TCP}]
`;
const cases = {
  usual: caseText(usual),
  audit: caseText(usual, "-- options --\naudit: true"),
  closed: caseText("ingress: [{}]"),
  http: caseText(`
ingress:
- fromEndpoints: [{matchLabels: {app: client}}]
  toPorts:
  - ports: [{port: "80", protocol: TCP}]
    rules: {http: [{method: GET}]}
`),
};

const client = { 4: "10.0.1.10", 6: "fd00:1::10" } as const;
const server = { 4: "10.0.1.20", 6: "fd00:1::20" } as const;
const other = { 4: "10.0.1.30", 6: "fd00:1::30" } as const;
const world = { 4: "192.0.2.7", 6: "2001:db8::7" } as const;
const host = { 4: "10.0.0.1", 6: "fd00::1" } as const;
/** Of the node's device, when it masquerades. */
const masquerade = ["192.0.2.1", "2001:db8::1"] as const;

type Ends = Readonly<Record<4 | 6, string>>;
const v4 = (from: Ends, to: Ends, more: object = {}): PacketLayers => ({
  ipv4: { source: from[4], destination: to[4], ...more },
});
const v6 = (from: Ends, to: Ends, more: object = {}): PacketLayers => ({
  ipv6: { source: from[6], destination: to[6], ...more },
});
const to4 = (address: string): PacketLayers => ({ ipv4: { source: client[4], destination: address } });
const to6 = (address: string): PacketLayers => ({ ipv6: { source: client[6], destination: address } });
const tcp = (destination: number, flags = "S", source = 40_000): PacketLayers => ({
  tcp: { source, destination, flags },
});
const udp = (destination: number, source = 40_000): PacketLayers => ({ udp: { source, destination } });
const icmp = (type: number, id = 7): PacketLayers => ({ icmp: { type, id } });
const payload = (...bytes: number[]): PacketLayers => ({ payload: Uint8Array.from(bytes) });
/** As an ICMP error quotes it. */
const quoting = (...layers: PacketLayers[]): PacketLayers => ({
  payload: packet(Object.assign({}, ...layers)).subarray(14),
});
const extension = (type: number, ...bytes: number[]) => ({ type, bytes: Uint8Array.from(bytes) });
const fragment6 = (offset: number, more: boolean) => ({
  extensions: [extension(44, 0, 0, offset >> 8, (offset & 0xf8) | Number(more), 0, 0, 0, 9)],
});
const eightBytes = payload(1, 2, 3, 4, 5, 6, 7, 8);
const solicitation = (target: string): PacketLayers => ({
  icmp: { type: 135 },
  payload: packet({ ipv6: { source: target, destination: target } }).subarray(22, 38),
});

/** A packet on its way, or something that happens between packets. */
type Step = ((rig: DatapathRig) => Outcome) | ((rig: DatapathRig) => Promise<void>);

type Place = (
  rig: DatapathRig,
) => Parameters<DatapathRig["run"]> extends [infer Hook, ...unknown[]]
  ? { readonly hook: Hook; readonly device: RigDevice; readonly from?: RigDevice; readonly mark?: number }
  : never;
const sender =
  (place: Place) =>
  (...layers: readonly PacketLayers[]): Step =>
    sendBytes(place, (frame) => packet({ ethernet: frame, ...Object.assign({}, ...layers) }));
const sendBytes =
  (place: Place, bytes: (frame: NonNullable<PacketLayers["ethernet"]>) => Uint8Array): Step =>
  (rig: DatapathRig): Outcome => {
    const { hook, device, ...more } = place(rig);
    const inwards = hook === "to_endpoint" || hook === "to_network";
    const { mac, hostMac } = device;
    return rig.run(
      hook,
      device,
      bytes(inwards ? { source: hostMac, destination: mac } : { source: mac, destination: hostMac }),
      more,
    );
  };
const fromClient: Place = (rig) => ({ hook: "from_endpoint", device: rig.endpoints[0]! });
const fromServer: Place = (rig) => ({ hook: "from_endpoint", device: rig.endpoints[1]! });
const fromOther: Place = (rig) => ({ hook: "from_endpoint", device: rig.endpoints[2]! });
const clientSends = sender(fromClient);
const serverSends = sender(fromServer);
const otherSends = sender(fromOther);
const strangerSends = sender((rig) => ({ hook: "from_endpoint", device: rig.world }));
const hostSendsToServer = sender((rig) => ({ hook: "to_endpoint", device: rig.endpoints[1]! }));
const forwardedToServer = sender((rig) => ({ hook: "to_endpoint", device: rig.endpoints[1]!, from: rig.world }));
const proxySendsToServer = sender((rig) => ({
  hook: "to_endpoint",
  device: rig.endpoints[1]!,
  mark: SkbMark.FROM_PROXY,
}));
const worldSends = sender((rig) => ({ hook: "from_network", device: rig.world }));
const leavesTheNode = sender((rig) => ({ hook: "to_network", device: rig.world }));

/** A client's frame with some of its bytes cut off or changed. */
const clientSendsCut = (length: number, ...layers: readonly PacketLayers[]) =>
  sendBytes(fromClient, (frame) => packet({ ethernet: frame, ...Object.assign({}, ...layers) }).subarray(0, length));
const clientSendsVersion = (version: number, ...layers: readonly PacketLayers[]) =>
  sendBytes(fromClient, (frame) => {
    const bytes = Uint8Array.from(packet({ ethernet: frame, ...Object.assign({}, ...layers) }));
    bytes[14] = (version << 4) | (bytes[14]! & 15);
    return bytes;
  });

const policy =
  (name: keyof typeof cases, proxyPort?: number) =>
  async (rig: DatapathRig): Promise<void> => {
    const file = parseCaseFile(cases[name]);
    await loadIntoKernel(rig, file, loadCase(file), proxyPort);
  };
const newEpoch = async (rig: DatapathRig): Promise<void> => rig.nodeConfig.raiseEpoch();
const flags = (bits: number) => async (rig: DatapathRig) => rig.configure(casePods, bits, masquerade);
const masquerading = flags(NodeFlags.MASQ_IPV4 | NodeFlags.MASQ_IPV6);
const listening = (port: number) => async (rig: DatapathRig) => {
  rig.listen("0.0.0.0", port);
};
const serverSlot = (change: object) => async (rig: DatapathRig) =>
  rig.maps.endpoints.set(2, { ...rig.maps.endpoints.get(2)!, ...change });

const web4 = [v4(client, server), tcp(80)];
const web6 = [v6(client, server), tcp(80)];
/** A connection of the client to the server's port 80, both sides having spoken. */
const established: readonly Step[] = [
  clientSends(...web4),
  serverSends(v4(server, client), tcp(40_000, "SA", 80)),
  clientSends(v4(client, server), tcp(80, "A")),
];
const fin = [clientSends(v4(client, server), tcp(80, "FA")), serverSends(v4(server, client), tcp(40_000, "FA", 80))];

/** `delivered`: into a workload; `stack`: to the host's stack, or out of the hook unharmed; `not ours`: to the next program. */
type Result = "delivered" | "stack" | "dropped" | "not ours";
const results: Readonly<Record<Result, number>> = {
  delivered: TcAction.REDIRECT,
  stack: TcAction.OK,
  dropped: TcAction.SHOT,
  "not ours": TcAction.UNSPEC,
};

/** Events in words: `DROP reason`, `direction VERDICT [reason] [flag...]`, `TRACE`. */
type Row = readonly [sentence: string, steps: Step | readonly Step[], result: Result, ...events: readonly string[]];
const forwarded = ["egress FORWARDED unenforced", "ingress FORWARDED"] as const;
const denied = ["egress FORWARDED unenforced", "ingress DROPPED POLICY_DENIED"] as const;
const refused = ["egress FORWARDED unenforced", "ingress DROPPED POLICY_DENY"] as const;

// biome-ignore format: a table
const rows: readonly Row[] = [
  // Judging the first packet
  ["an allowed SYN is delivered", clientSends(...web4), "delivered", ...forwarded],
  ["an allowed SYN is delivered, IPv6", clientSends(...web6), "delivered", ...forwarded],
  ["a port that no entry names is denied", clientSends(v4(client, server), tcp(81)), "dropped", ...denied],
  ["UDP is not TCP", clientSends(v4(client, server), udp(1000)), "dropped", ...denied],
  ["the port below a range is denied", clientSends(v4(client, server), tcp(999)), "dropped", ...denied],
  ["the first port of a range is allowed", clientSends(v4(client, server), tcp(1000)), "delivered", ...forwarded],
  ["the last port of a range is allowed", clientSends(v4(client, server), tcp(1999)), "delivered", ...forwarded],
  ["the port above a range is denied", clientSends(v4(client, server), tcp(2000)), "dropped", ...denied],
  ["a narrow deny inside a broad allow denies", clientSends(v4(client, server), tcp(1500)), "dropped", ...refused],
  ["a narrow allow inside a broad deny does not allow", otherSends(v4(other, server), tcp(80)), "dropped", ...refused],
  ["SCTP has ports", clientSends(v4(client, server), { sctp: { source: 5, destination: 80 } }), "delivered", ...forwarded],
  ["port 0 as a destination is a port like any other", clientSends(v4(client, server), tcp(0)), "dropped", ...denied],
  ["in audit mode what would be denied is delivered and told", [policy("audit"), clientSends(v4(client, server), tcp(81))], "delivered", "egress FORWARDED unenforced", "ingress AUDIT"],
  ["an endpoint without a policy set is closed", [serverSlot({ policySet: 0 as PolicySetId }), clientSends(...web4)], "dropped", "egress FORWARDED unenforced", "ingress DROPPED EP_NOT_READY"],
  ["an endpoint whose slot is free is no destination", [serverSlot({ ifindex: 0, id: 0 as EndpointId }), clientSends(...web4)], "dropped", "DROP STALE_OR_UNROUTABLE"],
  ["an endpoint whose slot is free sends nothing", [serverSlot({ ifindex: 0, id: 0 as EndpointId }), serverSends(v4(server, client), tcp(1))], "dropped", "DROP EP_NOT_READY"],
  ["a kernel's first words on an interface whose slot is free end silently", [serverSlot({ ifindex: 0, id: 0 as EndpointId }), serverSends({ ipv6: { source: "fe80::2", destination: "ff02::2" } }, icmp(133))], "dropped"],
  ["an interface that is no endpoint's sends nothing", strangerSends(...web4), "dropped", "DROP EP_NOT_READY"],

  // Who is who
  ["the host may come in", hostSendsToServer(v4(host, server), tcp(9)), "stack", "ingress FORWARDED"],
  ["the host's address from outside is the world's", forwardedToServer(v4(host, server), tcp(9)), "dropped", "ingress DROPPED POLICY_DENIED"],
  ["the host's address from outside is the world's, at the node's device", worldSends(v6(host, server), tcp(9)), "dropped", "ingress DROPPED POLICY_DENIED"],
  ["the world comes in where a CIDR lets it", forwardedToServer(v4(world, server), tcp(443)), "stack", "ingress FORWARDED"],
  ["the world comes in where a CIDR lets it, at the node's device", worldSends(v6(world, server), tcp(443)), "delivered", "ingress FORWARDED"],
  ["the world is denied elsewhere", worldSends(v4(world, server), tcp(80)), "dropped", "ingress DROPPED POLICY_DENIED"],
  ["a pod's address from outside is forged", forwardedToServer(v4(client, server), tcp(80)), "dropped", "DROP INVALID_SOURCE_IP"],
  ["a pod's address from outside is forged, at the node's device", worldSends(v6(client, server), tcp(80)), "dropped", "DROP INVALID_SOURCE_IP"],
  ["a workload with another's address is stopped", clientSends(v4(other, server), tcp(80)), "dropped", "DROP INVALID_SOURCE_IP"],
  ["a workload with another's address is stopped, IPv6", clientSends(v6(other, server), tcp(80)), "dropped", "DROP INVALID_SOURCE_IP"],
  ["a workload with the host's address is stopped", clientSends(v4(host, server), tcp(80)), "dropped", "DROP INVALID_SOURCE_IP"],
  ["a source of 127.0.0.1 is stopped", clientSends({ ipv4: { source: "127.0.0.1", destination: server[4] } }, tcp(80)), "dropped", "DROP INVALID_SOURCE_IP"],
  ["a source of ::1 is stopped", clientSends({ ipv6: { source: "::1", destination: server[6] } }, tcp(80)), "dropped", "DROP INVALID_SOURCE_IP"],
  ["a source of 0.0.0.0 is stopped", clientSends({ ipv4: { source: "0.0.0.0", destination: "255.255.255.255" } }, udp(67, 68)), "dropped", "DROP INVALID_SOURCE_IP"],
  ["a link-local source is stopped", clientSends({ ipv6: { source: "fe80::2", destination: server[6] } }, tcp(80)), "dropped", "DROP INVALID_SOURCE_IP"],
  ["a link-local source to a group ends silently", clientSends({ ipv6: { source: "fe80::2", destination: "ff02::fb" } }, udp(5353)), "dropped"],
  ["127.0.0.1 as destination is not in a pod: the stack refuses it", clientSends(to4("127.0.0.1"), tcp(80)), "stack", "egress FORWARDED unenforced"],
  ["a pod address that nobody has is unroutable", clientSends(to4("10.0.1.99"), tcp(80)), "dropped", "DROP STALE_OR_UNROUTABLE"],
  ["a pod address that nobody has is unroutable, IPv6", clientSends(to6("fd00:1::99"), tcp(80)), "dropped", "DROP STALE_OR_UNROUTABLE"],
  ["a packet routed to the wrong workload is unroutable", hostSendsToServer(v4(host, client), tcp(80)), "dropped", "DROP STALE_OR_UNROUTABLE"],
  ["a packet of a workload to a group ends at the hook", clientSends(to4("224.0.0.251"), udp(5353)), "dropped", "DROP STALE_OR_UNROUTABLE"],
  ["a packet of a workload to everybody ends at the hook", clientSends(to4("255.255.255.255"), udp(67, 68)), "dropped", "DROP STALE_OR_UNROUTABLE"],
  ["a packet to a group never enters a workload", hostSendsToServer({ ipv4: { source: host[4], destination: "224.0.0.1" } }, udp(5353)), "dropped"],
  ["a packet to an IPv6 group never enters a workload", forwardedToServer({ ipv6: { source: world[6], destination: "ff02::1" } }, udp(5353)), "dropped"],

  // Frames (a frame shorter than its IP header can't be fed to a test run: the kernel refuses it)
  ["a VLAN tag is refused", clientSends({ ethernet: { vlans: [7] } }, ...web4), "dropped", "DROP UNSUPPORTED_L2"],
  ["two VLAN tags are refused", clientSends({ ethernet: { vlans: [7, 8] } }, ...web4), "dropped", "DROP UNSUPPORTED_L2"],
  ["an unknown ethertype is refused", clientSends(payload(1, 2, 3)), "dropped", "DROP UNSUPPORTED_L3"],
  ["version 6 in an IPv4 frame is refused", clientSendsVersion(6, ...web4), "dropped", "DROP INVALID_PACKET"],
  ["version 4 in an IPv6 frame is refused", clientSendsVersion(4, ...web6), "dropped", "DROP INVALID_PACKET"],

  // Lengths
  ["an IPv4 length beyond the frame is refused", clientSends(v4(client, server, { totalLength: 41 }), tcp(80)), "dropped", "DROP INVALID_PACKET"],
  ["an IPv4 length below its header is refused", clientSends(v4(client, server, { totalLength: 19 }), tcp(80)), "dropped", "DROP INVALID_PACKET"],
  ["four header words are too few", clientSends(v4(client, server, { headerWords: 4 }), tcp(80)), "dropped", "DROP INVALID_PACKET"],
  ["header words beyond the length are refused", clientSends(v4(client, server, { headerWords: 15 }), tcp(80)), "dropped", "DROP INVALID_PACKET"],
  ["bytes behind the IPv4 length are padding", clientSends(v4(client, server, { totalLength: 40 }), tcp(80), eightBytes), "delivered", ...forwarded],
  ["ports are read behind IPv4 options", clientSends(v4(client, server, { options: Uint8Array.of(1, 1, 1, 0) }), tcp(80)), "delivered", ...forwarded],
  ["a port in IPv4 options is no port", clientSends(v4(client, server, { options: Uint8Array.of(156, 64, 0, 80) }), tcp(81)), "dropped", ...denied],
  ["an IPv6 length beyond the frame is refused", clientSends(v6(client, server, { payloadLength: 21 }), tcp(80)), "dropped", "DROP INVALID_PACKET"],
  ["a TCP header cut short is refused", clientSends(v4(client, server, { totalLength: 39 }), tcp(80)), "dropped", "DROP CT_INVALID_HEADER"],
  ["a TCP header cut short is refused, IPv6", clientSends(v6(client, server, { payloadLength: 19 }), tcp(80)), "dropped", "DROP CT_INVALID_HEADER"],
  ["a TCP header of four words is refused", clientSends(v4(client, server), { tcp: { source: 40_000, destination: 80, headerWords: 4 } }), "dropped", "DROP CT_INVALID_HEADER"],
  ["a UDP header cut short is refused", clientSends(v4(client, server, { totalLength: 27 }), udp(80)), "dropped", "DROP CT_INVALID_HEADER"],
  ["an ICMP header cut short is refused", clientSends(v4(client, server, { totalLength: 27 }), icmp(8)), "dropped", "DROP CT_INVALID_HEADER"],

  // Protocols and extension headers
  ["GRE is no protocol that we track", clientSends(v4(client, server, { protocol: 47 }), eightBytes), "dropped", "DROP UNKNOWN_L4"],
  ["ESP is no protocol that we track, IPv6", clientSends(v6(client, server, { nextHeader: 50 }), eightBytes), "dropped", "DROP UNKNOWN_L4"],
  ["ICMPv6 in IPv4 is refused", clientSends(v4(client, server, { protocol: 58 }), eightBytes), "dropped", "DROP UNKNOWN_L4"],
  ["ICMP in IPv6 is refused", clientSends(v6(client, server, { nextHeader: 1 }), eightBytes), "dropped", "DROP UNKNOWN_L4"],
  ["an IPv6 packet without a next header is refused", clientSends(v6(client, server, { nextHeader: 59 })), "dropped", "DROP UNKNOWN_L4"],
  ["hop-by-hop options are refused", clientSends(v6(client, server, { extensions: [extension(0, 0, 0, 1, 4, 0, 0, 0, 0)] }), tcp(80)), "dropped", "DROP IPV6_EXTENSION_HEADER"],
  ["destination options are refused", clientSends(v6(client, server, { extensions: [extension(60, 0, 0, 1, 4, 0, 0, 0, 0)] }), tcp(80)), "dropped", "DROP IPV6_EXTENSION_HEADER"],
  ["a routing header is refused", clientSends(v6(client, server, { extensions: [extension(43, 0, 0, 0, 0, 0, 0, 0, 0)] }), tcp(80)), "dropped", "DROP IPV6_EXTENSION_HEADER"],
  ["an authentication header is refused", clientSends(v6(client, server, { extensions: [extension(51, 0, 0, 0, 0, 0, 0, 0, 0)] }), tcp(80)), "dropped", "DROP IPV6_EXTENSION_HEADER"],
  ["a second header behind a fragment header is refused", clientSends(v6(client, server, { extensions: [extension(44, 0, 0, 0, 0, 0, 0, 0, 9), extension(60, 0, 0, 1, 4, 0, 0, 0, 0)] }), tcp(80)), "dropped", "DROP UNKNOWN_L4"],
  ["a multicast report ends silently", clientSends({ ipv6: { source: "fe80::2", destination: "ff02::16", extensions: [extension(0, 0, 0, 5, 2, 0, 0, 1, 0)] } }, { icmp: { type: 143 } }), "dropped"],

  // Fragments
  ["a first fragment is judged by its ports", clientSends(v4(client, server, { moreFragments: true }), udp(80), eightBytes), "delivered", ...forwarded],
  ["a later fragment follows its first", [clientSends(v4(client, server, { moreFragments: true }), udp(80), eightBytes), clientSends(v4(client, server, { protocol: 17, fragmentOffset: 16 }), eightBytes)], "delivered"],
  ["a later fragment follows its first, IPv6", [clientSends(v6(client, server, fragment6(0, true)), udp(80), eightBytes), clientSends(v6(client, server, { ...fragment6(16, false), nextHeader: 17 }), eightBytes)], "delivered"],
  ["a later fragment of a denied datagram is denied", [clientSends(v4(client, server, { id: 2, moreFragments: true }), udp(81), eightBytes), clientSends(v4(client, server, { id: 2, protocol: 17, fragmentOffset: 16 }), eightBytes)], "dropped", ...denied],
  ["a later fragment without its first is refused", clientSends(v4(client, server, { id: 3, protocol: 17, fragmentOffset: 16 }), eightBytes), "dropped", "DROP FRAGMENT"],
  ["a later fragment without its first is refused, IPv6", clientSends(v6(client, server, { extensions: [extension(44, 0, 0, 0, 16, 0, 0, 0, 3)], nextHeader: 17 }), eightBytes), "dropped", "DROP FRAGMENT"],
  ["a later fragment that begins like a known connection's header is refused all the same", [clientSends(v4(client, server), udp(80)), serverSends(v4(server, client), udp(40_000, 80)), clientSends(v4(client, server, { id: 6, protocol: 17, fragmentOffset: 16 }), payload(0x9c, 0x40, 0, 80, 0, 8, 0, 0))], "dropped", "DROP FRAGMENT"],
  ["a fragment over a TCP header is refused", clientSends(v4(client, server, { id: 4, protocol: 6, fragmentOffset: 8 }), eightBytes), "dropped", "DROP INVALID_PACKET"],
  ["a first fragment without its whole TCP header is refused", clientSends(v4(client, server, { id: 5, protocol: 6, moreFragments: true }), eightBytes), "dropped", "DROP CT_INVALID_HEADER"],
  ["an atomic IPv6 fragment is a whole datagram", clientSends(v6(client, server, fragment6(0, false)), tcp(80)), "delivered", ...forwarded],

  // Replies and the life of a connection
  ["the same SYN again causes no event", [clientSends(...web4), clientSends(...web4)], "delivered"],
  ["an answer passes without a verdict", [clientSends(...web4), serverSends(v4(server, client), tcp(40_000, "SA", 80))], "delivered"],
  ["an answer passes without a verdict, IPv6", [clientSends(...web6), serverSends(v6(server, client), tcp(40_000, "SA", 80))], "delivered"],
  ["data on a standing connection causes no event", [...established, clientSends(v4(client, server), tcp(80, "PA"), eightBytes)], "delivered"],
  ["a UDP answer passes without a verdict", [clientSends(v4(client, server), udp(80)), serverSends(v4(server, client), udp(40_000, 80))], "delivered"],
  ["an answer to nobody is judged by its own port", clientSends(v4(client, server), tcp(40_000, "SA", 80)), "dropped", ...denied],
  ["TCP without SYN is judged: a connection older than us goes on", clientSends(v4(client, server), tcp(80, "A")), "delivered", ...forwarded],
  ["TCP without SYN is judged: and denied", clientSends(v4(client, server), tcp(81, "A")), "dropped", ...denied],
  ["a SYN-ACK opens no connection: it is judged each time", [clientSends(v4(client, server), tcp(80, "SA")), clientSends(v4(client, server), tcp(80, "SA"))], "delivered", ...forwarded],
  ["a RST opens no connection: it is judged each time", [clientSends(v4(client, server), tcp(80, "R")), clientSends(v4(client, server), tcp(80, "R"))], "delivered", ...forwarded],
  ["FINs belong to the connection", [...established, ...fin], "delivered"],
  ["the last ACK after both FINs passes without a verdict", [...established, ...fin, clientSends(v4(client, server), tcp(80, "A"))], "delivered"],
  ["a SYN after both FINs is a new connection", [...established, ...fin, clientSends(...web4)], "delivered", ...forwarded],
  ["a SYN after a RST is a new connection", [...established, serverSends(v4(server, client), tcp(40_000, "RA", 80)), clientSends(...web4)], "delivered", ...forwarded],
  ["a SYN on a standing connection is a new one", [...established, clientSends(...web4)], "delivered", ...forwarded],
  ["a SYN against the connection's direction is judged as what it is", [serverSends(v4(server, client), tcp(5000, "S", 99)), clientSends(v4(client, server), tcp(99, "S", 5000))], "dropped", ...denied],
  ["the end of a connection is told if wanted", [flags(NodeFlags.TRACE_CLOSE), ...established, serverSends(v4(server, client), tcp(40_000, "RA", 80))], "delivered", "TRACE"],
  ["the end of a connection is told once", [flags(NodeFlags.TRACE_CLOSE), ...established, ...fin, serverSends(v4(server, client), tcp(40_000, "RA", 80))], "delivered"],
  ["a connection from the world is answered", [worldSends(v4(world, server), tcp(443)), serverSends(v4(server, world), tcp(40_000, "SA", 443))], "stack"],
  ["an answer of the world reaches the workload", [clientSends(v4(client, world), tcp(443)), worldSends(v4(world, client), tcp(40_000, "SA", 443))], "delivered"],

  // Policy changes
  ["a new epoch alone is not noticed", [...established, newEpoch, clientSends(v4(client, server), tcp(80, "A"))], "delivered"],
  ["a new epoch alone is not noticed by the answer", [...established, newEpoch, serverSends(v4(server, client), tcp(40_000, "A", 80))], "delivered"],
  ["a new epoch alone is not noticed by a ping's answer", [clientSends(v6(client, server), icmp(128)), newEpoch, serverSends(v6(server, client), icmp(129))], "delivered"],
  ["a revoked allow cuts the connection", [...established, policy("closed"), clientSends(v4(client, server), tcp(80, "A"))], "dropped", "ingress DROPPED POLICY_DENIED rejudged"],
  ["a revoked allow cuts the connection at its answer, too", [...established, policy("closed"), serverSends(v4(server, client), tcp(40_000, "A", 80))], "dropped", "ingress DROPPED POLICY_DENIED reply rejudged"],
  ["more packets of a cut connection end silently", [...established, policy("closed"), clientSends(v4(client, server), tcp(80, "A")), clientSends(v4(client, server), tcp(80, "A"))], "dropped"],
  ["the other side does not revive a cut connection", [...established, policy("closed"), clientSends(v4(client, server), tcp(80, "A")), serverSends(v4(server, client), tcp(40_000, "A", 80))], "dropped"],
  ["an allow given back revives the connection", [...established, policy("closed"), clientSends(v4(client, server), tcp(80, "A")), policy("usual"), clientSends(v4(client, server), tcp(80, "A"))], "delivered", "egress FORWARDED rejudged unenforced", "ingress FORWARDED rejudged"],
  ["a revoked allow cuts UDP, too", [clientSends(v4(client, server), udp(80)), policy("closed"), serverSends(v4(server, client), udp(40_000, 80))], "dropped", "ingress DROPPED POLICY_DENIED reply rejudged"],
  ["a revoked allow cuts pings, too", [clientSends(v6(client, server), icmp(128)), policy("closed"), serverSends(v6(server, client), icmp(129))], "dropped", "ingress DROPPED POLICY_DENIED reply rejudged"],
  ["a connection that stands can't be handed to the proxy", [...established, policy("http"), clientSends(v4(client, server), tcp(80, "A"))], "dropped", "DROP PROXY_LOOKUP_FAILED"],

  // ICMP
  ["an echo is judged by its type", clientSends(v4(client, server), icmp(8)), "delivered", ...forwarded],
  ["an echo is judged by its type, IPv6", clientSends(v6(client, server), icmp(128)), "delivered", ...forwarded],
  ["an echo's answer passes without a verdict", [clientSends(v4(client, server), icmp(8)), serverSends(v4(server, client), icmp(0))], "delivered"],
  ["an echo's answer with another id was not asked for", [serverSends(v4(server, client), icmp(8, 7)), clientSends(v4(client, server), icmp(0, 8))], "dropped", ...denied],
  ["a timestamp request is judged by its type", clientSends(v4(client, server), icmp(13)), "dropped", ...denied],
  ["an error about a known connection passes", [serverSends(v4(server, client), udp(53)), clientSends(v4(client, server), icmp(3), quoting(v4(server, client), udp(53)))], "delivered"],
  ["an error about a known connection passes, IPv6", [serverSends(v6(server, client), udp(53)), clientSends(v6(client, server), icmp(1), quoting(v6(server, client), udp(53)))], "delivered"],
  ["an error about an unknown connection is judged", clientSends(v4(client, server), icmp(3), quoting(v4(server, client), udp(53))), "dropped", ...denied],
  ["an error about somebody else's connection is judged", [serverSends(v4(server, client), udp(53)), otherSends(v4(other, server), icmp(3), quoting(v4(server, client), udp(53)))], "dropped", ...refused],
  ["an error that quotes a packet its receiver never sent is judged", [clientSends(v4(client, server), udp(80)), clientSends(v4(client, server), icmp(3), quoting(v4(client, server), udp(80)))], "dropped", ...denied],
  ["an error sent to somebody whom it does not concern is judged", [serverSends(v4(server, client), udp(53)), clientSends(v4(client, other), icmp(3), quoting(v4(server, client), udp(53)))], "delivered", "egress FORWARDED unenforced", "ingress FORWARDED unenforced"],
  ["an error without a quotation is judged", clientSends(v4(client, server), icmp(3)), "dropped", ...denied],
  ["a router's error from the world passes", [serverSends(v6(server, world), tcp(443)), worldSends({ ipv6: { source: "2001:db8:9::1", destination: server[6] } }, icmp(2), quoting(v6(server, world), tcp(443)))], "delivered"],
  ["an error about a cut connection is judged", [clientSends(v4(client, server), udp(80)), policy("closed"), clientSends(v4(client, server), udp(80)), serverSends(v4(server, client), icmp(3), quoting(v4(client, server), udp(80)))], "delivered", "egress FORWARDED unenforced", "ingress FORWARDED unenforced"],

  // The proxy
  ["a redirect without a listener drops", [policy("usual", 1), clientSends(v4(client, server), tcp(8080))], "dropped", "egress FORWARDED unenforced", "ingress REDIRECTED", "DROP PROXY_LOOKUP_FAILED"],
  ["a redirect without a proxy drops", [policy("usual", 0), clientSends(v4(client, server), tcp(8080))], "dropped", "egress FORWARDED unenforced", "ingress DROPPED PROXY_LOOKUP_FAILED"],
  ["TCP without SYN is not redirected: the proxy does not know the connection", clientSends(v4(client, server), tcp(8080, "A")), "dropped", "egress FORWARDED unenforced", "ingress REDIRECTED", "DROP PROXY_LOOKUP_FAILED"],
  ["a listener of the node on the same port is not the proxy's socket", [listening(8080), clientSends(v4(client, server), tcp(8080, "A"))], "dropped", "egress FORWARDED unenforced", "ingress REDIRECTED", "DROP PROXY_LOOKUP_FAILED"],
  ["the server does not answer past the proxy", [clientSends(v4(client, server), tcp(8080)), serverSends(v4(server, client), tcp(40_000, "SA", 8080))], "dropped", "DROP INVALID_SOURCE_IP"],
  ["the proxy's own leg is let through", proxySendsToServer(v4(client, server), tcp(8080, "S", 50_000)), "stack"],
  ["the mark of the proxy on a packet from outside is worth nothing", sender((rig) => ({ hook: "to_endpoint", device: rig.endpoints[1]!, from: rig.world, mark: SkbMark.FROM_PROXY }))(v4(world, server), tcp(8080, "S")), "dropped", "ingress DROPPED POLICY_DENIED"],
  ["the server's answer to the proxy's leg goes to the proxy", [proxySendsToServer(v4(client, server), tcp(8080, "S", 50_000)), serverSends(v4(server, client), tcp(50_000, "SA", 8080))], "stack"],
  ["nobody outside answers the proxy in the server's name", [proxySendsToServer(v4(client, server), tcp(8080, "S", 50_000)), worldSends(v4(server, client), tcp(50_000, "SA", 8080))], "dropped", "DROP INVALID_SOURCE_IP"],

  // The link-local next hop
  ["an ARP request for another address ends silently", clientSends({ arp: { operation: 1, senderMac: "02:00:00:00:11:01", senderIp: client[4], targetIp: server[4] } }), "dropped"],
  ["an ARP reply ends silently", clientSends({ arp: { operation: 2, senderMac: "02:00:00:00:11:01", senderIp: client[4], targetIp: "169.254.1.1" } }), "dropped"],
  ["an ARP request cut short ends silently", clientSendsCut(14 + 20, { arp: { operation: 1, senderMac: "02:00:00:00:11:01", senderIp: client[4], targetIp: "169.254.1.1" } }), "dropped"],
  ["the host may ask a workload by ARP", hostSendsToServer({ arp: { operation: 1, senderMac: "02:00:00:00:10:02", senderIp: host[4], targetIp: server[4] } }), "stack"],
  ["duplicate address detection ends silently", clientSends({ ipv6: { source: "::", destination: "ff02::1:ff00:1" } }, solicitation("fe80::1")), "dropped"],
  ["a solicitation for another address ends silently", clientSends(v6(client, server), solicitation(server[6])), "dropped"],
  ["a router solicitation ends silently", clientSends({ ipv6: { source: "fe80::2", destination: "ff02::2" } }, icmp(133)), "dropped"],
  ["a redirect message ends silently", clientSends(v6(client, server), icmp(137)), "dropped"],
  ["neighbour discovery never enters a workload", forwardedToServer(v6(world, server), icmp(136)), "dropped"],

  // The node's device
  ["what is no pod's is not ours", worldSends(v4(world, host), tcp(22)), "not ours"],
  ["a packet for the masquerade address that nobody asked for is not ours", [masquerading, worldSends({ ipv4: { source: world[4], destination: masquerade[0] } }, udp(40_000, 53))], "not ours"],
  ["a packet of the node itself leaves as it is", [masquerading, leavesTheNode(v4(host, world), udp(53))], "not ours"],
];

/** `02:00:...` of six bytes. */
const macAt = (bytes: Uint8Array, at: number) =>
  Array.from(bytes.subarray(at, at + 6), (byte) => byte.toString(16).padStart(2, "0")).join(":");

function describeEvent({ type, verdict, reason, direction, flags }: VerdictEvent): string {
  const why = reason === 0 ? [] : [enumName(DropReason, reason) ?? String(reason)];
  if (type !== EventType.VERDICT) return [enumName(EventType, type), ...why].join(" ");
  const bits = Object.entries(EventFlags).filter(([, bit]) => flags & bit);
  return [
    enumName(Direction, direction)?.toLowerCase(),
    enumName(Verdict, verdict),
    ...why,
    ...bits.map(([name]) => name.toLowerCase()),
  ].join(" ");
}

describe("packets in the kernel", () => {
  let rig: DatapathRig;
  before(() => {
    rig = new DatapathRig({ size: 3, pods: casePods });
  });
  after(() => rig?.close());
  beforeEach(async () => {
    rig.configure(casePods);
    await policy("usual")(rig);
    rig.forget();
  });

  /** Outcome of the last packet; all before it must pass, unless they are meant to be dropped. */
  const play = async (steps: readonly Step[]): Promise<Outcome> => {
    let last: Outcome | undefined;
    for (const step of steps) last = (await step(rig)) ?? last;
    assert.ok(last, "nothing was sent");
    return last;
  };

  test("there are enough rows", () => assert.ok(rows.length >= 40, `${rows.length}`));

  for (const [sentence, steps, result, ...events] of rows)
    test(sentence, async () => {
      const outcome = await play([steps].flat());
      assert.deepEqual([outcome.action, ...outcome.events.map(describeEvent)], [results[result], ...events]);
      if (result !== "delivered") return;
      const target = rig.endpoints.find(({ mac }) => mac === macAt(outcome.packet, 0));
      assert.equal(macAt(outcome.packet, 6), target?.hostMac, "a frame from the workload's next hop");
    });

  test("an ARP request for the next hop is answered with the interface's own address", async () => {
    const { mac, hostMac } = rig.endpoints[0]!;
    const request = { operation: 1, senderMac: mac, senderIp: client[4], targetIp: "169.254.1.1" } as const;
    const { action, packet: answer, events } = await play([clientSends({ arp: request })]);
    assert.deepEqual([action, events], [TcAction.REDIRECT, []]);
    const wanted = { operation: 2, senderMac: hostMac, senderIp: "169.254.1.1", targetIp: client[4] } as const;
    const expected = packet({ ethernet: { source: hostMac, destination: mac }, arp: wanted });
    expected.set(packet({ ethernet: { destination: mac } }).subarray(0, 6), 32);
    assert.deepEqual(Buffer.from(answer), Buffer.from(expected));
  });

  test("a neighbour solicitation for the next hop is answered with the interface's own address", async () => {
    const { mac, hostMac } = rig.endpoints[0]!;
    const sent = clientSends(
      { ipv6: { source: "fe80::2", destination: "ff02::1:ff00:1", hopLimit: 255 } },
      solicitation("fe80::1"),
    );
    const { action, packet: answer, events } = await play([sent]);
    assert.deepEqual([action, events], [TcAction.REDIRECT, []]);
    const link = packet({ ethernet: { destination: hostMac } }).subarray(0, 6);
    const expected = packet({
      ethernet: { source: hostMac, destination: mac },
      ipv6: { source: "fe80::1", destination: "fe80::2", hopLimit: 255 },
      // Flags: router, solicited, override.
      icmp: { type: 136, id: 0xe000 },
      payload: Buffer.concat([solicitation("fe80::1").payload!, Uint8Array.of(2, 1), link]),
    });
    assert.deepEqual(Buffer.from(answer), Buffer.from(expected));
  });

  for (const [family, ends, address] of [
    ["IPv4", v4, masquerade[0]],
    ["IPv6", v6, masquerade[1]],
  ] as const)
    test(`a masqueraded datagram leaves with the node's address, and its answer finds back, ${family}`, async () => {
      await masquerading(rig);
      await play([clientSends(ends(client, world), udp(53))]);
      const left = await play([leavesTheNode(ends(client, world), udp(53))]);
      const node = { 4: address, 6: address };
      const at = family === "IPv4" ? 34 : 54;
      const port = new DataView(left.packet.buffer, left.packet.byteOffset).getUint16(at);
      assert.equal(left.action, TcAction.UNSPEC);
      assert.deepEqual(
        Buffer.from(left.packet.subarray(14)),
        Buffer.from(packet({ ...ends(node, world), ...udp(53, port) }).subarray(14)),
        "addresses, port and checksums",
      );
      const back = await play([worldSends(ends(world, node), udp(port, 53))]);
      assert.deepEqual([back.action, back.events], [TcAction.REDIRECT, []]);
      assert.deepEqual(
        Buffer.from(back.packet.subarray(14)),
        Buffer.from(packet({ ...ends(world, client), ...udp(40_000, 53) }).subarray(14)),
      );
    });

  test("what the workload sends to the proxy by way of the stack comes round to the ingress hook", async () => {
    const file = parseCaseFile(
      cases.http.replaceAll("fromEndpoints: [{matchLabels: {app: client}}]", "fromEntities: [host]"),
    );
    await loadIntoKernel(rig, file, loadCase(file));
    const outcome = await play([hostSendsToServer(v4(host, server), tcp(80))]);
    assert.deepEqual([outcome.action, outcome.mark], [TcAction.REDIRECT, SkbMark.HAIRPIN]);
    assert.deepEqual(outcome.events.map(describeEvent), ["ingress REDIRECTED"]);
    assert.equal(macAt(outcome.packet, 0), rig.endpoints[1]!.hostMac, "addressed to the node");
  });

  test("a packet goes on as it came, but for its link addresses", async () => {
    const sent = packet({ ...Object.assign({}, ...web4), ...eightBytes });
    const { packet: got } = await play([clientSends(...web4, eightBytes)]);
    assert.deepEqual(Buffer.from(got.subarray(14)), Buffer.from(sent.subarray(14)));
  });
});
