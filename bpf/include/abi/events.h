/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What the kernel tells the observer, through the ring buffer `events`. */
#pragma once

#include "types.h"
#include "codes.h"

struct verdict_event {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u8 type;     /* enum event_type */
	__u8 verdict;  /* enum verdict */
	__u8 reason;   /* enum drop_reason */
	__u8 direction; /* enum direction, as the subject sees the connection (not the packet) */
	__u8 point;    /* enum observation_point */
	__u8 family;   /* enum ip_family; 0: not IP */
	__u8 protocol;
	__u8 tcp_flags;
	__u8 match;    /* enum policy_match */
	__u8 flags;    /* enum event_flags */
	endpoint_id_t subject; /* the endpoint whose policy spoke, or that dropped it */
	/* As the packet travels: */
	identity_t src_identity;
	identity_t dst_identity;
	endpoint_id_t src_ep;
	endpoint_id_t dst_ep;
	__be16 sport;  /* ICMP: type */
	__be16 dport;  /* ICMP: code */
	struct ip_addr src;
	struct ip_addr dst;
	policy_set_t policy_set; /* with policy_cookie: the rules that decided */
	__u32 policy_cookie;
	__u32 length;    /* bytes on the wire, link header excluded */
	__u32 ifindex;
	__u16 ethertype; /* host order */
	__u16 proxy_port;
};

enum event_flags {
	EVENT_F_REPLY = 1,      /* the packet runs against the connection's direction */
	EVENT_F_REJUDGED = 2,   /* an established connection under a new policy */
	EVENT_F_RELATED = 4,    /* an ICMP error about a known connection */
	EVENT_F_UNENFORCED = 8, /* no policy selects the subject in this direction */
};
