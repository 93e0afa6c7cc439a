// Generated from bpf/include/abi through the objects' BTF. DO NOT EDIT. Regenerate: npm run generate
import type { EndpointId, NumericIdentity, PolicySetId } from "#core/model";
import { readBytes, structCodec, writeBytes } from "../codec.ts";

/** enum ct_flags. */
export const CtFlags = {
  INITIATOR_LO: 1,
  SEEN_REPLY: 2,
  /** The initiator has closed its half. */
  FIN_FORWARD: 4,
  FIN_REVERSE: 8,
  RST: 16,
  /** Client's leg: terminated by the L7 proxy. */
  PROXIED: 32,
  /** Proxy's leg to the server, carrying the client's address. */
  PROXY_LEG: 64,
  SEEN_SYN: 128,
  /** Both sides have spoken; TCP: the initiator has answered the SYN-ACK. */
  ESTABLISHED: 0x100,
  /** Cut by a policy change; kept so that neither side can revive it without a new SYN. */
  DENIED: 0x200,
  /** Its HTTP is judged in the kernel. */
  HTTP: 0x400,
  /** ... by the rules of its initiator. */
  HTTP_EGRESS: 0x800,
} as const;
export type CtFlags = (typeof CtFlags)[keyof typeof CtFlags];

/**
 * enum ct_leg. The proxy opens its leg with the client's address and a port of its own, which the client may be
 * using too.
 */
export const CtLeg = {
  /** The workload's own connection, proxied or not. */
  CLIENT: 0,
  /** The proxy's connection to the server. */
  PROXY: 1,
} as const;
export type CtLeg = (typeof CtLeg)[keyof typeof CtLeg];

/** enum direction. */
export const Direction = {
  /** Into the subject. */
  INGRESS: 0,
  /** Out of the subject. */
  EGRESS: 1,
} as const;
export type Direction = (typeof Direction)[keyof typeof Direction];

/** enum drop_reason. */
export const DropReason = {
  NONE: 0,
  /** Not an address of the sending endpoint. */
  INVALID_SOURCE_IP: 132,
  /** No entry allows it: default deny. */
  POLICY_DENIED: 133,
  /** Lengths or headers contradict each other. */
  INVALID_PACKET: 134,
  /** Too short for its own protocol header. */
  CT_INVALID_HEADER: 135,
  /** A protocol that we can't track. */
  UNKNOWN_L4: 142,
  /** The kernel refused a packet rewrite. */
  WRITE_ERROR: 141,
  /** Neither IPv4, IPv6 nor ARP. */
  UNSUPPORTED_L3: 139,
  /** A pod address that no endpoint of this node has. */
  STALE_OR_UNROUTABLE: 151,
  CT_MAP_INSERTION_FAILED: 155,
  IPV6_EXTENSION_HEADER: 156,
  /** Fragments other than of tracked datagrams. */
  FRAGMENT: 157,
  /** HTTP: held until its sender repeats it in order. */
  CT_UNKNOWN: 163,
  /** No free masquerade port. */
  NAT_NO_MAPPING: 167,
  NAT_UNSUPPORTED: 168,
  /** VLAN tags and other link-layer surprises. */
  UNSUPPORTED_L2: 166,
  /** Neighbour discovery and multicast chatter of workloads: counted, never reported. */
  FORBIDDEN_ICMP6: 176,
  /** No proxy socket is listening: fail closed. */
  PROXY_LOOKUP_FAILED: 178,
  PROXY_ASSIGN_FAILED: 179,
  /** An entry redirects a protocol that no listener speaks. */
  PROXY_NOT_SUPPORTED: 180,
  /** An explicit deny. */
  POLICY_DENY: 181,
  /** Endpoint known, its configuration not yet complete. */
  EP_NOT_READY: 203,
} as const;
export type DropReason = (typeof DropReason)[keyof typeof DropReason];

/** enum endpoint_flags. */
export const EndpointFlags = {
  IPV4: 1,
  IPV6: 2,
} as const;
export type EndpointFlags = (typeof EndpointFlags)[keyof typeof EndpointFlags];

/** enum event_flags. */
export const EventFlags = {
  /** The packet runs against the connection's direction. */
  REPLY: 1,
  /** An established connection under a new policy. */
  REJUDGED: 2,
  /** An ICMP error about a known connection. */
  RELATED: 4,
  /** No policy selects the subject in this direction. */
  UNENFORCED: 8,
} as const;
export type EventFlags = (typeof EventFlags)[keyof typeof EventFlags];

/** enum event_type. */
export const EventType = {
  /** A direction was judged: first packet of a connection, or again after a policy change. */
  VERDICT: 1,
  /** A packet was dropped for a reason other than a fresh policy verdict. */
  DROP: 2,
  /** A connection's life: closing, reset, first reply. */
  TRACE: 3,
  /** A request or response judged in the kernel: struct http_event. */
  HTTP: 4,
} as const;
export type EventType = (typeof EventType)[keyof typeof EventType];

/** enum helper_site. Places where a kernel helper can fail: helper_errors[site] counts how often it did. */
export const HelperSite = {
  /** Conntrack entry not stored. */
  CT_UPDATE: 0,
  /** Masquerade mapping not stored. */
  NAT_UPDATE: 1,
  /** Ports of a first fragment not stored: its other fragments will be dropped. */
  FRAGMENT_UPDATE: 2,
  /** Headers not made linear. */
  PULL_DATA: 3,
  /** Shorter than its own lengths say. */
  LOAD_BYTES: 4,
  STORE_BYTES: 5,
  L3_CSUM: 6,
  L4_CSUM: 7,
  /** No room for a neighbour advertisement. */
  CHANGE_TAIL: 8,
  CHANGE_TYPE: 9,
  /** The listener's socket was refused. */
  SK_ASSIGN: 10,
  /** No memory for the packet that would have ended a lingering socket of the proxy. */
  CLONE: 11,
  /** Socket not entered for redirect; its connection goes by TCP. */
  SOCK_HASH: 12,
  COUNT: 13,
} as const;
export type HelperSite = (typeof HelperSite)[keyof typeof HelperSite];

