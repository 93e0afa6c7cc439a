/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* From bytes to struct packet. Whatever can't be understood to its transport header is refused with a reason. */
#pragma once

#include "fragment.h"
#include "metrics.h"
#include "packet.h"

/* Longest headers that are ever looked at: link, IPv6 with a fragment header or IPv4 with options, TCP without options. */
#define HEADERS_MAX (ETH_HLEN + 60 + sizeof(struct tcphdr))

/* Headers in page fragments could be changed by their sender after the verdict (TX_RING, sendfile): copy them first. */
inline_always int make_headers_linear(struct __sk_buff *skb)
{
	__u32 wanted = skb->len < HEADERS_MAX ? skb->len : HEADERS_MAX;

	if (likely((void *)(long)skb->data + HEADERS_MAX <= (void *)(long)skb->data_end))
		return 0;
	return checked(bpf_skb_pull_data(skb, wanted), SITE_PULL_DATA);
}

inline_always int load(struct __sk_buff *skb, __u32 offset, void *to, __u32 size)
{
	return checked(bpf_skb_load_bytes(skb, offset, to, size), SITE_LOAD_BYTES);
}

inline_always int icmp_is_error(__u8 family, __u8 type)
{
	if (family == FAMILY_IPV6)
		return type >= ICMP6_DEST_UNREACH && type <= ICMP6_PARAM_PROB;
	return type == ICMP_DEST_UNREACH || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETERPROB;
}

/* ICMPv6 has type, code, checksum and echo id in the same places. */
struct icmp_header {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be16 echo_id;
	__be16 echo_sequence;
};

inline_always int parse_icmp(struct __sk_buff *skb, struct packet *packet)
{
	struct icmp_header icmp;
	__u8 type;
	int v6 = packet->family == FAMILY_IPV6;

	if (load(skb, packet->l4_offset, &icmp, sizeof(icmp)) < 0)
		return DROP_CT_INVALID_HEADER;
	type = icmp.type;
	packet->icmp_type = type;
	packet->icmp_code = icmp.code;
	if (type == (v6 ? ICMP6_ECHO : ICMP_ECHO))
		packet->sport = icmp.echo_id;
	else if (type == (v6 ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY))
		packet->dport = icmp.echo_id;
	else if (icmp_is_error(packet->family, type))
		packet->kind = KIND_ICMP_ERROR;
	else if (v6 && ((type >= ICMP6_MLD_FIRST && type <= ND_REDIRECT) || type == MLD2_REPORT))
		packet->kind = KIND_NEIGHBOUR;
	else
		packet->kind = KIND_STATELESS;
	return DROP_NONE;
}

inline_always int parse_tcp(struct __sk_buff *skb, struct packet *packet)
{
	__u8 header[sizeof(struct tcphdr)] __attribute__((aligned(4)));

	if (load(skb, packet->l4_offset, header, sizeof(header)) < 0)
		return DROP_CT_INVALID_HEADER;
	if (header[12] >> 4 < 5)
		return DROP_CT_INVALID_HEADER;
	packet->sport = *(__be16 *)&header[0];
	packet->dport = *(__be16 *)&header[2];
	packet->tcp_flags = header[13];
	return DROP_NONE;
}

inline_always int parse_ports(struct __sk_buff *skb, struct packet *packet)
{
	__be16 ports[4];

	if (load(skb, packet->l4_offset, ports, sizeof(ports)) < 0)
		return DROP_CT_INVALID_HEADER;
	packet->sport = ports[0];
	packet->dport = ports[1];
	return DROP_NONE;
}

stage int parse_transport(struct __sk_buff *skb, struct packet *packet)
{
	__u32 header = sizeof(struct udphdr);

	if (packet->protocol == IPPROTO_TCP)
		header = sizeof(struct tcphdr);
	if (packet->l4_offset - ETH_HLEN + header > packet->length)
		return DROP_CT_INVALID_HEADER;

	switch (packet->protocol) {
	case IPPROTO_TCP:
		return parse_tcp(skb, packet);
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		return parse_ports(skb, packet);
	case IPPROTO_ICMP:
		return packet->family == FAMILY_IPV4 ? parse_icmp(skb, packet) : DROP_UNKNOWN_L4;
	case IPPROTO_ICMPV6:
		return packet->family == FAMILY_IPV6 ? parse_icmp(skb, packet) : DROP_UNKNOWN_L4;
	default:
		return DROP_UNKNOWN_L4;
	}
}

/* The transport header of a whole datagram or of a first fragment; else the ports that the first fragment had. */
stage int parse_fragment(struct __sk_buff *skb, struct packet *packet, __u32 id, __u32 offset_bytes)
{
	int reason;

	if (offset_bytes)
		return fragment_recall(packet, id, offset_bytes);
	reason = parse_transport(skb, packet);
	if (!reason)
		fragment_remember(packet, id);
	return reason;
}

