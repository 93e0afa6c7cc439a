/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Codes that users see. Verdicts and drop reasons carry Hubble's numbers (flow.proto). */
#pragma once

enum verdict {
	VERDICT_FORWARDED = 1,
	VERDICT_DROPPED = 2,
	VERDICT_ERROR = 3,
	VERDICT_AUDIT = 4,
	VERDICT_REDIRECTED = 5,
};

enum drop_reason {
	DROP_NONE = 0,
	DROP_INVALID_SOURCE_IP = 132,      /* not an address of the sending endpoint */
	DROP_POLICY_DENIED = 133,          /* no entry allows it: default deny */
	DROP_INVALID_PACKET = 134,         /* lengths or headers contradict each other */
	DROP_CT_INVALID_HEADER = 135,      /* too short for its own protocol header */
	DROP_UNKNOWN_L4 = 142,             /* a protocol that we can't track */
	DROP_WRITE_ERROR = 141,            /* the kernel refused a packet rewrite */
	DROP_UNSUPPORTED_L3 = 139,         /* neither IPv4, IPv6 nor ARP */
	DROP_STALE_OR_UNROUTABLE = 151,    /* a pod address that no endpoint of this node has */
	DROP_CT_MAP_INSERTION_FAILED = 155,
	DROP_IPV6_EXTENSION_HEADER = 156,
	DROP_FRAGMENT = 157,               /* fragments other than of tracked datagrams */
	DROP_CT_UNKNOWN = 163,             /* HTTP: held until its sender repeats it in order */
	DROP_NAT_NO_MAPPING = 167,         /* no free masquerade port */
	DROP_NAT_UNSUPPORTED = 168,
	DROP_UNSUPPORTED_L2 = 166,         /* VLAN tags and other link-layer surprises */
	DROP_FORBIDDEN_ICMP6 = 176,        /* neighbour discovery and multicast chatter of workloads: counted, never reported */
	DROP_PROXY_LOOKUP_FAILED = 178,    /* no proxy socket is listening: fail closed */
	DROP_PROXY_ASSIGN_FAILED = 179,
	DROP_PROXY_NOT_SUPPORTED = 180,    /* an entry redirects a protocol that no listener speaks */
	DROP_POLICY_DENY = 181,            /* an explicit deny */
	DROP_EP_NOT_READY = 203,           /* endpoint known, its configuration not yet complete */
};

/* How specific the deciding policy entry was; Cilium's numbers. */
enum policy_match {
	MATCH_NONE = 0,
	MATCH_L3 = 1,       /* identity */
	MATCH_L3_L4 = 2,    /* identity and port */
	MATCH_L4 = 3,       /* any identity, port */
	MATCH_ALL = 4,      /* any identity, any port */
	MATCH_L3_PROTO = 5, /* identity and protocol */
	MATCH_PROTO = 6,    /* any identity, protocol */
};

enum event_type {
	EVENT_VERDICT = 1, /* a direction was judged: first packet of a connection, or again after a policy change */
	EVENT_DROP = 2,    /* a packet was dropped for a reason other than a fresh policy verdict */
	EVENT_TRACE = 3,   /* a connection's life: closing, reset, first reply */
	EVENT_HTTP = 4,    /* a request or response judged in the kernel: struct http_event */
};

/* Where in the kernel the event arose. */
enum observation_point {
	POINT_FROM_ENDPOINT = 1, /* host side of the endpoint's interface, packet leaves the workload */
	POINT_TO_ENDPOINT = 2,   /* packet enters the workload */
	POINT_FROM_NETWORK = 3,  /* node's device, ingress */
	POINT_TO_NETWORK = 4,    /* node's device, egress */
};

/* Places where a kernel helper can fail: helper_errors[site] counts how often it did. */
enum helper_site {
	SITE_CT_UPDATE = 0,       /* conntrack entry not stored */
	SITE_NAT_UPDATE = 1,      /* masquerade mapping not stored */
	SITE_FRAGMENT_UPDATE = 2, /* ports of a first fragment not stored: its other fragments will be dropped */
	SITE_PULL_DATA = 3,       /* headers not made linear */
	SITE_LOAD_BYTES = 4,      /* shorter than its own lengths say */
	SITE_STORE_BYTES = 5,
	SITE_L3_CSUM = 6,
	SITE_L4_CSUM = 7,
	SITE_CHANGE_TAIL = 8,     /* no room for a neighbour advertisement */
	SITE_CHANGE_TYPE = 9,
	SITE_SK_ASSIGN = 10,      /* the listener's socket was refused */
	SITE_CLONE = 11,          /* no memory for the packet that would have ended a lingering socket of the proxy */
	SITE_SOCK_HASH = 12,      /* socket not entered for redirect; its connection goes by TCP */
	SITE_COUNT = 13,
};