/** enum http_count. Index into http_counts. */
export const HttpCount = {
  CONNECTIONS: 0,
  REQUESTS: 1,
  RESPONSES: 2,
  DENIED: 3,
  MALFORMED: 4,
  /** Denials that the client was told with keep-alive. */
  ANSWERED: 5,
  /** ... and then the connection was closed. */
  CLOSED: 6,
  RESET: 7,
  /** Segments dropped until the sender repeats them: out of order in a head, an answer in flight. */
  HELD: 8,
  /** Retransmissions compared with what was judged. */
  COMPARED: 9,
  /** ... and found to differ. */
  REWRITTEN: 10,
  /** Acknowledges what was never sent; sequence number out of all windows. */
  BAD_NUMBERS: 11,
  /** No comparison buffer free, or full: held. */
  NO_BUFFER: 12,
  /** Another CPU held the connection for too long: held. */
  LOCKED: 13,
  /** Resets of connections that have no state. */
  OLD: 14,
  /** SYNs whose MPTCP or fast-open option was blanked. */
  STRIPPED: 15,
  /** Buffers taken from connections that held them too long. */
  STALE_BUFFER: 16,
  /** Responses whose end can't be told: a denial resets such a connection. */
  LOST_FRAMING: 17,
  UPGRADED: 18,
  FLIPPED: 19,
  /** Segments cut between requests: what was allowed passed, the rest was held. */
  TRIMMED: 20,
} as const;
export type HttpCount = (typeof HttpCount)[keyof typeof HttpCount];

/** enum http_event_kind. */
export const HttpEventKind = {
  /** Allowed and sent on. */
  REQUEST: 1,
  /** Its answer has begun: status and latency. */
  RESPONSE: 2,
  /** No rule allows it: answered with 403, or reset where no answer was possible. */
  DENIED: 3,
  /** No request with one meaning: answered with 400, or reset; fault says why. */
  MALFORMED: 4,
  /** Not HTTP/1: the port goes to the proxy, beginning with the client's next attempt. */
  FLIPPED: 5,
  /** A connection older than its HTTP rules wanted to send: reset. */
  OLD: 6,
} as const;
export type HttpEventKind = (typeof HttpEventKind)[keyof typeof HttpEventKind];

/** enum http_fault. What is wrong with a malformed request, or with a TCP segment of a judged connection. */
export const HttpFault = {
  NONE: 0,
  REQUEST_LINE: 1,
  /** Absolute form, fragment, bad percent-encoding. */
  TARGET: 2,
  VERSION: 3,
  /** A line that is no header. */
  HEADER: 4,
  HOST: 5,
  /** Content-Length. */
  LENGTH: 6,
  /** Transfer-Encoding, or both. */
  ENCODING: 7,
  /** Connection names a header that framing hangs on. */
  CONNECTION: 8,
  UPGRADE: 9,
  EXPECT: 10,
  CHUNK: 11,
  TOO_LARGE: 12,
  /** The client closed inside of a head. */
  TRUNCATED: 13,
  /** A retransmission with other bytes. */
  REWRITTEN: 14,
  /** Urgent data: the server would read other bytes than were judged. */
  URGENT: 15,
  /** The policy changed in the middle of a head. */
  RULES_CHANGED: 16,
  /** What was judged is no longer known. */
  NO_BUFFER: 17,
} as const;
export type HttpFault = (typeof HttpFault)[keyof typeof HttpFault];

/** enum http_foreign. What was spoken where HTTP/1 was expected. */
export const HttpForeign = {
  /** HTTP/2's connection preface: h2c, gRPC. */
  H2: 1,
  /** A TLS handshake. */
  TLS: 2,
  /** A tunnel that a rule allows. */
  CONNECT: 3,
  /** An upgrade that a rule allows, and the kernel can't follow. */
  UPGRADE: 4,
} as const;
export type HttpForeign = (typeof HttpForeign)[keyof typeof HttpForeign];

/** enum http_limit. */
export const HttpLimit = {
  /** Raised when the layout changes: programs of another one are not run. */
  LAYOUT: 1,
  /** 64 bits each: 128 KiB, allocated for each program in use. */
  WORDS: 0x4000,
  /** Word index; behind the head. */
  FIRST_STATE: 0x100,
  /** Rows that tell few bytes apart are short by a table of few classes. */
  CLASS_TABLES: 7,
  /** Of one program. */
  MAX_RULES: 0x400,
  /** Different headers that the rules of one program may ask for. */
  MAX_SLOTS: 8,
  /** Segments of a path that has something to resolve (/../, //, %2e); deeper: denied. */
  MAX_DEPTH: 32,
} as const;
export type HttpLimit = (typeof HttpLimit)[keyof typeof HttpLimit];

/** enum http_program_number. Stand for a program of rules (ct_entry.http_program). */
export const HttpProgramNumber = {
  /** What judges it now can't take it over: its next request resets the connection. */
  NONE: 0,
  /** No rules any more: all requests pass. */
  ANY: 0xffffffff,
} as const;
export type HttpProgramNumber = (typeof HttpProgramNumber)[keyof typeof HttpProgramNumber];

/** enum http_stage. Places in http_stages. */
export const HttpStage = {
  REQUEST: 0,
  RESPONSE: 1,
} as const;
export type HttpStage = (typeof HttpStage)[keyof typeof HttpStage];

/** enum http_text_limit. */
export const HttpTextLimit = {
  /** A longer method is malformed. */
  METHOD_MAX: 16,
  /** A longer Host is malformed. */
  HOST_MAX: 128,
  /** Of the target, as told in events; what is longer is judged whole and told cut. */
  PATH_MAX: 160,
  /** Bytes of a head, of a trailer section. */
  HEAD_MAX: 0x6000,
  /** Header lines of a head. */
  LINES_MAX: 255,
  /** Chunk size with extensions. */
  CHUNK_LINE_MAX: 0x200,
} as const;
export type HttpTextLimit = (typeof HttpTextLimit)[keyof typeof HttpTextLimit];

