/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Masquerading: workloads reach the world under the node's address. A mapping gives a connection a port of the node's; it
 * is stored under both its sides, and free again when conntrack has forgotten the connection. */
#pragma once

#include "conntrack.h"
#include "ipcache.h"
#include "maps.h"
#include "metrics.h"
#include "packet.h"
#include "parse.h"
#include "proxy.h"
#include "related.h"
#include "scratch.h"

enum {
	/* Below the kernel's ephemeral ports (32768 on), so that the node's own connections never meet a mapping. */
	NAT_PORT_FIRST = 1024,
	NAT_PORT_COUNT = 32768 - 1024,
	NAT_PORT_TRIES = 16,
	IPV4_CHECKSUM_OFFSET = 10,
	IPV4_SOURCE_OFFSET = 12,
	IPV4_DESTINATION_OFFSET = 16,
	IPV6_SOURCE_OFFSET = 8,
	IPV6_DESTINATION_OFFSET = 24,
	ICMP_CHECKSUM_OFFSET = 2,
	ICMP_ECHO_ID_OFFSET = 4,
	UDP_CHECKSUM_OFFSET = 6,
};

/* One end of a packet is replaced. */
struct rewrite {
	struct ip_addr from;
	struct ip_addr to;
	__be16 from_port;
	__be16 to_port;
	__u8 is_source; /* else the destination */
	__u8 pad[3];
};

inline_always __u32 transport_checksum_offset(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return TCP_CHECKSUM_OFFSET;
	case IPPROTO_UDP:
		return UDP_CHECKSUM_OFFSET;
	default:
		return ICMP_CHECKSUM_OFFSET;
	}
}

inline_always __u32 transport_port_offset(__u8 protocol, __u8 is_source)
{
	if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6)
		return ICMP_ECHO_ID_OFFSET;
	return is_source ? 0 : sizeof(__be16);
}

/* Writes an address into an IP header at `offset` from the frame's start. */
inline_always long store_address(struct __sk_buff *skb, __u32 ip_offset, const struct rewrite *rewrite, __u8 family)
{
	if (family == FAMILY_IPV6)
		return checked(bpf_skb_store_bytes(skb, ip_offset + (rewrite->is_source ? IPV6_SOURCE_OFFSET : IPV6_DESTINATION_OFFSET),
						   &rewrite->to, sizeof(rewrite->to), 0), SITE_STORE_BYTES);
	if (checked(bpf_l3_csum_replace(skb, ip_offset + IPV4_CHECKSUM_OFFSET, address_ipv4(&rewrite->from),
					address_ipv4(&rewrite->to), sizeof(__be32)), SITE_L3_CSUM) < 0)
		return -1;
	return checked(bpf_skb_store_bytes(skb, ip_offset + (rewrite->is_source ? IPV4_SOURCE_OFFSET : IPV4_DESTINATION_OFFSET),
					   &rewrite->to, sizeof(__be32), 0), SITE_STORE_BYTES);
}

/* Takes the address change into a transport checksum. `flags`: BPF_F_PSEUDO_HDR where the pseudo header covers it. */
inline_always long sum_address(struct __sk_buff *skb, __u32 offset, const struct rewrite *rewrite, __u8 family, __u64 flags)
{
	__s64 diff;

	if (family == FAMILY_IPV4)
		return checked(bpf_l4_csum_replace(skb, offset, address_ipv4(&rewrite->from), address_ipv4(&rewrite->to),
						   flags | sizeof(__be32)), SITE_L4_CSUM);
	diff = bpf_csum_diff((__be32 *)&rewrite->from, sizeof(rewrite->from), (__be32 *)&rewrite->to, sizeof(rewrite->to), 0);
	return checked(bpf_l4_csum_replace(skb, offset, 0, diff, flags), SITE_L4_CSUM);
}

