/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Segments of our own, made from the packet in hand: answers, acknowledgements and resets that neither end sent. */
#pragma once

#include "deliver.h"
#include "http_segment.h"
#include "ipcache.h"
#include "neighbour.h"

enum http_answer {
	ANSWER_NONE,
	ANSWER_DENIED,       /* 403; the connection goes on */
	ANSWER_DENIED_CLOSE, /* 403, and the connection closes */
	ANSWER_BAD_CLOSE,    /* 400 */
	ANSWERS,
	ANSWER_HEAD = 4,     /* added: to a HEAD request, no body */
};

#define HEAD_TEXT(status, length) "HTTP/1.1 " status "\r\nContent-Type: text/plain\r\nContent-Length: " length "\r\n"
#define CLOSE_TEXT "Connection: close\r\n"
#define DENIED_BODY "Access denied\r\n"
#define BAD_BODY "Bad request\r\n"

enum {
	ANSWER_TEXT_MAX = 128,
	FORGED_HEADERS_MAX = sizeof(struct ipv6hdr) + sizeof(struct tcphdr) + 12,
	TIMESTAMP_OPTION_SIZE = 12, /* with two NOPs in front, as everyone sends it */
	FORGED_WINDOW = 512,
};

struct answer_text {
	__u8 size;
	__u8 body; /* of it */
	char text[ANSWER_TEXT_MAX - 2];
};

#define ANSWER_TEXT(head, body_text) { sizeof(head body_text) - 1, sizeof(body_text) - 1, head body_text }

static const struct answer_text answer_texts[ANSWERS + 1] = {
	[ANSWER_DENIED] = ANSWER_TEXT(HEAD_TEXT("403 Forbidden", "15") "\r\n", DENIED_BODY),
	[ANSWER_DENIED_CLOSE] = ANSWER_TEXT(HEAD_TEXT("403 Forbidden", "15") CLOSE_TEXT "\r\n", DENIED_BODY),
	[ANSWER_BAD_CLOSE] = ANSWER_TEXT(HEAD_TEXT("400 Bad Request", "13") CLOSE_TEXT "\r\n", BAD_BODY),
};

/* Bytes of an answer. */
inline_always __u32 answer_size(__u8 kind)
{
	const struct answer_text *text = &answer_texts[kind & (ANSWER_HEAD - 1)];

	return kind & ANSWER_HEAD ? text->size - text->body : text->size;
}

/* What the packet was before it is rewritten. Once per packet. */
struct forge_original {
	__u8 mac[2 * ETH_ALEN];
	__u8 pad[4];
	__u8 network[sizeof(struct ipv6hdr)];
	__be16 ports[2];
	__be32 timestamp[3]; /* 0: the packet has none */
	__u16 checksum_is_partial;
	__u16 pad2;
};

_Static_assert(sizeof(struct forge_original) <= sizeof(((struct http_turn *)0)->original), "room for the original");

/* The pseudo header's sum: IPv4 or IPv6 addresses as they stand in the header, protocol and length. */
inline_always __u32 pseudo_sum(const __u8 *network, __u8 family, __u32 tcp_size)
{
	__be32 tail = bpf_htonl(IPPROTO_TCP + tcp_size);
	__u32 sum = bpf_csum_diff(0, 0, &tail, sizeof(tail), 0);

	if (family == FAMILY_IPV6)
		return bpf_csum_diff(0, 0, (__be32 *)(network + 8), 32, sum);
	return bpf_csum_diff(0, 0, (__be32 *)(network + 12), 8, sum);
}

/* Whether the sum in the header is only the pseudo header's, to be completed by the device (CHECKSUM_PARTIAL). Programs can't ask
 * before 6.2; by chance a complete sum looks like one once in 65536 packets, whose answer is then lost and asked for again. */
inline_always int has_partial_checksum(const struct http_segment *segment, const __u8 *network, __u16 checksum)
{
	__u32 size = segment->header_size + segment->size;

	return checksum == (__u16)~checksum_fold(pseudo_sum(network, segment->family, size));
}