/** enum ip_family. */
export const IpFamily = {
  IPV4: 1,
  IPV6: 2,
} as const;
export type IpFamily = (typeof IpFamily)[keyof typeof IpFamily];

/** enum node_flags. */
export const NodeFlags = {
  MASQ_IPV4: 1,
  MASQ_IPV6: 2,
  /** An event at the end of a connection too. */
  TRACE_CLOSE: 4,
} as const;
export type NodeFlags = (typeof NodeFlags)[keyof typeof NodeFlags];

/** enum observation_point. Where in the kernel the event arose. */
export const ObservationPoint = {
  /** Host side of the endpoint's interface, packet leaves the workload. */
  FROM_ENDPOINT: 1,
  /** Packet enters the workload. */
  TO_ENDPOINT: 2,
  /** Node's device, ingress. */
  FROM_NETWORK: 3,
  /** Node's device, egress. */
  TO_NETWORK: 4,
} as const;
export type ObservationPoint = (typeof ObservationPoint)[keyof typeof ObservationPoint];

/** enum policy_flags. */
export const PolicyFlags = {
  DENY: 1,
  REDIRECT: 2,
  /** Would be denied; forwarded and reported. */
  AUDIT: 4,
  /** The direction has no policy: allowed, and not a policy verdict. */
  UNENFORCED: 8,
} as const;
export type PolicyFlags = (typeof PolicyFlags)[keyof typeof PolicyFlags];

/** enum policy_match. How specific the deciding policy entry was; Cilium's numbers. */
export const PolicyMatch = {
  NONE: 0,
  /** Identity. */
  L3: 1,
  /** Identity and port. */
  L3_L4: 2,
  /** Any identity, port. */
  L4: 3,
  /** Any identity, any port. */
  ALL: 4,
  /** Identity and protocol. */
  L3_PROTO: 5,
  /** Any identity, protocol. */
  PROTO: 6,
} as const;
export type PolicyMatch = (typeof PolicyMatch)[keyof typeof PolicyMatch];

/** enum policy_prefix. */
export const PolicyPrefix = {
  L3: 72,
  PROTO: 80,
  FULL: 96,
} as const;
export type PolicyPrefix = (typeof PolicyPrefix)[keyof typeof PolicyPrefix];

/** enum proxy_limit. */
export const ProxyLimit = {
  /** Bytes from the IP header to the end of the tail; queries are far smaller. */
  MAX: 0x1000,
} as const;
export type ProxyLimit = (typeof ProxyLimit)[keyof typeof ProxyLimit];

/** enum skb_mark. Bits of skb->mark inside the node's namespace; pods can't set them, veth scrubs the mark. */
export const SkbMark = {
  MASK: 0xf00,
  /** Deliver to a local (transparent) socket whatever the destination address. */
  TO_PROXY: 0x200,
  /** Sent by the L7 proxy: both directions were judged there. */
  FROM_PROXY: 0xa00,
  /** Re-injected at a host-side interface on its way to the proxy. */
  HAIRPIN: 0xc00,
  /** Made by the programs themselves: goes where it was sent without being judged. */
  FORGED: 0xe00,
} as const;
export type SkbMark = (typeof SkbMark)[keyof typeof SkbMark];

/** enum verdict. */
export const Verdict = {
  FORWARDED: 1,
  DROPPED: 2,
  ERROR: 3,
  AUDIT: 4,
  REDIRECTED: 5,
} as const;
export type Verdict = (typeof Verdict)[keyof typeof Verdict];

/**
 * struct ct4_key, 16 bytes. Connection tracking: one entry serves both directions. "lo" is the numerically
 * smaller (address, port) pair in network byte order; CT_F_INITIATOR_LO says that it opened the connection. ICMP
 * echo: the initiator's port is the id, the other one 0, so that two hosts pinging each other with one id stay
 * two connections.
 */
export interface Ct4Key {
  readonly addrLo: number;
  readonly addrHi: number;
  readonly portLo: number;
  readonly portHi: number;
  readonly protocol: number;
  /** enum ct_leg. */
  readonly leg: number;
}
/** Reads and writes {@link Ct4Key}. */
export const ct4KeyCodec = structCodec<Ct4Key>(
  "ct4_key",
  16,
  (view, at) => ({
    addrLo: view.getUint32(at, false),
    addrHi: view.getUint32(at + 4, false),
    portLo: view.getUint16(at + 8, false),
    portHi: view.getUint16(at + 10, false),
    protocol: view.getUint8(at + 12),
    leg: view.getUint8(at + 13),
  }),
  (view, at, value) => {
    view.setUint32(at, value.addrLo, false);
    view.setUint32(at + 4, value.addrHi, false);
    view.setUint16(at + 8, value.portLo, false);
    view.setUint16(at + 10, value.portHi, false);
    view.setUint8(at + 12, value.protocol);
    view.setUint8(at + 13, value.leg);
  },
);

/** struct ct6_key, 40 bytes. */
export interface Ct6Key {
  readonly addrLo: Uint8Array;
  readonly addrHi: Uint8Array;
  readonly portLo: number;
  readonly portHi: number;
  readonly protocol: number;
  /** enum ct_leg. */
  readonly leg: number;
}
/** Reads and writes {@link Ct6Key}. */
export const ct6KeyCodec = structCodec<Ct6Key>(
  "ct6_key",
  40,
  (view, at) => ({
    addrLo: readBytes(view, at, 16),
    addrHi: readBytes(view, at + 16, 16),
    portLo: view.getUint16(at + 32, false),
    portHi: view.getUint16(at + 34, false),
    protocol: view.getUint8(at + 36),
    leg: view.getUint8(at + 37),
  }),
  (view, at, value) => {
    writeBytes(view, at, 16, value.addrLo);
    writeBytes(view, at + 16, 16, value.addrHi);
    view.setUint16(at + 32, value.portLo, false);
    view.setUint16(at + 34, value.portHi, false);
    view.setUint8(at + 36, value.protocol);
    view.setUint8(at + 37, value.leg);
  },
);

