/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The L7 proxy stands in the middle of a connection and keeps both ends' addresses, so its two legs are told apart here:
 *
 *   client's leg   the workload's own connection; its packets are handed to the proxy's listener
 *   proxy's leg    from the client's address and a port of the proxy's, to the server; answers are for a local socket
 *
 * "Handing over" is a mark that a routing rule turns into local delivery. */
#pragma once

#include <abi/proxy.h>

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

/* What the proxy can stand in the middle of. */
inline_always int is_proxied_protocol(const struct packet *packet)
{
	return packet->protocol == IPPROTO_TCP || packet->protocol == IPPROTO_UDP;
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

/* The same for datagrams; a function of its own, as the two kinds of sockets must not share an instruction. */
stage int proxy_has_datagram_socket(struct __sk_buff *skb, const struct packet *packet)
{
	struct bpf_sock_tuple tuple;
	__u32 size = proxy_tuple(&tuple, packet);
	struct bpf_sock *socket = bpf_sk_lookup_udp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	int connected;

	if (!socket)
		return 0;
	connected = socket->state == BPF_TCP_ESTABLISHED;
	bpf_sk_release(socket);
	return connected;
}

inline_always __u32 proxy_listener_tuple(struct bpf_sock_tuple *tuple, const struct packet *packet, __u16 port)
{
	struct packet to_listener = { .family = packet->family, .src = packet->src, .sport = packet->sport };

	if (packet->family == FAMILY_IPV6)
		to_listener.dst.bytes[15] = 1;
	else
		address_set_ipv4(&to_listener.dst, bpf_htonl(0x7f000001));
	to_listener.dport = bpf_htons(port);
	return proxy_tuple(tuple, &to_listener);
}

/* Gives the packet to the listener, whatever its destination address. No listener: nobody would judge the requests. */
stage int proxy_assign_listener(struct __sk_buff *skb, const struct packet *packet, __u16 port)
{
	struct bpf_sock_tuple tuple;
	__u32 size = proxy_listener_tuple(&tuple, packet, port);
	struct bpf_sock *socket;
	long error;

	socket = bpf_skc_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!socket)
		return DROP_PROXY_LOOKUP_FAILED;
	error = socket->state == BPF_TCP_LISTEN ? bpf_sk_assign(skb, socket, 0) : -1;
	bpf_sk_release(socket);
	return checked(error, SITE_SK_ASSIGN) < 0 ? DROP_PROXY_ASSIGN_FAILED : DROP_NONE;
}

/* One socket takes the datagrams for all servers, so each bears behind its payload whom it was meant for: `struct
 * proxy_datagram_tail`. Nobody else can send to that socket from a workload's address. Fragments are refused: the stack would
 * assemble them for a socket of their destination's, not for the one assigned here. Without a checksum, which the socket accepts. */
stage int proxy_tail_datagram(struct __sk_buff *skb, const struct packet *packet)
{
	struct proxy_datagram_tail tail = { .address = packet->dst, .port = packet->dport };
	__u32 ip_header = packet->l4_offset - ETH_HLEN, length = packet->length + sizeof(tail);
	__be16 before, after = bpf_htons(length), udp_length = bpf_htons(length - ip_header), none = 0;
	__be16 fragment = 0;

	if (packet->family == FAMILY_IPV6)
		fragment = packet->l4_offset != ETH_HLEN + sizeof(struct ipv6hdr);
	else if (bpf_skb_load_bytes(skb, ETH_HLEN + 6, &fragment, sizeof(fragment)) < 0)
		return DROP_INVALID_PACKET;
	if (packet->family == FAMILY_IPV4)
		fragment &= bpf_htons(IP_FLAG_MF | IP_OFFSET_MASK);
	if (fragment || packet->later_fragment)
		return DROP_FRAGMENT;
	if (length > PROXY_DATAGRAM_MAX)
		return DROP_INVALID_PACKET;

	if (checked(bpf_skb_change_tail(skb, ETH_HLEN + length, 0), SITE_CHANGE_TAIL) < 0)
		return DROP_PROXY_ASSIGN_FAILED;
	if (packet->family == FAMILY_IPV6) {
		after = bpf_htons(length - sizeof(struct ipv6hdr));
		if (checked(bpf_skb_store_bytes(skb, ETH_HLEN + 4, &after, sizeof(after), 0), SITE_STORE_BYTES) < 0)
			return DROP_PROXY_ASSIGN_FAILED;
	} else {
		before = bpf_htons(packet->length);
		if (checked(bpf_l3_csum_replace(skb, ETH_HLEN + 10, before, after, sizeof(after)), SITE_STORE_BYTES) < 0 ||
		    checked(bpf_skb_store_bytes(skb, ETH_HLEN + 2, &after, sizeof(after), 0), SITE_STORE_BYTES) < 0)
			return DROP_PROXY_ASSIGN_FAILED;
	}
	if (checked(bpf_skb_store_bytes(skb, packet->l4_offset + 4, &udp_length, sizeof(udp_length), 0), SITE_STORE_BYTES) < 0 ||
	    checked(bpf_skb_store_bytes(skb, packet->l4_offset + 6, &none, sizeof(none), 0), SITE_STORE_BYTES) < 0 ||
	    checked(bpf_skb_store_bytes(skb, ETH_HLEN + packet->length, &tail, sizeof(tail), 0), SITE_STORE_BYTES) < 0)
		return DROP_PROXY_ASSIGN_FAILED;
	return DROP_NONE;
}

/* A datagram of the client's to the proxy. */
stage int proxy_assign_datagram(struct __sk_buff *skb, const struct packet *packet, __u16 port)
{
	struct bpf_sock_tuple tuple;
	__u32 size = proxy_listener_tuple(&tuple, packet, port);
	struct bpf_sock *socket;
	int reason = proxy_tail_datagram(skb, packet);
	long error;

	if (reason)
		return reason;
	socket = bpf_sk_lookup_udp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!socket)
		return DROP_PROXY_LOOKUP_FAILED;
	error = bpf_sk_assign(skb, socket, 0);
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
	if (packet->protocol == IPPROTO_UDP)
		return proxy_assign_datagram(skb, packet, flow->proxy_port);
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

	if (!is_proxied_protocol(packet))
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

	if (!is_proxied_protocol(packet) || is_tcp_open(packet))
		return 0;
	if (packet->protocol == IPPROTO_UDP ? !proxy_has_datagram_socket(skb, packet) : !proxy_has_socket(skb, packet))
		return 0;
	forward.src = packet->dst;
	forward.dst = packet->src;
	forward.sport = packet->dport;
	forward.dport = packet->sport;
	leg.flags = CT_F_PROXY_LEG | CT_F_SEEN_REPLY;
	return ct_create(&forward, &leg, CT_LEG_PROXY) == DROP_NONE;
}
