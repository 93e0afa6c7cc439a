/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Keys and values of the maps that userspace fills or reads. No bitfields, no implicit padding. */
#pragma once

#include "types.h"

/* node_config[0] */
struct node_config {
	__u32 policy_epoch;   /* raised after every change that may alter a verdict; connections judged under an older one are re-judged */
	__u32 flags;          /* enum node_flags */
	__be32 router_ipv4;   /* the node's own address towards its pods; their next hop is link-local */
	__be32 masq_ipv4;     /* source of masqueraded packets; 0 = no masquerading */
	struct ip_addr router_ipv6;
	struct ip_addr masq_ipv6;
	__be32 pod_cidr_ipv4;
	__be32 pod_mask_ipv4;
	struct ip_addr pod_cidr_ipv6;
	__u32 pod_prefix_ipv6; /* bits */
	__u32 world_ifindex;   /* the device towards the world; 0 = none */
};

enum node_flags {
	NODE_F_MASQ_IPV4 = 1,
	NODE_F_MASQ_IPV6 = 2,
	NODE_F_TRACE_CLOSE = 4, /* an event at the end of a connection too */
};

/* endpoints[endpoint_id] */
struct endpoint {
	__u32 ifindex;           /* host side of the veth pair; 0 = slot is free */
	identity_t identity;
	policy_set_t policy_set; /* switching a policy is one store to this field */
	endpoint_id_t id;
	__u16 flags;             /* enum endpoint_flags */
	__u8 mac[6];             /* the workload's interface */
	__u8 host_mac[6];        /* the host side: the workload's next hop */
	__be32 ipv4;
	struct ip_addr ipv6;
};

enum endpoint_flags {
	ENDPOINT_F_IPV4 = 1,
	ENDPOINT_F_IPV6 = 2,
};

/* ipcache: longest prefix -> who that is. prefixlen counts from `family` (8 bits + 24 of padding) on: 32 + address bits. */
struct ipcache_key {
	__u32 prefixlen;
	__u8 family; /* enum ip_family */
	__u8 pad[3];
	struct ip_addr addr;
};

struct ipcache_value {
	identity_t identity;
	__be32 tunnel_endpoint;   /* node to encapsulate to; 0 = here or direct */
	endpoint_id_t endpoint_id; /* endpoint of this node, or 0 */
	__u16 flags;
	__u32 pad;
};

/* policy: longest prefix wins among the entries of one (set, identity). prefixlen: 72 bits up to and including
 * direction, then protocol (8) and destination port (0..16); protocol may only be wild if the port is. */
struct policy_key {
	__u32 prefixlen;
	policy_set_t set;
	identity_t identity; /* 0 = any */
	__u8 direction;      /* enum direction */
	__u8 protocol;       /* IPPROTO_*; 0 with a short prefix = any */
	__be16 dport;        /* destination port; ICMP: type */
};

enum policy_prefix {
	POLICY_PREFIX_L3 = 72,
	POLICY_PREFIX_PROTO = 80,
	POLICY_PREFIX_FULL = 96,
};

struct policy_entry {
	__u32 precedence; /* the higher one of (identity, any) decides */
	__u32 cookie;     /* index into the set's provenance: which rules made this entry */
	__u32 http_program; /* with POLICY_F_REDIRECT: judges the requests in the kernel; 0: the proxy does */
	__u16 proxy_port; /* host order; with POLICY_F_REDIRECT; 0: no proxy listens */
	__u8 l4_prefix;   /* prefixlen - POLICY_PREFIX_L3: breaks ties of precedence */
	__u8 flags;       /* enum policy_flags */
};

enum policy_flags {
	POLICY_F_DENY = 1,
	POLICY_F_REDIRECT = 2,
	POLICY_F_AUDIT = 4,      /* would be denied; forwarded and reported */
	POLICY_F_UNENFORCED = 8, /* the direction has no policy: allowed, and not a policy verdict */
};

/* Connection tracking: one entry serves both directions. "lo" is the numerically smaller (address, port) pair in
 * network byte order; CT_F_INITIATOR_LO says that it opened the connection. ICMP echo: the initiator's port is the id,
 * the other one 0, so that two hosts pinging each other with one id stay two connections. */
struct ct4_key {
	__be32 addr_lo;
	__be32 addr_hi;
	__be16 port_lo;
	__be16 port_hi;
	__u8 protocol;
	__u8 leg;    /* enum ct_leg */
	__u8 pad[2];
};

struct ct6_key {
	struct ip_addr addr_lo;
	struct ip_addr addr_hi;
	__be16 port_lo;
	__be16 port_hi;
	__u8 protocol;
	__u8 leg;    /* enum ct_leg */
	__u8 pad[2];
};

/* The proxy opens its leg with the client's address and a port of its own, which the client may be using too. */
enum ct_leg {
	CT_LEG_CLIENT = 0, /* the workload's own connection, proxied or not */
	CT_LEG_PROXY = 1,  /* the proxy's connection to the server */
};

struct ct_entry {
	__u32 expires;            /* seconds of CLOCK_MONOTONIC */
	__u32 epoch;              /* node_config.policy_epoch of the last judgement */
	identity_t src_identity;  /* of the initiator */
	identity_t dst_identity;
	endpoint_id_t src_ep;     /* endpoint of the initiator on this node, or 0 */
	endpoint_id_t dst_ep;
	__u16 flags;              /* enum ct_flags */
	__u16 proxy_port;         /* host order; with CT_F_PROXIED */
	__u32 http_program;       /* with CT_F_HTTP: number of the rules in force, or enum http_program_number */
};

enum ct_flags {
	CT_F_INITIATOR_LO = 1,
	CT_F_SEEN_REPLY = 2,
	CT_F_FIN_FORWARD = 4,  /* the initiator has closed its half */
	CT_F_FIN_REVERSE = 8,
	CT_F_RST = 16,
	CT_F_PROXIED = 32,     /* client's leg: terminated by the L7 proxy */
	CT_F_PROXY_LEG = 64,   /* proxy's leg to the server, carrying the client's address */
	CT_F_SEEN_SYN = 128,
	CT_F_ESTABLISHED = 256, /* both sides have spoken; TCP: the initiator has answered the SYN-ACK */
	CT_F_DENIED = 512,      /* cut by a policy change; kept so that neither side can revive it without a new SYN */
	CT_F_HTTP = 1024,       /* its HTTP is judged in the kernel */
	CT_F_HTTP_EGRESS = 2048, /* ... by the rules of its initiator */
};

/* Masquerading: one map holds each mapping twice, keyed by either side. ICMP echo: local port = id, remote port = 0.
 * A mapping is in use as long as conntrack knows its connection. */
struct nat_key {
	__u8 family;
	__u8 protocol;
	__be16 local_port;   /* forward: of the pod; reverse: of the node */
	__be16 remote_port;
	__u16 reverse;       /* 0: pod -> world, 1: world -> node */
	struct ip_addr local;
	struct ip_addr remote;
};

struct nat_value {
	struct ip_addr addr; /* forward: masquerade address; reverse: pod address */
	__be16 port;
	__u16 pad;
	__u32 last_seen;     /* seconds of CLOCK_MONOTONIC */
};

/* metrics[reason * 2 + direction]; reason 0 = forwarded */
struct metric {
	__u64 packets;
	__u64 bytes;
};