/** struct ct_entry, 28 bytes. */
export interface CtEntry {
  /** Seconds of CLOCK_MONOTONIC. */
  readonly expires: number;
  /** node_config.policy_epoch of the last judgement. */
  readonly epoch: number;
  /** Of the initiator. */
  readonly srcIdentity: NumericIdentity;
  readonly dstIdentity: NumericIdentity;
  /** Endpoint of the initiator on this node, or 0. */
  readonly srcEp: EndpointId;
  readonly dstEp: EndpointId;
  /** enum ct_flags. */
  readonly flags: number;
  /** Host order; with CT_F_PROXIED. */
  readonly proxyPort: number;
  /** With CT_F_HTTP: number of the rules in force, or enum http_program_number. */
  readonly httpProgram: number;
}
/** Reads and writes {@link CtEntry}. */
export const ctEntryCodec = structCodec<CtEntry>(
  "ct_entry",
  28,
  (view, at) => ({
    expires: view.getUint32(at, true),
    epoch: view.getUint32(at + 4, true),
    srcIdentity: view.getUint32(at + 8, true) as NumericIdentity,
    dstIdentity: view.getUint32(at + 12, true) as NumericIdentity,
    srcEp: view.getUint16(at + 16, true) as EndpointId,
    dstEp: view.getUint16(at + 18, true) as EndpointId,
    flags: view.getUint16(at + 20, true),
    proxyPort: view.getUint16(at + 22, true),
    httpProgram: view.getUint32(at + 24, true),
  }),
  (view, at, value) => {
    view.setUint32(at, value.expires, true);
    view.setUint32(at + 4, value.epoch, true);
    view.setUint32(at + 8, value.srcIdentity, true);
    view.setUint32(at + 12, value.dstIdentity, true);
    view.setUint16(at + 16, value.srcEp, true);
    view.setUint16(at + 18, value.dstEp, true);
    view.setUint16(at + 20, value.flags, true);
    view.setUint16(at + 22, value.proxyPort, true);
    view.setUint32(at + 24, value.httpProgram, true);
  },
);

/** struct endpoint, 48 bytes. endpoints[endpoint_id]. */
export interface Endpoint {
  /** Host side of the veth pair; 0 = slot is free. */
  readonly ifindex: number;
  readonly identity: NumericIdentity;
  /** Switching a policy is one store to this field. */
  readonly policySet: PolicySetId;
  readonly id: EndpointId;
  /** enum endpoint_flags. */
  readonly flags: number;
  /** The workload's interface. */
  readonly mac: Uint8Array;
  /** The host side: the workload's next hop. */
  readonly hostMac: Uint8Array;
  readonly ipv4: number;
  readonly ipv6: Uint8Array;
}
/** Reads and writes {@link Endpoint}. */
export const endpointCodec = structCodec<Endpoint>(
  "endpoint",
  48,
  (view, at) => ({
    ifindex: view.getUint32(at, true),
    identity: view.getUint32(at + 4, true) as NumericIdentity,
    policySet: view.getUint32(at + 8, true) as PolicySetId,
    id: view.getUint16(at + 12, true) as EndpointId,
    flags: view.getUint16(at + 14, true),
    mac: readBytes(view, at + 16, 6),
    hostMac: readBytes(view, at + 22, 6),
    ipv4: view.getUint32(at + 28, false),
    ipv6: readBytes(view, at + 32, 16),
  }),
  (view, at, value) => {
    view.setUint32(at, value.ifindex, true);
    view.setUint32(at + 4, value.identity, true);
    view.setUint32(at + 8, value.policySet, true);
    view.setUint16(at + 12, value.id, true);
    view.setUint16(at + 14, value.flags, true);
    writeBytes(view, at + 16, 6, value.mac);
    writeBytes(view, at + 22, 6, value.hostMac);
    view.setUint32(at + 28, value.ipv4, false);
    writeBytes(view, at + 32, 16, value.ipv6);
  },
);

/**
 * struct http_event, 400 bytes. The first two fields lie as in struct verdict_event. An event is as long as its
 * texts; a response has none.
 */