stage int parse_ipv4(struct __sk_buff *skb, struct packet *packet)
{
	__u16 fragment, header, length;
	struct iphdr ip;

	if (load(skb, ETH_HLEN, &ip, sizeof(ip)) < 0)
		return DROP_INVALID_PACKET;
	packet->family = FAMILY_IPV4;
	address_set_ipv4(&packet->src, ip.saddr);
	address_set_ipv4(&packet->dst, ip.daddr);
	packet->protocol = ip.protocol;
	header = (*(__u8 *)&ip & 0xf) * 4;
	length = bpf_ntohs(ip.tot_len);
	if (*(__u8 *)&ip >> 4 != 4 || header < sizeof(ip) || length < header || length > skb->len - ETH_HLEN)
		return DROP_INVALID_PACKET;
	packet->length = length;
	packet->l4_offset = ETH_HLEN + header;

	fragment = bpf_ntohs(ip.frag_off);
	if (likely(!(fragment & (IP_FLAG_MF | IP_OFFSET_MASK))))
		return parse_transport(skb, packet);
	return parse_fragment(skb, packet, ip.id, (fragment & IP_OFFSET_MASK) * 8);
}

struct ipv6_fragment_header {
	__u8 nexthdr;
	__u8 reserved;
	__be16 offset;
	__be32 id;
};

stage int parse_ipv6_fragment(struct __sk_buff *skb, struct packet *packet)
{
	struct ipv6_fragment_header header;
	__u16 offset;

	if (load(skb, packet->l4_offset, &header, sizeof(header)) < 0)
		return DROP_INVALID_PACKET;
	packet->protocol = header.nexthdr;
	packet->l4_offset += sizeof(header);
	offset = bpf_ntohs(header.offset);
	if (!(offset & ~0x6)) /* neither offset nor "more": a whole datagram all the same (RFC 6946) */
		return parse_transport(skb, packet);
	return parse_fragment(skb, packet, header.id, offset & ~0x7);
}

/* The one hop-by-hop header that is no surprise precedes multicast listener reports, which end here anyway. */
inline_always int parse_ipv6_hop_by_hop(struct __sk_buff *skb, struct packet *packet)
{
	__u8 header[8];

	if (load(skb, packet->l4_offset, header, sizeof(header)) < 0 || header[0] != IPPROTO_ICMPV6 || header[1] != 0)
		return DROP_IPV6_EXTENSION_HEADER;
	packet->protocol = IPPROTO_ICMPV6;
	packet->l4_offset += sizeof(header);
	if (parse_transport(skb, packet) || packet->kind != KIND_NEIGHBOUR)
		return DROP_IPV6_EXTENSION_HEADER;
	return DROP_NONE;
}

stage int parse_ipv6(struct __sk_buff *skb, struct packet *packet)
{
	struct ipv6hdr ip;

	if (load(skb, ETH_HLEN, &ip, sizeof(ip)) < 0)
		return DROP_INVALID_PACKET;
	packet->family = FAMILY_IPV6;
	__builtin_memcpy(&packet->src, &ip.saddr, sizeof(packet->src));
	__builtin_memcpy(&packet->dst, &ip.daddr, sizeof(packet->dst));
	packet->protocol = ip.nexthdr;
	packet->length = sizeof(ip) + bpf_ntohs(ip.payload_len);
	packet->l4_offset = ETH_HLEN + sizeof(ip);
	if (*(__u8 *)&ip >> 4 != 6 || packet->length > skb->len - ETH_HLEN)
		return DROP_INVALID_PACKET;

	switch (ip.nexthdr) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
	case IPPROTO_ICMPV6:
		return parse_transport(skb, packet);
	case IPV6_NEXTHDR_FRAGMENT:
		return parse_ipv6_fragment(skb, packet);
	case IPV6_NEXTHDR_HOP:
		return parse_ipv6_hop_by_hop(skb, packet);
	case IPPROTO_ROUTING:
	case IPPROTO_DSTOPTS:
	case IPPROTO_AH:
		return DROP_IPV6_EXTENSION_HEADER;
	default:
		return DROP_UNKNOWN_L4;
	}
}

/* Fills `packet`, whose hook is set by the caller; on a refusal as far as it was understood, for the event. */
stage int parse(struct __sk_buff *skb, struct packet *packet)
{
	packet->ethertype = bpf_ntohs(skb->protocol);
	packet->length = skb->len - ETH_HLEN;
	if (skb->vlan_present)
		return DROP_UNSUPPORTED_L2;
	if (make_headers_linear(skb) < 0)
		return DROP_INVALID_PACKET;

	switch (packet->ethertype) {
	case ETH_P_IP:
		return parse_ipv4(skb, packet);
	case ETH_P_IPV6:
		return parse_ipv6(skb, packet);
	case ETH_P_ARP:
		packet->kind = KIND_ARP;
		return DROP_NONE;
	case ETH_P_8021Q:
	case ETH_P_8021AD:
		return DROP_UNSUPPORTED_L2;
	default:
		return DROP_UNSUPPORTED_L3;
	}
}
