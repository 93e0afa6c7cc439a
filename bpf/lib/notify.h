/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Telling the observer. An event that finds no room is counted; it never changes what happens to the packet. */
#pragma once

#include "maps.h"
#include "metrics.h"
#include "packet.h"

struct peer {
	identity_t identity;
	endpoint_id_t ep; /* 0: not on this node */
	__u16 pad;
};

/* A packet's two ends, and what was found out about its connection. */
struct flow {
	struct peer src; /* as the packet travels */
	struct peer dst;
	struct policy_entry decided; /* by the policy of the direction judged last */
	policy_set_t policy_set;
	__u16 proxy_port;  /* host order; not 0: redirected */
	__u16 ct_flags;    /* before this packet; 0: a new connection */
	endpoint_id_t subject; /* whose packet or policy it is */
	__u8 direction;    /* as the subject sees it */
	__u8 match;        /* enum policy_match */
	__u8 reply;        /* runs against the connection's direction */
	__u8 to_proxy;     /* one end is the proxy, and the packet is for it */
	__u8 reported;     /* the observer knows already, or need not know */
	__u8 event_flags;
	__u8 to_http;      /* the HTTP programs have the next word */
	__u8 http_direction; /* whose rules judge the requests */
	__u32 http_program; /* not 0: they judge them in the kernel */
};

inline_always void count_lost_event(void)
{
	__u32 zero = 0;
	__u64 *lost = bpf_map_lookup_elem(&events_lost, &zero);

	if (lost)
		(*lost)++;
}

/* The observer polls; it is woken only when the buffer threatens to fill up. */
inline_always __u64 wakeup_flag(void)
{
	return bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) > EVENTS_BYTES / 2 ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

inline_always void event_addresses(struct verdict_event *event, const struct packet *packet)
{
	event->family = packet->family;
	event->protocol = packet->protocol;
	event->tcp_flags = packet->tcp_flags;
	event->src = packet->src;
	event->dst = packet->dst;
	event->sport = packet->sport;
	event->dport = packet->dport;
	if (packet->protocol == IPPROTO_ICMP || packet->protocol == IPPROTO_ICMPV6) {
		event->sport = bpf_htons(packet->icmp_type);
		event->dport = bpf_htons(packet->icmp_code);
	}
	event->ethertype = packet->ethertype;
	event->length = packet->length;
	event->point = packet->hook;
}

inline_always void event_flow(struct verdict_event *event, const struct flow *flow)
{
	event->src_identity = flow->src.identity;
	event->dst_identity = flow->dst.identity;
	event->src_ep = flow->src.ep;
	event->dst_ep = flow->dst.ep;
	event->flags = flow->event_flags | (flow->reply ? EVENT_F_REPLY : 0);
	event->match = flow->match;
	event->policy_set = flow->policy_set;
	event->policy_cookie = flow->decided.cookie;
	event->proxy_port = flow->decided.proxy_port;
	event->direction = flow->direction;
	event->subject = flow->subject;
}

stage void notify(struct __sk_buff *skb, const struct packet *packet, const struct flow *flow, enum event_type type, __u32 outcome)
{
	struct verdict_event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event) {
		count_lost_event();
		return;
	}
	event->time_ns = bpf_ktime_get_ns();
	event->type = type;
	event->verdict = outcome >> 8;
	event->reason = outcome;
	event->ifindex = skb->ifindex;
	event_addresses(event, packet);
	event_flow(event, flow);
	bpf_ringbuf_submit(event, wakeup_flag());
}

/* The fifth argument of notify(): a BPF function takes no sixth. */
inline_always __u32 outcome(enum verdict verdict, __u32 reason)
{
	return verdict << 8 | reason;
}

/* A drop that nobody need hear about: the workload's link-local chatter, more packets of a connection already cut. */
inline_always int drop_quietly(struct __sk_buff *skb, __u32 reason, enum direction direction)
{
	count_packet(reason, direction, skb->len - ETH_HLEN);
	return TC_ACT_SHOT;
}

stage int drop(struct __sk_buff *skb, const struct packet *packet, const struct flow *flow, __u32 reason)
{
	if (!flow->reported)
		notify(skb, packet, flow, EVENT_DROP, outcome(VERDICT_DROPPED, reason));
	return drop_quietly(skb, reason, flow->direction);
}