export interface HttpEvent {
  /** CLOCK_MONOTONIC. */
  readonly timeNs: bigint;
  /** EVENT_HTTP. */
  readonly type: number;
  /** enum http_event_kind. */
  readonly kind: number;
  /** enum verdict. */
  readonly verdict: number;
  /** enum direction: whose rules judge. */
  readonly direction: number;
  /** enum ip_family. */
  readonly family: number;
  /** enum http_fault. */
  readonly fault: number;
  /** 0 or 1. */
  readonly minorVersion: number;
  /** Of HTTP_EVENT_FLIPPED: enum http_foreign. */
  readonly foreign: number;
  /** The same in all events of one connection. */
  readonly connection: number;
  /** Number of the request in its connection. */
  readonly request: number;
  /** Of a response: since its request was sent on; 0: not known. */
  readonly latencyNs: bigint;
  readonly clientIdentity: NumericIdentity;
  readonly serverIdentity: NumericIdentity;
  readonly clientEp: EndpointId;
  readonly serverEp: EndpointId;
  readonly clientPort: number;
  readonly serverPort: number;
  readonly client: Uint8Array;
  readonly server: Uint8Array;
  /** Of rules, that judged. */
  readonly program: number;
  /** Of its list, the one that allowed it, + 1; 0: none. */
  readonly rule: number;
  /** Of the answer; 0: none. */
  readonly status: number;
  /** Of the target in the request; `path` may hold less. */
  readonly pathLength: number;
  readonly methodLength: number;
  readonly hostLength: number;
  /** Method, host, path, without anything between; as long as they are. */
  readonly text: Uint8Array;
}
/** Reads and writes {@link HttpEvent}. */
export const httpEventCodec = structCodec<HttpEvent>(
  "http_event",
  400,
  (view, at) => ({
    timeNs: view.getBigUint64(at, true),
    type: view.getUint8(at + 8),
    kind: view.getUint8(at + 9),
    verdict: view.getUint8(at + 10),
    direction: view.getUint8(at + 11),
    family: view.getUint8(at + 12),
    fault: view.getUint8(at + 13),
    minorVersion: view.getUint8(at + 14),
    foreign: view.getUint8(at + 15),
    connection: view.getUint32(at + 16, true),
    request: view.getUint32(at + 20, true),
    latencyNs: view.getBigUint64(at + 24, true),
    clientIdentity: view.getUint32(at + 32, true) as NumericIdentity,
    serverIdentity: view.getUint32(at + 36, true) as NumericIdentity,
    clientEp: view.getUint16(at + 40, true) as EndpointId,
    serverEp: view.getUint16(at + 42, true) as EndpointId,
    clientPort: view.getUint16(at + 44, false),
    serverPort: view.getUint16(at + 46, false),
    client: readBytes(view, at + 48, 16),
    server: readBytes(view, at + 64, 16),
    program: view.getUint32(at + 80, true),
    rule: view.getUint32(at + 84, true),
    status: view.getUint16(at + 88, true),
    pathLength: view.getUint16(at + 90, true),
    methodLength: view.getUint8(at + 92),
    hostLength: view.getUint8(at + 93),
    text: readBytes(view, at + 96, 304),
  }),
  (view, at, value) => {
    view.setBigUint64(at, value.timeNs, true);
    view.setUint8(at + 8, value.type);
    view.setUint8(at + 9, value.kind);
    view.setUint8(at + 10, value.verdict);
    view.setUint8(at + 11, value.direction);
    view.setUint8(at + 12, value.family);
    view.setUint8(at + 13, value.fault);
    view.setUint8(at + 14, value.minorVersion);
    view.setUint8(at + 15, value.foreign);
    view.setUint32(at + 16, value.connection, true);
    view.setUint32(at + 20, value.request, true);
    view.setBigUint64(at + 24, value.latencyNs, true);
    view.setUint32(at + 32, value.clientIdentity, true);
    view.setUint32(at + 36, value.serverIdentity, true);
    view.setUint16(at + 40, value.clientEp, true);
    view.setUint16(at + 42, value.serverEp, true);
    view.setUint16(at + 44, value.clientPort, false);
    view.setUint16(at + 46, value.serverPort, false);
    writeBytes(view, at + 48, 16, value.client);
    writeBytes(view, at + 64, 16, value.server);
    view.setUint32(at + 80, value.program, true);
    view.setUint32(at + 84, value.rule, true);
    view.setUint16(at + 88, value.status, true);
    view.setUint16(at + 90, value.pathLength, true);
    view.setUint8(at + 92, value.methodLength);
    view.setUint8(at + 93, value.hostLength);
    writeBytes(view, at + 96, 304, value.text);
  },
);

/**
 * struct http_port_key, 12 bytes. http_learnt: ports that turned out to speak what the kernel can't judge; their
 * connections go to the proxy.
 */
export interface HttpPortKey {
  /** The other side: nobody can change the way of another's connections. */
  readonly peer: NumericIdentity;
  /** The endpoint whose policy has HTTP rules there. */
  readonly subject: EndpointId;
  readonly dport: number;
  /** enum direction, as the subject sees it. */
  readonly direction: number;
}
/** Reads and writes {@link HttpPortKey}. */
export const httpPortKeyCodec = structCodec<HttpPortKey>(
  "http_port_key",
  12,
  (view, at) => ({
    peer: view.getUint32(at, true) as NumericIdentity,
    subject: view.getUint16(at + 4, true) as EndpointId,
    dport: view.getUint16(at + 6, false),
    direction: view.getUint8(at + 8),
  }),
  (view, at, value) => {
    view.setUint32(at, value.peer, true);
    view.setUint16(at + 4, value.subject, true);
    view.setUint16(at + 6, value.dport, false);
    view.setUint8(at + 8, value.direction);
  },
);

/** struct http_port_value, 8 bytes. */
export interface HttpPortValue {
  /** Under which it was learnt. */
  readonly policySet: number;
  /** enum http_foreign. */
  readonly protocol: number;
}
/** Reads and writes {@link HttpPortValue}. */
export const httpPortValueCodec = structCodec<HttpPortValue>(
  "http_port_value",
  8,
  (view, at) => ({
    policySet: view.getUint32(at, true),
    protocol: view.getUint8(at + 4),
  }),
  (view, at, value) => {
    view.setUint32(at, value.policySet, true);
    view.setUint8(at + 4, value.protocol);
  },
);

