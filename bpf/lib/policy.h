/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What one subject's policy says about one connection in one direction. */
#pragma once

#include "ipcache.h"
#include "maps.h"
#include "notify.h"
#include "packet.h"

/* The ends as the connection was opened, whichever way the packet runs. */
inline_always const struct peer *initiator(const struct flow *flow)
{
	return flow->reply ? &flow->dst : &flow->src;
}

inline_always const struct peer *responder(const struct flow *flow)
{
	return flow->reply ? &flow->src : &flow->dst;
}

/* Destination port as policies mean it: of the connection, and for ICMP the type of the message that opened it. */
inline_always __be16 policy_port(const struct packet *packet, const struct flow *flow)
{
	if (packet->protocol == IPPROTO_ICMP)
		return bpf_htons(flow->reply ? ICMP_ECHO : packet->icmp_type);
	if (packet->protocol == IPPROTO_ICMPV6)
		return bpf_htons(flow->reply ? ICMP6_ECHO : packet->icmp_type);
	return flow->reply ? packet->sport : packet->dport;
}

inline_always __u8 policy_match(int specific, __u8 l4_prefix, __u8 flags)
{
	if (flags & POLICY_F_UNENFORCED)
		return MATCH_ALL;
	if (!l4_prefix)
		return specific ? MATCH_L3 : MATCH_ALL;
	if (l4_prefix <= POLICY_PREFIX_PROTO - POLICY_PREFIX_L3)
		return specific ? MATCH_L3_PROTO : MATCH_PROTO;
	return specific ? MATCH_L3_L4 : MATCH_L4;
}

/* The deciding entry of a set goes to flow->decided. Two candidates, one for the peer's identity and one for any: higher
 * precedence, then longer L4 prefix, then the specific one. Returns 0 if the set has neither. */
inline_always int policy_decide(struct policy_key *key, struct flow *flow)
{
	struct policy_entry *specific, *any;
	int is_specific;

	key->prefixlen = POLICY_PREFIX_FULL;
	specific = key->identity ? bpf_map_lookup_elem(&policy, key) : 0;
	key->identity = 0;
	any = bpf_map_lookup_elem(&policy, key);

	is_specific = specific && (!any || specific->precedence > any->precedence ||
				   (specific->precedence == any->precedence && specific->l4_prefix >= any->l4_prefix));
	if (is_specific)
		flow->decided = *specific;
	else if (any)
		flow->decided = *any;
	else
		return 0;
	flow->match = policy_match(is_specific, flow->decided.l4_prefix, flow->decided.flags);
	return 1;
}

/* One direction of the connection: DROP_NONE or why not. flow->decided, match and policy_set say what decided. */
stage int policy_judge(const struct packet *packet, struct flow *flow, enum direction direction)
{
	const struct peer *subject = direction == DIRECTION_EGRESS ? initiator(flow) : responder(flow);
	const struct peer *other = direction == DIRECTION_EGRESS ? responder(flow) : initiator(flow);
	struct endpoint *endpoint = endpoint_by_id(subject->ep);
	struct policy_key key = {};

	__builtin_memset(&flow->decided, 0, sizeof(flow->decided));
	flow->match = MATCH_NONE;
	flow->policy_set = endpoint ? endpoint->policy_set : 0;
	if (!endpoint || !flow->policy_set)
		return DROP_EP_NOT_READY;

	key.set = flow->policy_set;
	key.identity = other->identity;
	key.direction = direction;
	key.protocol = packet->protocol;
	key.dport = policy_port(packet, flow);
	if (!policy_decide(&key, flow)) {
		/* The set may have been replaced and emptied since it was read: ask the new one, once. */
		if (endpoint->policy_set == flow->policy_set)
			return DROP_POLICY_DENIED;
		flow->policy_set = key.set = endpoint->policy_set;
		key.identity = other->identity;
		if (!policy_decide(&key, flow))
			return DROP_POLICY_DENIED;
	}
	if (!(flow->decided.flags & POLICY_F_DENY))
		return DROP_NONE;
	/* A deny that no rule ordered is the default, where tier Admin has passed on what nobody allows. */
	return flow->decided.cookie ? DROP_POLICY_DENY : DROP_POLICY_DENIED;
}
