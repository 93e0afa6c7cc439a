/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The node's device towards the world. What is not a workload's is none of our business here and goes on unseen, to whatever
 * else is attached and then to the stack. */
#pragma once

#include "admit.h"
#include "forward.h"
#include "nat.h"
#include "parse.h"
#include "scratch.h"

enum {
	NOT_OURS = TC_ACT_UNSPEC, /* the next program, then the stack */
};

inline_always struct node_config *get_node_config(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&node_config, &zero);
}

inline_always int is_masquerade_address(const struct node_config *config, const struct ip_addr *address, __u8 family)
{
	if (family == FAMILY_IPV6)
		return config->flags & NODE_F_MASQ_IPV6 && address_equal(address, &config->masq_ipv6);
	return config->flags & NODE_F_MASQ_IPV4 && config->masq_ipv4 && address_ipv4(address) == config->masq_ipv4;
}

inline_always int is_masqueraded_family(const struct node_config *config, __u8 family)
{
	if (family == FAMILY_IPV6)
		return config->flags & NODE_F_MASQ_IPV6;
	return config->flags & NODE_F_MASQ_IPV4 && config->masq_ipv4;
}

/* A packet for a workload: judged and delivered from here, so that the stack can't give it to a socket of the proxy that
 * happens to have the same addresses before it was found to be the proxy's. */
inline_always int receive_for_endpoint(struct __sk_buff *skb, struct packet *packet, struct flow *flow)
{
	int reason = DROP_NONE;

	if (proxy_leg_answered(packet))
		flow->to_proxy = 1;
	else
		reason = admit(skb, packet, flow);
	if (reason)
		return drop(skb, packet, flow, reason);
	return flow->to_http ? to_http(packet, flow) : forward(skb, packet, flow);
}

stage int slow_from_network(struct __sk_buff *skb)
{
	struct scratch *work = scratch_for(POINT_FROM_NETWORK, DIRECTION_INGRESS);
	struct node_config *config = get_node_config();
	struct packet *packet;
	struct flow *flow;
	int reason;

	if (!work || !config)
		return NOT_OURS;
	packet = &work->packet;
	flow = &work->flow;
	if (skb->pkt_type != 0 /* PACKET_HOST */ || parse(skb, packet) || !packet->family)
		return NOT_OURS;
	if (is_masquerade_address(config, &packet->dst, packet->family)) {
		reason = nat_in(skb, packet);
		if (reason)
			return drop(skb, packet, flow, reason);
	}
	ipcache_lookup(&packet->dst, packet->family, &flow->dst);
	if (!flow->dst.ep)
		return NOT_OURS;
	flow->subject = flow->dst.ep;
	return receive_for_endpoint(skb, packet, flow);
}

/* Whether the packet goes in the direction in which its connection was opened: by a workload, or by the proxy for it, whose leg
 * is noted. Answers on connections opened from outside keep their address. */
inline_always int leaves_as_initiator(struct __sk_buff *skb, const struct packet *packet)
{
	struct ct_entry *entry = ct_find(packet, CT_LEG_CLIENT);

	if (entry && ct_is_reply(entry, packet)) {
		if (entry->flags & CT_F_PROXIED) /* the proxy's own answer: no other hook has seen it */
			ct_advance(entry, packet);
		return 0;
	}
	if (is_from_proxy(skb) && is_proxied_protocol(packet))
		proxy_leg_forward(packet);
	return 1;
}

stage int slow_to_network(struct __sk_buff *skb)
{
	struct scratch *work = scratch_for(POINT_TO_NETWORK, DIRECTION_EGRESS);
	struct node_config *config = get_node_config();
	struct packet *packet;
	struct flow *flow;
	int reason;

	if (!work || !config)
		return NOT_OURS;
	packet = &work->packet;
	flow = &work->flow;
	reason = parse(skb, packet);
	if (!packet->family)
		return NOT_OURS;
	if (!is_pod_address(&packet->src, packet->family) || is_pod_address(&packet->dst, packet->family))
		return NOT_OURS;
	ipcache_lookup(&packet->src, packet->family, &flow->src);
	if (flow->src.identity == IDENTITY_HOST)
		return NOT_OURS;
	flow->subject = flow->src.ep;
	if (!reason && packet->kind == KIND_TRACKED && !leaves_as_initiator(skb, packet))
		return NOT_OURS;
	if (!is_masqueraded_family(config, packet->family))
		return NOT_OURS;
	if (!reason)
		reason = nat_out(skb, packet, config);
	return reason ? drop(skb, packet, flow, reason) : NOT_OURS;
}
