/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* May this packet pass? Connection tracking and policy together: the slow path's core, the same for every hook.
 *
 * A connection is judged once, in the direction in which it was opened, by the egress policy of its initiator and the
 * ingress policy of its responder, as far as they are endpoints of this node. Its entry remembers the policy epoch; under
 * a newer one it is judged again. A connection refused then stays in the table as "denied", or else the other side's next
 * packet would open it anew, the other way round. */
#pragma once

#include "conntrack.h"
#include "http_hand_over.h"
#include "http_learn.h"
#include "ipcache.h"
#include "notify.h"
#include "policy.h"
#include "proxy.h"
#include "related.h"

/* Whether the kernel judges the requests: the entry has a program for it, the port is not known to speak something else, and the
 * other direction has no rules of its own. Two sets of rules on one connection are the proxy's. */
inline_always int judges_in_kernel(const struct packet *packet, struct flow *flow)
{
	const struct peer *other = flow->direction == DIRECTION_EGRESS ? responder(flow) : initiator(flow);

	if (!flow->decided.http_program || flow->http_program || flow->proxy_port)
		return 0;
	if (http_foreign_port(flow->subject, flow->direction, other->identity, policy_port(packet, flow)))
		return 0;
	flow->http_program = flow->decided.http_program;
	flow->http_direction = flow->direction;
	return 1;
}

inline_always int take_to_proxy(struct flow *flow)
{
	flow->http_program = 0;
	if (!flow->proxy_port)
		flow->proxy_port = flow->decided.proxy_port;
	return flow->proxy_port ? DROP_NONE : DROP_PROXY_LOOKUP_FAILED;
}

/* One direction; tells the observer, except that a re-judged connection may go on as before. */
stage int judge_direction(struct __sk_buff *skb, const struct packet *packet, struct flow *flow, enum direction direction)
{
	enum verdict verdict = VERDICT_FORWARDED;
	int reason = policy_judge(packet, flow, direction);

	flow->direction = direction;
	flow->subject = direction == DIRECTION_EGRESS ? initiator(flow)->ep : responder(flow)->ep;
	if (!reason && flow->decided.flags & POLICY_F_REDIRECT) {
		if (!is_proxied_protocol(packet))
			reason = DROP_PROXY_NOT_SUPPORTED;
		else if (packet->protocol == IPPROTO_UDP || !judges_in_kernel(packet, flow))
			reason = take_to_proxy(flow);
		if (flow->proxy_port)
			verdict = VERDICT_REDIRECTED;
	}
	/* Also of what goes to the proxy: a staged policy may deny a connection whose requests others judge. */
	if (flow->decided.flags & POLICY_F_AUDIT)
		verdict = VERDICT_AUDIT;
	if (reason)
		verdict = VERDICT_DROPPED;

	flow->event_flags &= ~EVENT_F_UNENFORCED;
	if (flow->decided.flags & POLICY_F_UNENFORCED)
		flow->event_flags |= EVENT_F_UNENFORCED;
	flow->reported = reason != DROP_NONE;
	if (reason || !(flow->event_flags & EVENT_F_REJUDGED) || flow->ct_flags & CT_F_DENIED)
		notify(skb, packet, flow, EVENT_VERDICT, outcome(verdict, reason));
	return reason;
}

/* Both directions; a redirect of either sends the connection through the proxy, a refusal of either ends it. */
inline_always int judge(struct __sk_buff *skb, const struct packet *packet, struct flow *flow)
{
	int reason = DROP_NONE;

	if (initiator(flow)->ep)
		reason = judge_direction(skb, packet, flow, DIRECTION_EGRESS);
	if (!reason && responder(flow)->ep)
		reason = judge_direction(skb, packet, flow, DIRECTION_INGRESS);
	return reason;
}

/* Whether a packet that passed without an entry opens a connection: answers never do. */
inline_always int opens_connection(const struct packet *packet)
{
	if (packet->kind != KIND_TRACKED)
		return 0;
	if (packet->protocol == IPPROTO_TCP)
		return !(packet->tcp_flags & TCP_RST) && (packet->tcp_flags & (TCP_SYN | TCP_ACK)) != (TCP_SYN | TCP_ACK);
	if (packet->protocol == IPPROTO_ICMP)
		return packet->icmp_type == ICMP_ECHO;
	if (packet->protocol == IPPROTO_ICMPV6)
		return packet->icmp_type == ICMP6_ECHO;
	return 1;
}