stage int forge_begin(struct __sk_buff *skb, struct http_turn *turn)
{
	struct forge_original *original = (void *)turn->original;
	const struct http_segment *segment = &turn->segment;
	__u32 options = segment->l4 + sizeof(struct tcphdr);
	__u16 checksum;

	if (load(skb, 0, original->mac, sizeof(original->mac)) < 0 || load(skb, segment->l4, original->ports, 4) < 0 ||
	    load(skb, segment->l4 + TCP_CHECKSUM_OFFSET, &checksum, sizeof(checksum)) < 0)
		return -1;
	if (segment->family == FAMILY_IPV6) {
		if (load(skb, ETH_HLEN, original->network, sizeof(struct ipv6hdr)) < 0)
			return -1;
	} else if (load(skb, ETH_HLEN, original->network, sizeof(struct iphdr)) < 0) {
		return -1;
	}
	original->timestamp[0] = 0;
	if (segment->header_size == sizeof(struct tcphdr) + TIMESTAMP_OPTION_SIZE &&
	    load(skb, options, original->timestamp, TIMESTAMP_OPTION_SIZE) < 0)
		return -1;
	if (original->timestamp[0] != bpf_htonl(0x0101080a))
		original->timestamp[0] = 0;
	original->checksum_is_partial = has_partial_checksum(segment, original->network, checksum);
	return 0;
}

/* What to make: for whom, with which flags, numbers and text. */
struct forge {
	__u32 seq;
	__u32 ack;
	__u8 back;   /* to the packet's sender */
	__u8 flags;  /* enum tcp_flag */
	__u8 answer; /* enum http_answer */
	__u8 pad;
};

inline_always __u32 forge_ipv4(__u8 *frame, const struct forge_original *original, __u8 back, __u32 tcp_size)
{
	const struct iphdr *was = (const void *)original->network;
	struct iphdr *ip = (void *)frame;

	*(__u8 *)ip = 0x45;
	ip->tot_len = bpf_htons(sizeof(*ip) + tcp_size);
	ip->frag_off = bpf_htons(0x4000); /* don't fragment */
	ip->ttl = 64;
	ip->protocol = IPPROTO_TCP;
	ip->saddr = back ? was->daddr : was->saddr;
	ip->daddr = back ? was->saddr : was->daddr;
	ip->check = checksum_fold(bpf_csum_diff(0, 0, (__be32 *)frame, sizeof(*ip), 0));
	return sizeof(*ip);
}

inline_always __u32 forge_ipv6(__u8 *frame, const struct forge_original *original, __u8 back, __u32 tcp_size)
{
	const struct ipv6hdr *was = (const void *)original->network;
	struct ipv6hdr *ip = (void *)frame;

	*(__u8 *)ip = 0x60;
	ip->payload_len = bpf_htons(tcp_size);
	ip->nexthdr = IPPROTO_TCP;
	ip->hop_limit = 64;
	__builtin_memcpy(&ip->saddr, back ? &was->daddr : &was->saddr, sizeof(ip->saddr));
	__builtin_memcpy(&ip->daddr, back ? &was->saddr : &was->daddr, sizeof(ip->daddr));
	return sizeof(*ip);
}

/* The TCP header at frame + at; returns its size. */
inline_always __u32 forge_tcp(__u8 *frame, __u32 at, const struct forge_original *original, const struct forge *what)
{
	struct tcphdr *tcp = (void *)(frame + at);
	__be32 *option = (void *)(tcp + 1);
	int has_timestamp = original->timestamp[0] && !(what->flags & TCP_RST);

	tcp->source = original->ports[what->back ? 1 : 0];
	tcp->dest = original->ports[what->back ? 0 : 1];
	tcp->seq = bpf_htonl(what->seq);
	tcp->ack_seq = bpf_htonl(what->ack);
	((__u8 *)tcp)[12] = (sizeof(*tcp) + (has_timestamp ? TIMESTAMP_OPTION_SIZE : 0)) / 4 << 4;
	((__u8 *)tcp)[13] = what->flags;
	tcp->window = bpf_htons(what->flags & TCP_RST ? 0 : FORGED_WINDOW);
	if (!has_timestamp)
		return sizeof(*tcp);
	option[0] = original->timestamp[0];
	option[1] = original->timestamp[what->back ? 2 : 1];
	option[2] = original->timestamp[what->back ? 1 : 2];
	return sizeof(*tcp) + TIMESTAMP_OPTION_SIZE;
}