/** struct http_program_head, 1824 bytes. The first words of a program. */
export interface HttpProgramHead {
  /** State 0: zero, so that it leads to itself. */
  readonly dead: bigint;
  /** HTTP_LAYOUT of who wrote it; 0: nothing was written. */
  readonly layout: number;
  readonly ruleCount: number;
  /** State before the method. */
  readonly lineStart: number;
  /** State before the host; 0: no rule asks for it. */
  readonly hostStart: number;
  /** State before a header's name; 0: no rule asks for headers. */
  readonly headerStart: number;
  /** Index behind the last state that has a set. */
  readonly acceptingEnd: number;
  /** Index in 32-bit units of the first accepting state's set; header names: their slot instead. */
  readonly sets: number;
  /** Index in 32-bit units of the first slot. */
  readonly slots: number;
  readonly slotCount: number;
  /** Set of the rules that hold whatever the host. */
  readonly anyHost: number;
  /** Table * 256 + byte -> class. */
  readonly classes: Uint8Array;
}
/** Reads and writes {@link HttpProgramHead}. */
export const httpProgramHeadCodec = structCodec<HttpProgramHead>(
  "http_program_head",
  1824,
  (view, at) => ({
    dead: view.getBigUint64(at, true),
    layout: view.getUint16(at + 8, true),
    ruleCount: view.getUint16(at + 10, true),
    lineStart: view.getUint16(at + 12, true),
    hostStart: view.getUint16(at + 14, true),
    headerStart: view.getUint16(at + 16, true),
    acceptingEnd: view.getUint16(at + 18, true),
    sets: view.getUint16(at + 20, true),
    slots: view.getUint16(at + 22, true),
    slotCount: view.getUint16(at + 24, true),
    anyHost: view.getUint32(at + 28, true),
    classes: readBytes(view, at + 32, 1792),
  }),
  (view, at, value) => {
    view.setBigUint64(at, value.dead, true);
    view.setUint16(at + 8, value.layout, true);
    view.setUint16(at + 10, value.ruleCount, true);
    view.setUint16(at + 12, value.lineStart, true);
    view.setUint16(at + 14, value.hostStart, true);
    view.setUint16(at + 16, value.headerStart, true);
    view.setUint16(at + 18, value.acceptingEnd, true);
    view.setUint16(at + 20, value.sets, true);
    view.setUint16(at + 22, value.slots, true);
    view.setUint16(at + 24, value.slotCount, true);
    view.setUint32(at + 28, value.anyHost, true);
    writeBytes(view, at + 32, 1792, value.classes);
  },
);

/**
 * struct http_slot, 12 bytes. One header of the rules. Its values, of all lines of that name, run through one
 * automaton.
 */
export interface HttpSlot {
  /** Set of the rules that hold without the header. */
  readonly absent: number;
  /** Set of the rules that hold with it, whatever the value. */
  readonly present: number;
  /** State before the value. */
  readonly start: number;
}
/** Reads and writes {@link HttpSlot}. */
export const httpSlotCodec = structCodec<HttpSlot>(
  "http_slot",
  12,
  (view, at) => ({
    absent: view.getUint32(at, true),
    present: view.getUint32(at + 4, true),
    start: view.getUint16(at + 8, true),
  }),
  (view, at, value) => {
    view.setUint32(at, value.absent, true);
    view.setUint32(at + 4, value.present, true);
    view.setUint16(at + 8, value.start, true);
  },
);

/**
 * struct ipcache_key, 24 bytes. ipcache: longest prefix -> who that is. prefixlen counts from `family` (8 bits +
 * 24 of padding) on: 32 + address bits.
 */
export interface IpcacheKey {
  readonly prefixlen: number;
  /** enum ip_family. */
  readonly family: number;
  readonly addr: Uint8Array;
}
/** Reads and writes {@link IpcacheKey}. */
export const ipcacheKeyCodec = structCodec<IpcacheKey>(
  "ipcache_key",
  24,
  (view, at) => ({
    prefixlen: view.getUint32(at, true),
    family: view.getUint8(at + 4),
    addr: readBytes(view, at + 8, 16),
  }),
  (view, at, value) => {
    view.setUint32(at, value.prefixlen, true);
    view.setUint8(at + 4, value.family);
    writeBytes(view, at + 8, 16, value.addr);
  },
);

/** struct ipcache_value, 16 bytes. */
export interface IpcacheValue {
  readonly identity: NumericIdentity;
  /** Node to encapsulate to; 0 = here or direct. */
  readonly tunnelEndpoint: number;
  /** Endpoint of this node, or 0. */
  readonly endpointId: EndpointId;
  readonly flags: number;
}
/** Reads and writes {@link IpcacheValue}. */
export const ipcacheValueCodec = structCodec<IpcacheValue>(
  "ipcache_value",
  16,
  (view, at) => ({
    identity: view.getUint32(at, true) as NumericIdentity,
    tunnelEndpoint: view.getUint32(at + 4, false),
    endpointId: view.getUint16(at + 8, true) as EndpointId,
    flags: view.getUint16(at + 10, true),
  }),
  (view, at, value) => {
    view.setUint32(at, value.identity, true);
    view.setUint32(at + 4, value.tunnelEndpoint, false);
    view.setUint16(at + 8, value.endpointId, true);
    view.setUint16(at + 10, value.flags, true);
  },
);

/** struct metric, 16 bytes. metrics[reason * 2 + direction]; reason 0 = forwarded. */
export interface Metric {
  readonly packets: bigint;
  readonly bytes: bigint;
}
/** Reads and writes {@link Metric}. */
export const metricCodec = structCodec<Metric>(
  "metric",
  16,
  (view, at) => ({
    packets: view.getBigUint64(at, true),
    bytes: view.getBigUint64(at + 8, true),
  }),
  (view, at, value) => {
    view.setBigUint64(at, value.packets, true);
    view.setBigUint64(at + 8, value.bytes, true);
  },
);

/**
 * struct nat_key, 40 bytes. Masquerading: one map holds each mapping twice, keyed by either side. ICMP echo:
 * local port = id, remote port = 0. A mapping is in use as long as conntrack knows its connection.
 */
export interface NatKey {
  readonly family: number;
  readonly protocol: number;
  /** forward: of the pod; reverse: of the node. */
  readonly localPort: number;
  readonly remotePort: number;
  /** 0: pod -> world, 1: world -> node. */
  readonly reverse: number;
  readonly local: Uint8Array;
  readonly remote: Uint8Array;
}
/** Reads and writes {@link NatKey}. */
export const natKeyCodec = structCodec<NatKey>(
  "nat_key",
  40,
  (view, at) => ({
    family: view.getUint8(at),
    protocol: view.getUint8(at + 1),
    localPort: view.getUint16(at + 2, false),
    remotePort: view.getUint16(at + 4, false),
    reverse: view.getUint16(at + 6, true),
    local: readBytes(view, at + 8, 16),
    remote: readBytes(view, at + 24, 16),
  }),
  (view, at, value) => {
    view.setUint8(at, value.family);
    view.setUint8(at + 1, value.protocol);
    view.setUint16(at + 2, value.localPort, false);
    view.setUint16(at + 4, value.remotePort, false);
    view.setUint16(at + 6, value.reverse, true);
    writeBytes(view, at + 8, 16, value.local);
    writeBytes(view, at + 24, 16, value.remote);
  },
);