inline_always __u16 http_flags(const struct flow *flow)
{
	return flow->http_direction == DIRECTION_EGRESS ? CT_F_HTTP | CT_F_HTTP_EGRESS : CT_F_HTTP;
}

/* A standing connection under newer rules. Once judged in the kernel it stays there: its numbers may be translated, and what is on its
 * way can't change over. Returns why it may not go on. */
inline_always int readmit_http(const struct packet *packet, const struct flow *flow, struct ct_entry *entry)
{
	if (packet->protocol == IPPROTO_UDP && flow->proxy_port) { /* datagrams have no middle */
		entry->flags |= CT_F_PROXIED;
		entry->proxy_port = flow->proxy_port;
	}
	if (entry->flags & CT_F_PROXIED)
		return DROP_NONE;
	if (flow->http_program) {
		entry->flags = (entry->flags & ~CT_F_HTTP_EGRESS) | http_flags(flow);
		entry->http_program = flow->http_program;
	} else if (entry->flags & CT_F_HTTP) {
		entry->http_program = flow->proxy_port ? HTTP_PROGRAM_NONE : HTTP_PROGRAM_ANY;
	} else if (flow->proxy_port) {
		return DROP_PROXY_LOOKUP_FAILED; /* in the middle of a connection the proxy can't take over */
	}
	return DROP_NONE;
}

/* The first packet of a connection, or one that belongs to none. The epoch was read before the policy: if that changes
 * meanwhile, the entry is already old when it is stored. */
inline_always int admit_new(struct __sk_buff *skb, const struct packet *packet, struct flow *flow, __u32 epoch)
{
	struct ct_entry entry = {};
	int reason = judge(skb, packet, flow);

	if (reason || !opens_connection(packet))
		return reason;
	if (flow->proxy_port) {
		if (packet->protocol == IPPROTO_TCP && !is_tcp_open(packet) && !proxy_has_socket(skb, packet))
			return DROP_PROXY_LOOKUP_FAILED;
		entry.flags = CT_F_PROXIED;
		entry.proxy_port = flow->proxy_port;
		flow->to_proxy = 1;
	} else if (flow->http_program) {
		entry.flags = http_flags(flow);
		entry.http_program = flow->http_program;
		flow->to_http = 1;
	}
	entry.epoch = epoch;
	entry.src_identity = flow->src.identity;
	entry.dst_identity = flow->dst.identity;
	entry.src_ep = flow->src.ep;
	entry.dst_ep = flow->dst.ep;
	return ct_create(packet, &entry, CT_LEG_CLIENT);
}

/* A known connection under a newer policy; the flow's ends were looked up afresh. */
inline_always int readmit(struct __sk_buff *skb, const struct packet *packet, struct flow *flow, struct ct_entry *entry, __u32 epoch)
{
	int reason;

	flow->event_flags |= EVENT_F_REJUDGED;
	reason = judge(skb, packet, flow);
	if (!reason)
		reason = readmit_http(packet, flow, entry);

	entry->src_identity = initiator(flow)->identity;
	entry->dst_identity = responder(flow)->identity;
	entry->src_ep = initiator(flow)->ep;
	entry->dst_ep = responder(flow)->ep;
	entry->flags = reason ? entry->flags | CT_F_DENIED : entry->flags & ~CT_F_DENIED;
	if (reason)
		entry->expires = clock_seconds() + ct_lifetime(packet->protocol, entry->flags);
	entry->epoch = epoch;
	return reason;
}

/* A packet of a connection judged under the current policy. What is judged inside a connection, request by request, has its
 * place behind this: flow->to_http. */
