/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The L7 proxy stands in the middle of a connection and keeps both ends' addresses, so its two legs are told apart here:
 *
 *   client's leg   the workload's own connection; its packets are handed to the proxy's listener
 *   proxy's leg    from the client's address and a port of the proxy's, to the server; answers are for a local socket
 *
 * "Handing over" is a mark that a routing rule turns into local delivery. */
#pragma once

#include "conntrack.h"
#include "ipcache.h"
#include "maps.h"
#include "metrics.h"
#include "notify.h"
#include "packet.h"

inline_always int is_from_proxy(const struct __sk_buff *skb)
{
	return (skb->mark & MARK_MASK) == MARK_FROM_PROXY && !skb->ingress_ifindex;
}

inline_always __u32 proxy_tuple(struct bpf_sock_tuple *tuple, const struct packet *packet)
{
	__builtin_memset(tuple, 0, sizeof(*tuple));
	if (packet->family == FAMILY_IPV6) {
		__builtin_memcpy(tuple->ipv6.saddr, &packet->src, sizeof(packet->src));
		__builtin_memcpy(tuple->ipv6.daddr, &packet->dst, sizeof(packet->dst));
		tuple->ipv6.sport = packet->sport;
		tuple->ipv6.dport = packet->dport;
		return sizeof(tuple->ipv6);
	}
	tuple->ipv4.saddr = address_ipv4(&packet->src);
	tuple->ipv4.daddr = address_ipv4(&packet->dst);
	tuple->ipv4.sport = packet->sport;
	tuple->ipv4.dport = packet->dport;
	return sizeof(tuple->ipv4);
}

/* Whether a socket of this node is in the middle of the packet's connection. With a pod's address as its own it can only be
 * a transparent one, the proxy's. Listeners don't count: a wildcard listener on the same port would match anything. */
stage int proxy_has_socket(struct __sk_buff *skb, const struct packet *packet)
{
	struct bpf_sock_tuple tuple;
	__u32 size = proxy_tuple(&tuple, packet);
	struct bpf_sock *socket = bpf_skc_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	int connected;

	if (!socket)
		return 0;
	connected = socket->state != BPF_TCP_LISTEN;
	bpf_sk_release(socket);
	return connected;
}

/* Gives the packet to the listener, whatever its destination address. No listener: nobody would judge the requests. */
stage int proxy_assign_listener(struct __sk_buff *skb, const struct packet *packet, __u16 port)
{
	struct packet to_listener = { .family = packet->family, .src = packet->src, .sport = packet->sport };
	struct bpf_sock_tuple tuple;
	struct bpf_sock *socket;
	__u32 size;
	long error;

	if (packet->family == FAMILY_IPV6)
		to_listener.dst.bytes[15] = 1;
	else
		address_set_ipv4(&to_listener.dst, bpf_htonl(0x7f000001));
	to_listener.dport = bpf_htons(port);
	size = proxy_tuple(&tuple, &to_listener);

	socket = bpf_skc_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!socket)
		return DROP_PROXY_LOOKUP_FAILED;
	error = socket->state == BPF_TCP_LISTEN ? bpf_sk_assign(skb, socket, 0) : -1;
	bpf_sk_release(socket);
	return checked(error, SITE_SK_ASSIGN) < 0 ? DROP_PROXY_ASSIGN_FAILED : DROP_NONE;
}

/* Up the stack to a socket of the proxy, at an ingress hook. Once a connection stands the stack finds its socket by itself;
 * before, the listener is named, also for an ACK without socket: it may carry a SYN cookie. */
stage int proxy_take(struct __sk_buff *skb, const struct packet *packet, const struct flow *flow)
{
	skb->mark = MARK_TO_PROXY;
	if (!flow->proxy_port) /* the proxy's own leg */
		return DROP_NONE;
	if (!is_tcp_open(packet) && (flow->ct_flags & CT_F_ESTABLISHED || proxy_has_socket(skb, packet)))
		return DROP_NONE;
	return proxy_assign_listener(skb, packet, flow->proxy_port);
}

/* The same from an egress hook, where sockets can't be assigned: round to this interface's ingress hook. There the frame
 * must be addressed to us. */
stage int proxy_hairpin(struct __sk_buff *skb, const struct endpoint *endpoint)
{
	if (checked(bpf_skb_store_bytes(skb, 0, endpoint->host_mac, ETH_ALEN, 0), SITE_STORE_BYTES) < 0)
		return TC_ACT_SHOT;
	skb->mark = MARK_HAIRPIN;
	return bpf_redirect(skb->ifindex, BPF_F_INGRESS);
}

/* Whether the packet answers the proxy's leg of a connection; keeps that leg alive. Where packets come in from outside no
 * endpoint of this node can be answering: a forged source. */
stage int proxy_leg_answered(const struct packet *packet)
{
	struct ct_entry *entry;
	struct peer source;

	if (packet->protocol != IPPROTO_TCP)
		return 0;
	entry = ct_find(packet, CT_LEG_PROXY);
	if (!entry || !ct_is_reply(entry, packet))
		return 0;
	if (packet->hook != POINT_FROM_ENDPOINT) {
		ipcache_lookup(&packet->src, packet->family, &source);
		if (source.ep)
			return 0;
	}
	ct_advance(entry, packet);
	return 1;
}

/* A packet of the proxy on its way to a server: opens or continues the proxy's leg. */
stage int proxy_leg_forward(const struct packet *packet)
{
	struct ct_entry *entry = ct_find(packet, CT_LEG_PROXY);
	struct ct_entry leg = {};

	if (entry && !ct_is_reply(entry, packet) && !(is_tcp_open(packet) && entry->flags & CT_F_ESTABLISHED)) {
		ct_advance(entry, packet);
		return DROP_NONE;
	}
	leg.flags = CT_F_PROXY_LEG;
	return ct_create(packet, &leg, CT_LEG_PROXY);
}

/* The first packet of a proxy's leg that was never seen leaving (to a server on this node it goes over loopback). */
stage int proxy_leg_adopt(struct __sk_buff *skb, const struct packet *packet)
{
	struct packet forward = *packet;
	struct ct_entry leg = {};

	if (packet->protocol != IPPROTO_TCP || is_tcp_open(packet) || !proxy_has_socket(skb, packet))
		return 0;
	forward.src = packet->dst;
	forward.dst = packet->src;
	forward.sport = packet->dport;
	forward.dport = packet->sport;
	leg.flags = CT_F_PROXY_LEG | CT_F_SEEN_REPLY;
	return ct_create(&forward, &leg, CT_LEG_PROXY) == DROP_NONE;
}
