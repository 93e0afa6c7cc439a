/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The TCP segment of a judged connection, read strictly: what could be read in two ways is refused. And its options, as far as they
 * have to go. */
#pragma once

#include "http_turn.h"
#include "parse.h"

enum {
	TCP_PSH = 0x08,
	TCP_URG = 0x20,
	TCP_OPTIONS_MAX = 40,
	TCP_OPTION_END = 0,
	TCP_OPTION_NOP = 1,
	TCP_OPTION_SACK = 5,
	TCP_OPTION_TIMESTAMP = 8,
	TCP_OPTION_MPTCP = 30,     /* a second path would carry bytes past us */
	TCP_OPTION_FAST_OPEN = 34, /* data in the SYN, before there is a connection */
};

/* Offset of the TCP header and bytes behind it by the IP header; 0: refused (fragment, options, extension header, lengths that
 * contradict the frame). */
inline_always __u32 segment_network(struct __sk_buff *skb, struct http_turn *turn, int is_response, __u32 *size)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct http_key *key = &turn->key;
	struct ip_addr *from = is_response ? &key->server : &key->client, *to = is_response ? &key->client : &key->server;
	__u32 length, header;

	__builtin_memset(key, 0, sizeof(*key));
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end || *(__u8 *)ip != 0x45 || ip->protocol != IPPROTO_TCP ||
		    ip->frag_off & bpf_htons(IP_FLAG_MF | IP_OFFSET_MASK))
			return 0;
		key->family = FAMILY_IPV4;
		*(__be32 *)from->bytes = ip->saddr;
		*(__be32 *)to->bytes = ip->daddr;
		header = sizeof(*ip);
		length = bpf_ntohs(ip->tot_len);
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end || *(__u8 *)ip >> 4 != 6 || ip->nexthdr != IPPROTO_TCP)
			return 0;
		key->family = FAMILY_IPV6;
		__builtin_memcpy(from, &ip->saddr, sizeof(*from));
		__builtin_memcpy(to, &ip->daddr, sizeof(*to));
		header = sizeof(*ip);
		length = bpf_ntohs(ip->payload_len) + header;
	} else {
		return 0;
	}
	if (length > skb->len - ETH_HLEN || length < header + sizeof(struct tcphdr))
		return 0;
	*size = length - header;
	return ETH_HLEN + header;
}

/* Fills turn->segment and turn->key. Returns 0 if the segment is refused. */
stage int segment_parse(struct __sk_buff *skb, struct http_turn *turn, int is_response)
{
	struct http_segment *segment = &turn->segment;
	__u8 header[sizeof(struct tcphdr)] __attribute__((aligned(4)));
	__u32 l4, size = 0;

	if (skb->vlan_present || make_headers_linear(skb) < 0)
		return 0;
	l4 = segment_network(skb, turn, is_response, &size);
	if (!l4 || load(skb, l4, header, sizeof(header)) < 0)
		return 0;
	segment->header_size = (header[12] >> 4) * 4;
	if (segment->header_size < sizeof(header) || segment->header_size > size)
		return 0;
	segment->family = turn->key.family;
	segment->l4 = l4;
	segment->data = l4 + segment->header_size;
	segment->size = size - segment->header_size;
	segment->flags = header[13];
	segment->seq = bpf_ntohl(*(__be32 *)&header[4]);
	segment->ack = bpf_ntohl(*(__be32 *)&header[8]);
	turn->client_seq = segment->seq;
	turn->client_ack = segment->ack;
	if (is_response) {
		turn->key.server_port = *(__be16 *)&header[0];
		turn->key.client_port = *(__be16 *)&header[2];
	} else {
		turn->key.client_port = *(__be16 *)&header[0];
		turn->key.server_port = *(__be16 *)&header[2];
	}
	/* Options are read too: nothing of them may lie where the sender can still write. */
	return (void *)(long)skb->data + segment->data <= (void *)(long)skb->data_end ||
	       checked(bpf_skb_pull_data(skb, segment->data), SITE_PULL_DATA) >= 0;
}

struct option_walk {
	__u8 bytes[TCP_OPTIONS_MAX + 8];
	__u32 next; /* where the next option begins */
	__u32 end;  /* of what is being blanked */
	__u32 found;
	__u8 first;
	__u8 second;
};

static int blank_option(__u32 at, struct option_walk *walk)
{
	if (at >= TCP_OPTIONS_MAX)
		return 1;
	if (at == walk->next) {
		__u8 kind = walk->bytes[at], length = walk->bytes[at + 1];

		if (kind == TCP_OPTION_END)
			return 1;
		if (kind == TCP_OPTION_NOP) {
			walk->next = at + 1;
			return 0;
		}
		if (length < 2)
			return 1;
		walk->next = at + length;
		if (kind == walk->first || kind == walk->second) {
			walk->end = at + length;
			walk->found = 1;
		}
	}
	if (at < walk->end)
		walk->bytes[at] = TCP_OPTION_NOP;
	return 0;
}

/* Overwrites the options of these two kinds. Returns whether there were any; -1 where the packet can't be written. */
stage int segment_blank_options(struct __sk_buff *skb, const struct http_segment *segment, __u32 kinds)
{
	struct option_walk walk = { .first = kinds, .second = kinds >> 8 };
	__u8 before[TCP_OPTIONS_MAX + 8] = {};
	__u32 size = segment->header_size - sizeof(struct tcphdr), at = segment->l4 + sizeof(struct tcphdr);
	__s64 difference;

	barrier_var(size);
	if (size < 4 || size > TCP_OPTIONS_MAX)
		return 0;
	if (load(skb, at, walk.bytes, size) < 0)
		return -1;
	__builtin_memcpy(before, walk.bytes, sizeof(before));
	bpf_loop(size, blank_option, &walk, 0);
	if (!walk.found)
		return 0;
	difference = bpf_csum_diff((__be32 *)before, TCP_OPTIONS_MAX, (__be32 *)walk.bytes, TCP_OPTIONS_MAX, 0);
	if (checked(bpf_skb_store_bytes(skb, at, walk.bytes, size, 0), SITE_STORE_BYTES) < 0 ||
	    checked(bpf_l4_csum_replace(skb, segment->l4 + TCP_CHECKSUM_OFFSET, 0, difference, 0), SITE_L4_CSUM) < 0)
		return -1;
	return 1;
}

/* Options two kinds of which are meant. */
#define TWO_KINDS(a, b) ((a) | (b) << 8)