inline_always __u32 round_up(__u32 size)
{
	return (size + 3) & ~3U;
}

/* Turns the packet into the segment described. Returns -1 where it can't be written. */
stage int forge(struct __sk_buff *skb, struct http_turn *turn, const struct forge *what)
{
	const struct forge_original *original = (void *)turn->original;
	__u8 family = turn->segment.family, *frame = turn->frame;
	__u32 network = family == FAMILY_IPV6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	__u32 text = what->answer ? answer_size(what->answer) : 0;
	__u32 header, size, sum;
	struct tcphdr *tcp;

	__builtin_memset(frame, 0, FORGED_HEADERS_MAX + ANSWER_TEXT_MAX + 4);
	header = forge_tcp(frame, network, original, what);
	barrier_var(text);
	if (text > ANSWER_TEXT_MAX - 2)
		return -1;
	if (text && bpf_probe_read_kernel(frame + network + header, text, answer_texts[what->answer & (ANSWER_HEAD - 1)].text))
		return -1;
	size = header + text;
	if (family == FAMILY_IPV6)
		forge_ipv6(frame, original, what->back, size);
	else
		forge_ipv4(frame, original, what->back, size);
	sum = pseudo_sum(frame, family, size);
	tcp = (void *)(frame + network);
	if (original->checksum_is_partial) {
		tcp->check = ~checksum_fold(sum);
	} else {
		__u32 rounded = round_up(size);

		barrier_var(rounded);
		if (rounded > FORGED_HEADERS_MAX + ANSWER_TEXT_MAX - 40)
			return -1;
		tcp->check = checksum_fold(bpf_csum_diff(0, 0, (__be32 *)tcp, rounded, sum));
	}
	size += network;
	barrier_var(size);
	if (size < 40 || size > FORGED_HEADERS_MAX + ANSWER_TEXT_MAX)
		return -1;
	if (checked(bpf_skb_change_tail(skb, ETH_HLEN + size, 0), SITE_CHANGE_TAIL) < 0)
		return -1;
	return checked(bpf_skb_store_bytes(skb, ETH_HLEN, frame, size, BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH),
		       SITE_STORE_BYTES);
}

/* ----------------------------------------------------------------------------------------------------------- cutting */

enum {
	SUM_AT_ONCE = 512, /* bytes that bpf_csum_diff takes */
};

struct summing {
	struct http_turn *turn;
	__u32 size; /* a multiple of four */
	__u32 sum;
};

static int sum_part(__u32 i, struct summing *x)
{
	__u32 at = i * SUM_AT_ONCE, left;

	if (!x->turn || at >= x->size)
		return 1;
	left = x->size - at;
	if (left > SUM_AT_ONCE)
		left = SUM_AT_ONCE;
	left &= ~3U;
	barrier_var(at);
	barrier_var(left);
	if (at > HTTP_PIECE_MAX - SUM_AT_ONCE || left < 4 || left > SUM_AT_ONCE)
		return 1;
	x->sum = bpf_csum_diff(0, 0, (__be32 *)&x->turn->bytes[at], left, x->sum);
	return 0;
}