/* The transport header's share: checksum over the pseudo header, and the port. ICMP for IPv4 has no pseudo header. */
inline_always long rewrite_transport(struct __sk_buff *skb, const struct packet *packet, const struct rewrite *rewrite)
{
	__u32 sum = packet->l4_offset + transport_checksum_offset(packet->protocol);
	__u32 port = packet->l4_offset + transport_port_offset(packet->protocol, rewrite->is_source);
	__u64 flags = packet->protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;

	if (packet->protocol != IPPROTO_ICMP &&
	    sum_address(skb, sum, rewrite, packet->family, flags | BPF_F_PSEUDO_HDR) < 0)
		return -1;
	if (packet->kind == KIND_ICMP_ERROR || rewrite->from_port == rewrite->to_port)
		return 0;
	if (checked(bpf_l4_csum_replace(skb, sum, rewrite->from_port, rewrite->to_port, flags | sizeof(__be16)), SITE_L4_CSUM) < 0)
		return -1;
	return checked(bpf_skb_store_bytes(skb, port, &rewrite->to_port, sizeof(__be16), 0), SITE_STORE_BYTES);
}

/* Replaces one end of the packet, in the frame and in `packet`. */
stage int nat_rewrite(struct __sk_buff *skb, struct packet *packet, const struct rewrite *rewrite)
{
	if (!packet->later_fragment && rewrite_transport(skb, packet, rewrite) < 0)
		return DROP_WRITE_ERROR;
	if (store_address(skb, ETH_HLEN, rewrite, packet->family) < 0)
		return DROP_WRITE_ERROR;
	if (rewrite->is_source) {
		packet->src = rewrite->to;
		packet->sport = rewrite->to_port;
	} else {
		packet->dst = rewrite->to;
		packet->dport = rewrite->to_port;
	}
	return DROP_NONE;
}

/* Replaces one end of the packet that an ICMP error quotes. ICMP's sum covers the quotation. For IPv4 the changes of address
 * and header checksum cancel out in it; the quoted transport checksum stays as it was, nobody can verify it. */
stage int nat_rewrite_quoted(struct __sk_buff *skb, const struct packet *error, const struct packet *quoted,
			     const struct rewrite *rewrite)
{
	__u32 sum = error->l4_offset + ICMP_CHECKSUM_OFFSET;
	__u32 port = quoted->l4_offset + transport_port_offset(quoted->protocol, rewrite->is_source);

	if (error->family == FAMILY_IPV6 && sum_address(skb, sum, rewrite, error->family, 0) < 0)
		return DROP_WRITE_ERROR;
	if (store_address(skb, error->l4_offset + ICMP_ERROR_HEADER, rewrite, error->family) < 0)
		return DROP_WRITE_ERROR;
	if (checked(bpf_l4_csum_replace(skb, sum, rewrite->from_port, rewrite->to_port, sizeof(__be16)), SITE_L4_CSUM) < 0 ||
	    checked(bpf_skb_store_bytes(skb, port, &rewrite->to_port, sizeof(__be16), 0), SITE_STORE_BYTES) < 0)
		return DROP_WRITE_ERROR;
	return DROP_NONE;
}

inline_always int nat_is_supported(const struct packet *packet)
{
	return packet->protocol == IPPROTO_TCP || packet->protocol == IPPROTO_UDP ||
	       packet->protocol == IPPROTO_ICMP || packet->protocol == IPPROTO_ICMPV6;
}

/* Key of a packet that leaves (its source is local) or comes back (its destination is). */
inline_always void nat_key(struct nat_key *key, const struct packet *packet, int reverse)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->family = packet->family;
	key->protocol = packet->protocol;
	key->reverse = reverse;
	key->local = reverse ? packet->dst : packet->src;
	key->remote = reverse ? packet->src : packet->dst;
	key->local_port = reverse ? packet->dport : packet->sport;
	key->remote_port = reverse ? packet->sport : packet->dport;
}

inline_always void nat_touch(struct nat_value *value)
{
	__u32 now = clock_seconds();

	if (value->last_seen != now)
		value->last_seen = now;
}