/** struct nat_value, 24 bytes. */
export interface NatValue {
  /** forward: masquerade address; reverse: pod address. */
  readonly addr: Uint8Array;
  readonly port: number;
  /** Seconds of CLOCK_MONOTONIC. */
  readonly lastSeen: number;
}
/** Reads and writes {@link NatValue}. */
export const natValueCodec = structCodec<NatValue>(
  "nat_value",
  24,
  (view, at) => ({
    addr: readBytes(view, at, 16),
    port: view.getUint16(at + 16, false),
    lastSeen: view.getUint32(at + 20, true),
  }),
  (view, at, value) => {
    writeBytes(view, at, 16, value.addr);
    view.setUint16(at + 16, value.port, false);
    view.setUint32(at + 20, value.lastSeen, true);
  },
);

/** struct node_config, 80 bytes. node_config[0]. */
export interface NodeConfig {
  /** Raised after every change that may alter a verdict; connections judged under an older one are re-judged. */
  readonly policyEpoch: number;
  /** enum node_flags. */
  readonly flags: number;
  /** The node's own address towards its pods; their next hop is link-local. */
  readonly routerIpv4: number;
  /** Source of masqueraded packets; 0 = no masquerading. */
  readonly masqIpv4: number;
  readonly routerIpv6: Uint8Array;
  readonly masqIpv6: Uint8Array;
  readonly podCidrIpv4: number;
  readonly podMaskIpv4: number;
  readonly podCidrIpv6: Uint8Array;
  /** Bits. */
  readonly podPrefixIpv6: number;
  /** The device towards the world; 0 = none. */
  readonly worldIfindex: number;
}
/** Reads and writes {@link NodeConfig}. */
export const nodeConfigCodec = structCodec<NodeConfig>(
  "node_config",
  80,
  (view, at) => ({
    policyEpoch: view.getUint32(at, true),
    flags: view.getUint32(at + 4, true),
    routerIpv4: view.getUint32(at + 8, false),
    masqIpv4: view.getUint32(at + 12, false),
    routerIpv6: readBytes(view, at + 16, 16),
    masqIpv6: readBytes(view, at + 32, 16),
    podCidrIpv4: view.getUint32(at + 48, false),
    podMaskIpv4: view.getUint32(at + 52, false),
    podCidrIpv6: readBytes(view, at + 56, 16),
    podPrefixIpv6: view.getUint32(at + 72, true),
    worldIfindex: view.getUint32(at + 76, true),
  }),
  (view, at, value) => {
    view.setUint32(at, value.policyEpoch, true);
    view.setUint32(at + 4, value.flags, true);
    view.setUint32(at + 8, value.routerIpv4, false);
    view.setUint32(at + 12, value.masqIpv4, false);
    writeBytes(view, at + 16, 16, value.routerIpv6);
    writeBytes(view, at + 32, 16, value.masqIpv6);
    view.setUint32(at + 48, value.podCidrIpv4, false);
    view.setUint32(at + 52, value.podMaskIpv4, false);
    writeBytes(view, at + 56, 16, value.podCidrIpv6);
    view.setUint32(at + 72, value.podPrefixIpv6, true);
    view.setUint32(at + 76, value.worldIfindex, true);
  },
);

/** struct policy_entry, 16 bytes. */
export interface PolicyEntry {
  /** The higher one of (identity, any) decides. */
  readonly precedence: number;
  /** Index into the set's provenance: which rules made this entry. */
  readonly cookie: number;
  /** With POLICY_F_REDIRECT: judges the requests in the kernel; 0: the proxy does. */
  readonly httpProgram: number;
  /** Host order; with POLICY_F_REDIRECT; 0: no proxy listens. */
  readonly proxyPort: number;
  /** Prefixlen - POLICY_PREFIX_L3: breaks ties of precedence. */
  readonly l4Prefix: number;
  /** enum policy_flags. */
  readonly flags: number;
}
/** Reads and writes {@link PolicyEntry}. */
export const policyEntryCodec = structCodec<PolicyEntry>(
  "policy_entry",
  16,
  (view, at) => ({
    precedence: view.getUint32(at, true),
    cookie: view.getUint32(at + 4, true),
    httpProgram: view.getUint32(at + 8, true),
    proxyPort: view.getUint16(at + 12, true),
    l4Prefix: view.getUint8(at + 14),
    flags: view.getUint8(at + 15),
  }),
  (view, at, value) => {
    view.setUint32(at, value.precedence, true);
    view.setUint32(at + 4, value.cookie, true);
    view.setUint32(at + 8, value.httpProgram, true);
    view.setUint16(at + 12, value.proxyPort, true);
    view.setUint8(at + 14, value.l4Prefix);
    view.setUint8(at + 15, value.flags);
  },
);

/**
 * struct policy_key, 16 bytes. policy: longest prefix wins among the entries of one (set, identity). prefixlen:
 * 72 bits up to and including direction, then protocol (8) and destination port (0..16); protocol may only be
 * wild if the port is.
 */