/* Cuts the segment down to the first turn->keep bytes of its payload; a FIN goes with the rest. */
stage int segment_trim(struct __sk_buff *skb, struct http_turn *turn)
{
	const struct forge_original *original = (void *)turn->original;
	const struct http_segment *segment = &turn->segment;
	__u32 size = segment->header_size + turn->keep;
	struct summing x = { .turn = turn };
	__be16 old_length, length;
	__u16 checksum;
	__u8 flags = segment->flags & ~TCP_FIN;

	if (forge_begin(skb, turn) < 0)
		return -1;
	barrier_var(size);
	if (size < sizeof(struct tcphdr) || size > HTTP_PIECE_MAX - SUM_AT_ONCE)
		return -1;
	if (load(skb, segment->l4, turn->bytes, size) < 0)
		return -1;
	*(__u32 *)&turn->bytes[size] = 0;
	turn->bytes[13] = flags;
	*(__u16 *)&turn->bytes[TCP_CHECKSUM_OFFSET] = 0;
	x.sum = pseudo_sum(original->network, segment->family, size);
	if (original->checksum_is_partial) {
		checksum = ~checksum_fold(x.sum);
	} else {
		x.size = round_up(size);
		bpf_loop(HTTP_PIECE_MAX / SUM_AT_ONCE, sum_part, &x, 0);
		checksum = checksum_fold(x.sum);
	}
	if (segment->family == FAMILY_IPV6) {
		length = bpf_htons(size);
		if (checked(bpf_skb_store_bytes(skb, ETH_HLEN + 4, &length, sizeof(length), 0), SITE_STORE_BYTES) < 0)
			return -1;
	} else {
		old_length = ((const struct iphdr *)original->network)->tot_len;
		length = bpf_htons(sizeof(struct iphdr) + size);
		if (checked(bpf_l3_csum_replace(skb, ETH_HLEN + 10, old_length, length, sizeof(length)), SITE_L3_CSUM) < 0 ||
		    checked(bpf_skb_store_bytes(skb, ETH_HLEN + 2, &length, sizeof(length), 0), SITE_STORE_BYTES) < 0)
			return -1;
	}
	if (checked(bpf_skb_store_bytes(skb, segment->l4 + 13, &flags, sizeof(flags), 0), SITE_STORE_BYTES) < 0 ||
	    checked(bpf_skb_store_bytes(skb, segment->l4 + TCP_CHECKSUM_OFFSET, &checksum, sizeof(checksum), 0), SITE_STORE_BYTES) < 0)
		return -1;
	return checked(bpf_skb_change_tail(skb, segment->l4 + size, 0), SITE_CHANGE_TAIL);
}

/* ------------------------------------------------------------------------------------------------------------ sending */

/* Link addresses of a frame to the workload, or from it. */
inline_always int address_frame(struct __sk_buff *skb, const struct endpoint *endpoint, int to_workload)
{
	__u8 mac[2 * ETH_ALEN];

	__builtin_memcpy(mac, to_workload ? endpoint->mac : endpoint->host_mac, ETH_ALEN);
	__builtin_memcpy(mac + ETH_ALEN, to_workload ? endpoint->host_mac : endpoint->mac, ETH_ALEN);
	return checked(bpf_skb_store_bytes(skb, 0, mac, sizeof(mac), 0), SITE_STORE_BYTES);
}

/* Where a forged packet has to enter: at the end's own interface if it is an endpoint of this node; else it goes the way that packets
 * of the other end, which must be one, take. */
struct exit {
	__u32 ifindex;
	__u32 flags;
};

inline_always int exit_towards(struct __sk_buff *skb, endpoint_id_t id, endpoint_id_t other, struct exit *exit)
{
	struct endpoint *endpoint = endpoint_by_id(id ? id : other);

	if (!endpoint || !endpoint->ifindex || address_frame(skb, endpoint, id != 0) < 0)
		return -1;
	exit->ifindex = endpoint->ifindex;
	exit->flags = id ? 0 : BPF_F_INGRESS;
	return 0;
}

/* Sends a copy of what was forged. */
stage int forged_copy(struct __sk_buff *skb, const struct http_turn *turn, int to_client)
{
	struct exit exit;
	long error;

	if (exit_towards(skb, to_client ? turn->from.client_ep : turn->from.server_ep,
			 to_client ? turn->from.server_ep : turn->from.client_ep, &exit) < 0)
		return -1;
	skb->mark = MARK_FORGED;
	error = checked(bpf_clone_redirect(skb, exit.ifindex, exit.flags), SITE_CLONE);
	skb->mark = 0;
	return error;
}

/* Sends the packet itself; the action to return. */
stage int forged_send(struct __sk_buff *skb, const struct http_turn *turn, int to_client)
{
	struct exit exit;

	if (exit_towards(skb, to_client ? turn->from.client_ep : turn->from.server_ep,
			 to_client ? turn->from.server_ep : turn->from.client_ep, &exit) < 0)
		return TC_ACT_SHOT;
	skb->mark = MARK_FORGED;
	return bpf_redirect(exit.ifindex, exit.flags);
}
