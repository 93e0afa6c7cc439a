/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The slow path at an endpoint's interface: what a workload sends, and what the host's stack sends to it. */
#pragma once

#include "admit.h"
#include "forward.h"
#include "neighbour.h"
#include "parse.h"
#include "proxy.h"
#include "scratch.h"

inline_always endpoint_id_t endpoint_of_interface(const struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	endpoint_id_t *id = bpf_map_lookup_elem(&ifaces, &ifindex);

	return id ? *id : 0;
}

inline_always int is_own_address(const struct endpoint *endpoint, const struct ip_addr *address, __u8 family)
{
	if (family == FAMILY_IPV6)
		return endpoint->flags & ENDPOINT_F_IPV6 && address_equal(&endpoint->ipv6, address);
	return endpoint->flags & ENDPOINT_F_IPV4 && endpoint->ipv4 == address_ipv4(address);
}

/* Came round from this interface's egress hook, where it was found to be the proxy's. */
inline_always int receive_hairpin(struct __sk_buff *skb, const struct packet *packet, struct flow *flow)
{
	struct ct_entry *entry = ct_find(packet, CT_LEG_CLIENT);

	if (entry && entry->flags & CT_F_PROXIED && !ct_is_reply(entry, packet)) {
		flow->proxy_port = entry->proxy_port;
		flow->ct_flags = entry->flags;
	}
	flow->to_proxy = 1;
	return forward(skb, packet, flow);
}

/* A workload's packet, its source address checked. */
inline_always int send_from_endpoint(struct __sk_buff *skb, const struct packet *packet, struct flow *flow)
{
	int reason = DROP_NONE;

	if (proxy_leg_answered(packet))
		flow->to_proxy = 1;
	else
		reason = admit(skb, packet, flow);
	if (reason)
		return drop(skb, packet, flow, reason);
	if (flow->to_http)
		return to_http(packet, flow);
	count_forwarded(skb, DIRECTION_EGRESS);
	return forward(skb, packet, flow);
}

/* A source that is not the endpoint's. Link-local chatter to groups is every kernel's habit, the rest is worth an event. */
inline_always int refuse_source(struct __sk_buff *skb, const struct packet *packet, const struct flow *flow)
{
	if (packet->family == FAMILY_IPV6 && address_is_multicast(packet))
		return drop_quietly(skb, DROP_INVALID_SOURCE_IP, DIRECTION_EGRESS);
	return drop(skb, packet, flow, DROP_INVALID_SOURCE_IP);
}

stage int slow_from_endpoint(struct __sk_buff *skb)
{
	struct scratch *work = scratch_for(POINT_FROM_ENDPOINT, DIRECTION_EGRESS);
	endpoint_id_t id = endpoint_of_interface(skb);
	struct endpoint *endpoint = endpoint_by_id(id);
	struct packet *packet;
	struct flow *flow;
	int reason;

	if (!work)
		return TC_ACT_SHOT;
	packet = &work->packet;
	flow = &work->flow;
	reason = parse(skb, packet);

	if (!reason && (!endpoint || endpoint->ifindex != skb->ifindex))
		reason = DROP_EP_NOT_READY;
	if (endpoint)
		flow->src.identity = endpoint->identity;
	flow->src.ep = flow->subject = id;
	if (reason == DROP_EP_NOT_READY && packet->kind == KIND_NEIGHBOUR)
		return drop_quietly(skb, reason, DIRECTION_EGRESS); /* a kernel's first words, before its endpoint is complete */
	if (reason || !endpoint)
		return drop(skb, packet, flow, reason);

	if ((skb->mark & MARK_MASK) == MARK_HAIRPIN)
		return receive_hairpin(skb, packet, flow);
	if (packet->kind == KIND_ARP)
		return arp_answer(skb, endpoint);
	if (packet->kind == KIND_NEIGHBOUR)
		return nd_answer(skb, packet, endpoint);
	if (!is_own_address(endpoint, &packet->src, packet->family))
		return refuse_source(skb, packet, flow);
	if (address_is_multicast(packet)) /* nobody forwards to groups, but the host itself is in some: it would pass for the world */
		return drop(skb, packet, flow, DROP_STALE_OR_UNROUTABLE);
	return send_from_endpoint(skb, packet, flow);
}

/* Packets that the proxy sent: to the client (an answer on a proxied connection), or on its own leg to the server. Also
 * what the kernel sends for its closed sockets, which bears no mark. */
stage int sent_by_proxy(struct __sk_buff *skb, const struct packet *packet)
{
	struct ct_entry *entry;

	if (skb->ingress_ifindex || !is_proxied_protocol(packet))
		return 0;
	entry = ct_find(packet, CT_LEG_CLIENT);
	if (entry && entry->flags & CT_F_PROXIED && !(entry->flags & CT_F_DENIED) && ct_is_reply(entry, packet)) {
		ct_advance(entry, packet);
		return 1;
	}
	if (is_from_proxy(skb))
		return proxy_leg_forward(packet) == DROP_NONE;
	entry = ct_find(packet, CT_LEG_PROXY);
	return entry && !ct_is_reply(entry, packet);
}

/* A packet of the host or the world for the workload. */
inline_always int send_to_endpoint(struct __sk_buff *skb, const struct packet *packet, struct flow *flow, struct endpoint *endpoint)
{
	int reason;

	if (sent_by_proxy(skb, packet)) {
		count_forwarded(skb, DIRECTION_INGRESS);
		return TC_ACT_OK;
	}
	if (proxy_leg_answered(packet) || proxy_leg_adopt(skb, packet))
		return proxy_hairpin(skb, endpoint);
	reason = admit(skb, packet, flow);
	if (reason)
		return drop(skb, packet, flow, reason);
	if (flow->to_http)
		return to_http(packet, flow);
	if (flow->to_proxy)
		return proxy_hairpin(skb, endpoint);
	count_forwarded(skb, DIRECTION_INGRESS);
	return TC_ACT_OK;
}

stage int slow_to_endpoint(struct __sk_buff *skb)
{
	struct scratch *work = scratch_for(POINT_TO_ENDPOINT, DIRECTION_INGRESS);
	endpoint_id_t id = endpoint_of_interface(skb);
	struct endpoint *endpoint = endpoint_by_id(id);
	struct packet *packet;
	struct flow *flow;
	int reason;

	if (!work)
		return TC_ACT_SHOT;
	packet = &work->packet;
	flow = &work->flow;
	reason = parse(skb, packet);

	if (!reason && (!endpoint || endpoint->ifindex != skb->ifindex))
		reason = DROP_EP_NOT_READY;
	if (endpoint)
		flow->dst.identity = endpoint->identity;
	flow->dst.ep = flow->subject = id;
	if (packet->kind == KIND_ARP && !reason)
		return TC_ACT_OK; /* the host's own; the answer ends at from_endpoint */
	if (packet->kind == KIND_NEIGHBOUR)
		return drop_quietly(skb, DROP_FORBIDDEN_ICMP6, DIRECTION_INGRESS);
	if (packet->family && address_is_multicast(packet))
		return drop_quietly(skb, DROP_STALE_OR_UNROUTABLE, DIRECTION_INGRESS);
	if (reason || !endpoint)
		return drop(skb, packet, flow, reason);
	if (!is_own_address(endpoint, &packet->dst, packet->family))
		return drop(skb, packet, flow, DROP_STALE_OR_UNROUTABLE);
	return send_to_endpoint(skb, packet, flow, endpoint);
}