/* Whether the node itself would take this answer: a mapping on that port would rob a socket of its packets. */
stage int is_port_taken_by_node(struct __sk_buff *skb, const struct packet *answer)
{
	struct bpf_sock_tuple tuple;
	struct bpf_sock *socket;
	__u32 size = proxy_tuple(&tuple, answer);

	if (answer->protocol == IPPROTO_TCP)
		socket = bpf_skc_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	else if (answer->protocol == IPPROTO_UDP)
		socket = bpf_sk_lookup_udp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	else
		return 0;
	if (!socket)
		return 0;
	bpf_sk_release(socket);
	return 1;
}

/* Frees a mapping whose connection is over. `answer` is a packet that it would translate. Returns 0 if it is in use. */
stage int nat_evict_dead(const struct packet *answer)
{
	struct scratch *work = get_scratch();
	struct nat_value *value;
	struct packet *inside;
	struct nat_key key;

	if (!work)
		return 0;
	inside = &work->inside;
	*inside = *answer;
	nat_key(&key, answer, 1);
	value = bpf_map_lookup_elem(&nat, &key);
	if (!value)
		return 1;
	inside->dst = value->addr;
	inside->dport = value->port;
	if (ct_find(inside, CT_LEG_CLIENT) || ct_find(inside, CT_LEG_PROXY))
		return 0;
	bpf_map_delete_elem(&nat, &key);
	key.reverse = 0;
	key.local = inside->dst;
	key.local_port = inside->dport;
	bpf_map_delete_elem(&nat, &key);
	return 1;
}

/* Stores the mapping for answers, if its port is free. */
stage int nat_claim(struct __sk_buff *skb, const struct packet *answer, const struct packet *packet)
{
	struct nat_value inside = { .addr = packet->src, .port = packet->sport, .last_seen = clock_seconds() };
	struct nat_key key;

	if (is_port_taken_by_node(skb, answer))
		return 0;
	nat_key(&key, answer, 1);
	if (!bpf_map_update_elem(&nat, &key, &inside, BPF_NOEXIST))
		return 1;
	return nat_evict_dead(answer) && !bpf_map_update_elem(&nat, &key, &inside, BPF_NOEXIST);
}

/* Stores the mapping for the workload's own packets. */
stage int nat_store(const struct packet *packet, const struct nat_value *outside)
{
	struct nat_key key;

	nat_key(&key, packet, 0);
	return checked(bpf_map_update_elem(&nat, &key, outside, BPF_ANY), SITE_NAT_UPDATE) < 0 ? DROP_NAT_NO_MAPPING : DROP_NONE;
}

/* A new mapping for the connection that this packet opens. Random ports: as hard to guess as the workload's own. */
stage int nat_create(struct __sk_buff *skb, const struct packet *packet, const struct node_config *config, struct nat_value *outside)
{
	struct scratch *work = get_scratch();
	struct packet *answer;
	int i;

	if (!work)
		return DROP_NAT_NO_MAPPING;
	answer = &work->answer;
	__builtin_memset(answer, 0, sizeof(*answer));
	answer->family = packet->family;
	answer->protocol = packet->protocol;
	if (packet->family == FAMILY_IPV6)
		answer->dst = config->masq_ipv6;
	else
		address_set_ipv4(&answer->dst, config->masq_ipv4);
	answer->src = packet->dst;
	answer->sport = packet->dport;
	for (i = 0; i < NAT_PORT_TRIES; i++) {
		answer->dport = bpf_htons(NAT_PORT_FIRST + bpf_get_prandom_u32() % NAT_PORT_COUNT);
		if (!nat_claim(skb, answer, packet))
			continue;
		outside->addr = answer->dst;
		outside->port = answer->dport;
		outside->last_seen = clock_seconds();
		return nat_store(packet, outside);
	}
	return DROP_NAT_NO_MAPPING;
}

