/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The workload's next hop is link-local (169.254.1.1, fe80::1) and exists only here: its questions are answered from the
 * hook, with the MAC address of the interface's host side. Everything else that never leaves a link ends silently. */
#pragma once

#include "deliver.h"
#include "maps.h"
#include "metrics.h"
#include "notify.h"
#include "packet.h"
#include "parse.h"

enum {
	GATEWAY_IPV4 = 0xa9fe0101, /* 169.254.1.1 */
	ARP_REQUEST = 1,
	ARP_REPLY = 2,
	ND_OPTION_TARGET_MAC = 2,
	ND_HOP_LIMIT = 255,
	ND_FLAGS_ROUTER_SOLICITED_OVERRIDE = 0xe0,
};

struct arp_ipv4 {
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_length;
	__u8 protocol_length;
	__be16 operation;
	__u8 sender_mac[ETH_ALEN];
	__be32 sender_ip;
	__u8 target_mac[ETH_ALEN];
	__be32 target_ip;
} __attribute__((packed)); /* the addresses lie where they lie */

/* Back to where it came from. As a frame for that host: its kernel trusts no answer that was broadcast. */
inline_always int answer(struct __sk_buff *skb, const struct endpoint *endpoint)
{
	checked(bpf_skb_change_type(skb, 0 /* PACKET_HOST */), SITE_CHANGE_TYPE);
	return deliver_to_endpoint(skb, endpoint);
}

stage int arp_answer(struct __sk_buff *skb, const struct endpoint *endpoint)
{
	struct arp_ipv4 arp;

	if (load(skb, ETH_HLEN, &arp, sizeof(arp)) < 0)
		return drop_quietly(skb, DROP_INVALID_PACKET, DIRECTION_EGRESS);
	if (arp.hardware != bpf_htons(1) || arp.protocol != bpf_htons(ETH_P_IP) ||
	    arp.operation != bpf_htons(ARP_REQUEST) || arp.target_ip != bpf_htonl(GATEWAY_IPV4))
		return drop_quietly(skb, DROP_UNSUPPORTED_L2, DIRECTION_EGRESS);

	arp.operation = bpf_htons(ARP_REPLY);
	__builtin_memcpy(arp.target_mac, arp.sender_mac, ETH_ALEN);
	arp.target_ip = arp.sender_ip;
	__builtin_memcpy(arp.sender_mac, endpoint->host_mac, ETH_ALEN);
	arp.sender_ip = bpf_htonl(GATEWAY_IPV4);
	if (checked(bpf_skb_store_bytes(skb, ETH_HLEN, &arp, sizeof(arp), 0), SITE_STORE_BYTES) < 0)
		return drop_quietly(skb, DROP_WRITE_ERROR, DIRECTION_EGRESS);
	return answer(skb, endpoint);
}

struct nd_message {
	__u8 type;
	__u8 code;
	__u16 checksum;
	__u8 flags;
	__u8 reserved[3];
	struct ip_addr target;
	__u8 option; /* from here on: advertisement only */
	__u8 option_length;
	__u8 mac[ETH_ALEN];
};

enum {
	ND_SOLICIT_SIZE = sizeof(struct nd_message) - 8,
};

/* The sum's carries folded in, complemented: as it stands in the header. */
inline_always __u16 checksum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

inline_always int is_gateway_ipv6(const struct ip_addr *address)
{
	const __u32 *words = (const __u32 *)address->bytes;

	return words[0] == bpf_htonl(0xfe800000) && !words[1] && !words[2] && words[3] == bpf_htonl(1);
}

/* Turns the solicitation into the advertisement. */
stage int nd_advertise(struct __sk_buff *skb, const struct packet *packet, const struct endpoint *endpoint)
{
	struct {
		struct ipv6hdr ip;
		struct nd_message nd;
	} frame = {};
	__be32 pseudo[2] = { bpf_htonl(sizeof(frame.nd)), bpf_htonl(IPPROTO_ICMPV6) };
	__u32 sum;

	*(__u8 *)&frame.ip = 0x60;
	frame.ip.payload_len = bpf_htons(sizeof(frame.nd));
	frame.ip.nexthdr = IPPROTO_ICMPV6;
	frame.ip.hop_limit = ND_HOP_LIMIT;
	frame.ip.saddr.in6_u.u6_addr8[0] = 0xfe;
	frame.ip.saddr.in6_u.u6_addr8[1] = 0x80;
	frame.ip.saddr.in6_u.u6_addr8[15] = 1;
	__builtin_memcpy(&frame.nd.target, &frame.ip.saddr, sizeof(frame.nd.target));
	__builtin_memcpy(&frame.ip.daddr, &packet->src, sizeof(packet->src));
	frame.nd.type = ND_NEIGHBOUR_ADVERT;
	frame.nd.flags = ND_FLAGS_ROUTER_SOLICITED_OVERRIDE;
	frame.nd.option = ND_OPTION_TARGET_MAC;
	frame.nd.option_length = 1;
	__builtin_memcpy(frame.nd.mac, endpoint->host_mac, ETH_ALEN);

	sum = bpf_csum_diff(0, 0, (__be32 *)&frame.ip.saddr, 32 + sizeof(frame.nd), 0);
	sum = bpf_csum_diff(0, 0, pseudo, sizeof(pseudo), sum);
	frame.nd.checksum = checksum_fold(sum);

	if (checked(bpf_skb_change_tail(skb, ETH_HLEN + sizeof(frame), 0), SITE_CHANGE_TAIL) < 0 ||
	    checked(bpf_skb_store_bytes(skb, ETH_HLEN, &frame, sizeof(frame), 0), SITE_STORE_BYTES) < 0)
		return DROP_WRITE_ERROR;
	return DROP_NONE;
}

/* Neighbour discovery and its relatives from a workload: the one question that has an answer, silence for the rest (router
 * solicitations, duplicate address detection, multicast memberships). */
stage int nd_answer(struct __sk_buff *skb, const struct packet *packet, const struct endpoint *endpoint)
{
	struct nd_message nd = {};
	int reason;

	if (packet->icmp_type != ND_NEIGHBOUR_SOLICIT || load(skb, packet->l4_offset, &nd, ND_SOLICIT_SIZE) < 0)
		return drop_quietly(skb, DROP_FORBIDDEN_ICMP6, DIRECTION_EGRESS);
	if (!is_gateway_ipv6(&nd.target) || !*(__u32 *)packet->src.bytes)
		return drop_quietly(skb, DROP_FORBIDDEN_ICMP6, DIRECTION_EGRESS);
	reason = nd_advertise(skb, packet, endpoint);
	return reason ? drop_quietly(skb, reason, DIRECTION_EGRESS) : answer(skb, endpoint);
}