inline_always int admit_known(struct __sk_buff *skb, const struct packet *packet, struct flow *flow, struct ct_entry *entry)
{
	__u32 zero = 0;
	struct node_config *config = bpf_map_lookup_elem(&node_config, &zero);

	if (entry->flags & CT_F_DENIED) {
		entry->expires = clock_seconds() + ct_lifetime(packet->protocol, entry->flags);
		flow->reported = 1;
		return DROP_POLICY_DENIED;
	}
	if (entry->flags & CT_F_PROXIED && flow->reply)
		return DROP_INVALID_SOURCE_IP; /* only the proxy answers a client whose connection ends there */
	if (ct_advance(entry, packet) && config && config->flags & NODE_F_TRACE_CLOSE) {
		__builtin_memset(&flow->decided, 0, sizeof(flow->decided));
		notify(skb, packet, flow, EVENT_TRACE, outcome(VERDICT_FORWARDED, DROP_NONE));
	}
	flow->to_proxy = entry->flags & CT_F_PROXIED && !flow->reply;
	flow->proxy_port = flow->to_proxy ? entry->proxy_port : 0;
	flow->to_http = !!(entry->flags & CT_F_HTTP);
	return DROP_NONE;
}

/* A hook knows for certain the end that is its own: the sender at from_endpoint, elsewhere the receiver. The other end is
 * looked up. At the hooks that look outwards it can't be an endpoint of this node: those come by another way. */
stage int identify_far_end(struct __sk_buff *skb, const struct packet *packet, struct flow *flow)
{
	if (packet->hook == POINT_FROM_ENDPOINT) {
		ipcache_lookup(&packet->dst, packet->family, &flow->dst);
		if (!flow->dst.ep && flow->dst.identity != IDENTITY_HOST && is_pod_address(&packet->dst, packet->family))
			return DROP_STALE_OR_UNROUTABLE;
		return DROP_NONE;
	}
	ipcache_lookup(&packet->src, packet->family, &flow->src);
	if (skb->ingress_ifindex)
		flow->src.identity = identity_from_outside(flow->src.identity, packet->family);
	return flow->src.ep ? DROP_INVALID_SOURCE_IP : DROP_NONE;
}

/* The same from the entry of a connection judged before. */
inline_always int recall_far_end(const struct packet *packet, struct flow *flow, const struct ct_entry *entry)
{
	struct peer opener = { .identity = entry->src_identity, .ep = entry->src_ep };
	struct peer other = { .identity = entry->dst_identity, .ep = entry->dst_ep };

	if (packet->hook == POINT_FROM_ENDPOINT) {
		flow->dst = flow->reply ? opener : other;
		return DROP_NONE;
	}
	flow->src = flow->reply ? other : opener;
	return flow->src.ep ? DROP_INVALID_SOURCE_IP : DROP_NONE;
}

/* Where an admitted packet of a judged connection goes: the action to return. */
inline_always int to_http(const struct packet *packet, const struct flow *flow)
{
	struct ct_entry *entry = ct_find(packet, CT_LEG_CLIENT);

	return entry ? hand_to_http(entry, packet->hook, flow->reply) : TC_ACT_SHOT;
}

/* DROP_NONE, or why the packet may not pass. Afterwards the flow says where it has to go: to_http, to_proxy, or dst. */
stage int admit(struct __sk_buff *skb, const struct packet *packet, struct flow *flow)
{
	struct ct_entry *entry = packet->kind == KIND_TRACKED ? ct_find(packet, CT_LEG_CLIENT) : 0;
	__u32 epoch = policy_epoch();
	int reason;

	if (packet->kind == KIND_ICMP_ERROR && is_related(skb, packet, flow))
		return DROP_NONE;
	if (!entry || ct_is_reopened(entry, packet, epoch)) {
		reason = identify_far_end(skb, packet, flow);
		return reason ? reason : admit_new(skb, packet, flow, epoch);
	}

	flow->reply = ct_is_reply(entry, packet);
	flow->ct_flags = entry->flags;
	if (entry->epoch == epoch) {
		reason = recall_far_end(packet, flow, entry);
	} else {
		reason = identify_far_end(skb, packet, flow);
		if (!reason)
			reason = readmit(skb, packet, flow, entry, epoch);
	}
	return reason ? reason : admit_known(skb, packet, flow, entry);
}
