/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* ICMP errors: they speak about a packet of another connection and pass if that connection does. */
#pragma once

#include "conntrack.h"
#include "notify.h"
#include "packet.h"
#include "parse.h"
#include "scratch.h"

enum {
	ICMP_ERROR_HEADER = 8, /* type, code, checksum, 4 bytes that depend on the type */
};

/* Ports of the quoted packet. Routers quote at least 8 bytes of its transport header. */
inline_always int quoted_ports(struct __sk_buff *skb, struct packet *quoted)
{
	__be16 head[4];

	if (load(skb, quoted->l4_offset, head, sizeof(head)) < 0)
		return 0;
	switch (quoted->protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		quoted->sport = head[0];
		quoted->dport = head[1];
		return 1;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		quoted->icmp_type = *(__u8 *)head;
		if (quoted->icmp_type == ICMP_ECHO || quoted->icmp_type == ICMP6_ECHO)
			quoted->sport = head[2];
		else if (quoted->icmp_type == ICMP_ECHOREPLY || quoted->icmp_type == ICMP6_ECHO_REPLY)
			quoted->dport = head[2];
		else
			return 0;
		return 1;
	default:
		return 0;
	}
}

/* Fills `quoted` from the packet that an ICMP error quotes. Returns 0 if its connection can't be told. */
stage int parse_quotation(struct __sk_buff *skb, const struct packet *error, struct packet *quoted)
{
	__u32 offset = error->l4_offset + ICMP_ERROR_HEADER;
	struct ipv6hdr ip6;
	struct iphdr ip;

	__builtin_memset(quoted, 0, sizeof(*quoted));
	quoted->family = error->family;
	if (error->family == FAMILY_IPV6) {
		if (load(skb, offset, &ip6, sizeof(ip6)) < 0 || *(__u8 *)&ip6 >> 4 != 6)
			return 0;
		__builtin_memcpy(&quoted->src, &ip6.saddr, sizeof(quoted->src));
		__builtin_memcpy(&quoted->dst, &ip6.daddr, sizeof(quoted->dst));
		quoted->protocol = ip6.nexthdr;
		quoted->l4_offset = offset + sizeof(ip6);
		return quoted_ports(skb, quoted);
	}
	if (load(skb, offset, &ip, sizeof(ip)) < 0 || *(__u8 *)&ip >> 4 != 4 || (*(__u8 *)&ip & 0xf) < 5)
		return 0;
	if (ip.frag_off & bpf_htons(IP_OFFSET_MASK))
		return 0;
	address_set_ipv4(&quoted->src, ip.saddr);
	address_set_ipv4(&quoted->dst, ip.daddr);
	quoted->protocol = ip.protocol;
	quoted->l4_offset = offset + (*(__u8 *)&ip & 0xf) * 4;
	return quoted_ports(skb, quoted);
}

/* The packet that an ICMP error quotes, as far as its connection can be told; else NULL. */
inline_always struct packet *parse_quoted(struct __sk_buff *skb, const struct packet *error)
{
	struct scratch *work = get_scratch();

	return work && parse_quotation(skb, error, &work->quoted) ? &work->quoted : 0;
}

/* Whether the packet is an error about a connection that is let through. Fills the flow's far end, and whether the proxy is
 * the one to hear of it. An endpoint may only speak about packets it was sent itself. */
stage int is_related(struct __sk_buff *skb, const struct packet *packet, struct flow *flow)
{
	struct packet *quoted = parse_quoted(skb, packet);
	struct ct_entry *entry;
	__u8 leg = CT_LEG_CLIENT;
	int reply;

	if (!quoted || !address_equal(&quoted->src, &packet->dst))
		return 0;
	if (packet->hook == POINT_FROM_ENDPOINT && !address_equal(&quoted->dst, &packet->src))
		return 0;
	entry = ct_find(quoted, CT_LEG_PROXY);
	if (entry)
		leg = CT_LEG_PROXY;
	else
		entry = ct_find(quoted, CT_LEG_CLIENT);
	if (!entry || entry->flags & CT_F_DENIED)
		return 0;

	reply = ct_is_reply(entry, quoted);
	flow->dst.ep = reply ? entry->dst_ep : entry->src_ep;
	flow->dst.identity = reply ? entry->dst_identity : entry->src_identity;
	flow->to_proxy = leg == CT_LEG_PROXY ? !reply : reply && entry->flags & CT_F_PROXIED;
	flow->event_flags |= EVENT_F_RELATED;
	return 1;
}