export interface PolicyKey {
  readonly prefixlen: number;
  readonly set: PolicySetId;
  /** 0 = any. */
  readonly identity: NumericIdentity;
  /** enum direction. */
  readonly direction: number;
  /** IPPROTO_*; 0 with a short prefix = any. */
  readonly protocol: number;
  /** Destination port; ICMP: type. */
  readonly dport: number;
}
/** Reads and writes {@link PolicyKey}. */
export const policyKeyCodec = structCodec<PolicyKey>(
  "policy_key",
  16,
  (view, at) => ({
    prefixlen: view.getUint32(at, true),
    set: view.getUint32(at + 4, true) as PolicySetId,
    identity: view.getUint32(at + 8, true) as NumericIdentity,
    direction: view.getUint8(at + 12),
    protocol: view.getUint8(at + 13),
    dport: view.getUint16(at + 14, false),
  }),
  (view, at, value) => {
    view.setUint32(at, value.prefixlen, true);
    view.setUint32(at + 4, value.set, true);
    view.setUint32(at + 8, value.identity, true);
    view.setUint8(at + 12, value.direction);
    view.setUint8(at + 13, value.protocol);
    view.setUint16(at + 14, value.dport, false);
  },
);

/**
 * struct proxy_datagram_tail, 20 bytes. Behind the payload of every datagram that is handed to the proxy: whom
 * the client sent it to.
 */
export interface ProxyDatagramTail {
  readonly address: Uint8Array;
  readonly port: number;
}
/** Reads and writes {@link ProxyDatagramTail}. */
export const proxyDatagramTailCodec = structCodec<ProxyDatagramTail>(
  "proxy_datagram_tail",
  20,
  (view, at) => ({
    address: readBytes(view, at, 16),
    port: view.getUint16(at + 16, false),
  }),
  (view, at, value) => {
    writeBytes(view, at, 16, value.address);
    view.setUint16(at + 16, value.port, false);
  },
);

/** struct verdict_event, 88 bytes. */
export interface VerdictEvent {
  /** CLOCK_MONOTONIC. */
  readonly timeNs: bigint;
  /** enum event_type. */
  readonly type: number;
  /** enum verdict. */
  readonly verdict: number;
  /** enum drop_reason. */
  readonly reason: number;
  /** enum direction, as the subject sees the connection (not the packet). */
  readonly direction: number;
  /** enum observation_point. */
  readonly point: number;
  /** enum ip_family; 0: not IP. */
  readonly family: number;
  readonly protocol: number;
  readonly tcpFlags: number;
  /** enum policy_match. */
  readonly match: number;
  /** enum event_flags. */
  readonly flags: number;
  /** The endpoint whose policy spoke, or that dropped it. */
  readonly subject: EndpointId;
  readonly srcIdentity: NumericIdentity;
  readonly dstIdentity: NumericIdentity;
  readonly srcEp: EndpointId;
  readonly dstEp: EndpointId;
  /** ICMP: type. */
  readonly sport: number;
  /** ICMP: code. */
  readonly dport: number;
  readonly src: Uint8Array;
  readonly dst: Uint8Array;
  /** With policy_cookie: the rules that decided. */
  readonly policySet: PolicySetId;
  readonly policyCookie: number;
  /** Bytes on the wire, link header excluded. */
  readonly length: number;
  readonly ifindex: number;
  /** Host order. */
  readonly ethertype: number;
  readonly proxyPort: number;
}
/** Reads and writes {@link VerdictEvent}. */
export const verdictEventCodec = structCodec<VerdictEvent>(
  "verdict_event",
  88,
  (view, at) => ({
    timeNs: view.getBigUint64(at, true),
    type: view.getUint8(at + 8),
    verdict: view.getUint8(at + 9),
    reason: view.getUint8(at + 10),
    direction: view.getUint8(at + 11),
    point: view.getUint8(at + 12),
    family: view.getUint8(at + 13),
    protocol: view.getUint8(at + 14),
    tcpFlags: view.getUint8(at + 15),
    match: view.getUint8(at + 16),
    flags: view.getUint8(at + 17),
    subject: view.getUint16(at + 18, true) as EndpointId,
    srcIdentity: view.getUint32(at + 20, true) as NumericIdentity,
    dstIdentity: view.getUint32(at + 24, true) as NumericIdentity,
    srcEp: view.getUint16(at + 28, true) as EndpointId,
    dstEp: view.getUint16(at + 30, true) as EndpointId,
    sport: view.getUint16(at + 32, false),
    dport: view.getUint16(at + 34, false),
    src: readBytes(view, at + 36, 16),
    dst: readBytes(view, at + 52, 16),
    policySet: view.getUint32(at + 68, true) as PolicySetId,
    policyCookie: view.getUint32(at + 72, true),
    length: view.getUint32(at + 76, true),
    ifindex: view.getUint32(at + 80, true),
    ethertype: view.getUint16(at + 84, true),
    proxyPort: view.getUint16(at + 86, true),
  }),
  (view, at, value) => {
    view.setBigUint64(at, value.timeNs, true);
    view.setUint8(at + 8, value.type);
    view.setUint8(at + 9, value.verdict);
    view.setUint8(at + 10, value.reason);
    view.setUint8(at + 11, value.direction);
    view.setUint8(at + 12, value.point);
    view.setUint8(at + 13, value.family);
    view.setUint8(at + 14, value.protocol);
    view.setUint8(at + 15, value.tcpFlags);
    view.setUint8(at + 16, value.match);
    view.setUint8(at + 17, value.flags);
    view.setUint16(at + 18, value.subject, true);
    view.setUint32(at + 20, value.srcIdentity, true);
    view.setUint32(at + 24, value.dstIdentity, true);
    view.setUint16(at + 28, value.srcEp, true);
    view.setUint16(at + 30, value.dstEp, true);
    view.setUint16(at + 32, value.sport, false);
    view.setUint16(at + 34, value.dport, false);
    writeBytes(view, at + 36, 16, value.src);
    writeBytes(view, at + 52, 16, value.dst);
    view.setUint32(at + 68, value.policySet, true);
    view.setUint32(at + 72, value.policyCookie, true);
    view.setUint32(at + 76, value.length, true);
    view.setUint32(at + 80, value.ifindex, true);
    view.setUint16(at + 84, value.ethertype, true);
    view.setUint16(at + 86, value.proxyPort, true);
  },
);