/* A workload's ICMP error about something it got through a mapping: the quotation is put back too. */
stage int nat_error_out(struct __sk_buff *skb, struct packet *packet)
{
	struct rewrite rewrite = {};
	struct nat_value *value;
	struct packet *quoted = parse_quoted(skb, packet);
	struct nat_key key;
	int reason;

	if (!quoted)
		return DROP_NAT_UNSUPPORTED;
	nat_key(&key, quoted, 1); /* the quoted packet came in: its destination is the local end */
	key.reverse = 0;
	value = bpf_map_lookup_elem(&nat, &key);
	if (!value)
		return DROP_NONE;
	rewrite.from = quoted->dst;
	rewrite.to = value->addr;
	rewrite.from_port = quoted->dport;
	rewrite.to_port = value->port;
	reason = nat_rewrite_quoted(skb, packet, quoted, &rewrite);
	if (reason)
		return reason;
	rewrite.is_source = 1;
	rewrite.from = packet->src;
	return nat_rewrite(skb, packet, &rewrite);
}

/* A router's ICMP error about something that left through a mapping. */
stage int nat_error_in(struct __sk_buff *skb, struct packet *packet)
{
	struct rewrite rewrite = {};
	struct nat_value *value;
	struct packet *quoted = parse_quoted(skb, packet);
	struct nat_key key;
	int reason;

	if (!quoted || !address_equal(&quoted->src, &packet->dst))
		return DROP_NONE;
	nat_key(&key, quoted, 0);
	key.reverse = 1;
	value = bpf_map_lookup_elem(&nat, &key);
	if (!value)
		return DROP_NONE;
	rewrite.is_source = 1;
	rewrite.from = quoted->src;
	rewrite.to = value->addr;
	rewrite.from_port = quoted->sport;
	rewrite.to_port = value->port;
	reason = nat_rewrite_quoted(skb, packet, quoted, &rewrite);
	if (reason)
		return reason;
	rewrite.is_source = 0;
	rewrite.from = packet->dst;
	return nat_rewrite(skb, packet, &rewrite);
}

/* The mapping's other end instead of the packet's: of its source when it leaves, of its destination when it comes back. */
stage int nat_translate(struct __sk_buff *skb, struct packet *packet, const struct nat_value *value, int is_source)
{
	struct rewrite rewrite = {};

	rewrite.is_source = is_source;
	rewrite.from = is_source ? packet->src : packet->dst;
	rewrite.from_port = is_source ? packet->sport : packet->dport;
	rewrite.to = value->addr;
	rewrite.to_port = value->port;
	return nat_rewrite(skb, packet, &rewrite);
}

/* A packet leaving for the world on a connection that a workload of this node opened. */
stage int nat_out(struct __sk_buff *skb, struct packet *packet, const struct node_config *config)
{
	struct nat_value fresh = {};
	struct nat_value *value;
	struct nat_key key;
	int reason;

	if (packet->kind == KIND_ICMP_ERROR)
		return nat_error_out(skb, packet);
	if (!nat_is_supported(packet) || packet->kind != KIND_TRACKED)
		return DROP_NAT_UNSUPPORTED;
	nat_key(&key, packet, 0);
	value = bpf_map_lookup_elem(&nat, &key);
	if (value) {
		nat_touch(value);
		return nat_translate(skb, packet, value, 1);
	}
	reason = nat_create(skb, packet, config, &fresh);
	return reason ? reason : nat_translate(skb, packet, &fresh, 1);
}

/* A packet from the world for the masquerade address: back to the workload, if it belongs to a mapping. */
stage int nat_in(struct __sk_buff *skb, struct packet *packet)
{
	struct nat_value *value;
	struct nat_key key;

	if (packet->kind == KIND_ICMP_ERROR)
		return nat_error_in(skb, packet);
	if (packet->kind != KIND_TRACKED)
		return DROP_NONE;
	nat_key(&key, packet, 1);
	value = bpf_map_lookup_elem(&nat, &key);
	if (!value)
		return DROP_NONE;
	nat_touch(value);
	return nat_translate(skb, packet, value, 0);
}
