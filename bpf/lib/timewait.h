/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* A connection that the proxy closed first lingers at it in TIME_WAIT, under the workload's address and port, for a minute. The
 * workload may use that port again much sooner, and the stack would let its SYN take the place; but not a SYN that a listener
 * was assigned to: since Linux 6.11 that is dropped without a word ("tcp: Fix race for duplicate reqsk on identical SYN").
 * So the old socket is ended first, by what alone ends it: a RST with exactly the number that it expects (RFC 1337, 2).
 *
 * That RST is the SYN itself, rewritten and cloned; the SYN goes round behind it. Where net.ipv4.tcp_rfc1337 forbids this, the
 * SYN is lost as it would have been. */
#pragma once

#include "metrics.h"
#include "packet.h"
#include "proxy.h"

/* Read through the kernel's own type information, which says where the fields really are. */
struct sock_common {
	__u32 skc_tw_rcv_nxt;
} __attribute__((preserve_access_index));

struct inet_timewait_sock {
	struct sock_common __tw_common;
} __attribute__((preserve_access_index));

struct tcp_timewait_sock {
	struct inet_timewait_sock tw_sk;
} __attribute__((preserve_access_index));

/* What a RST changes in a TCP header. */
struct tcp_start {
	__be32 seq;
	__be16 bits; /* header length and flags */
};

enum {
	TCP_SEQ_OFFSET = 4,
	TCP_BITS_OFFSET = 12,
	TCP_LENGTH_BITS = 0xf000,
	MARK_WENT_ROUND = 0x1000, /* beside MARK_HAIRPIN: a second time would be for ever */
};

/* Whether a TIME_WAIT socket has the packet's tuple; the number that it expects. */
stage int timewait_expects(struct __sk_buff *skb, const struct packet *packet, __be32 *number)
{
	struct bpf_sock_tuple tuple;
	__u32 size = proxy_tuple(&tuple, packet);
	struct tcp_timewait_sock *waiting;
	struct bpf_sock *socket = bpf_skc_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);

	if (!socket)
		return 0;
	waiting = bpf_skc_to_tcp_timewait_sock(socket);
	if (waiting)
		*number = bpf_htonl(waiting->tw_sk.__tw_common.skc_tw_rcv_nxt);
	bpf_sk_release(socket);
	return !!waiting;
}

stage int timewait_rewrite(struct __sk_buff *skb, __u32 tcp, const struct tcp_start *from, const struct tcp_start *to)
{
	if (checked(bpf_l4_csum_replace(skb, tcp + TCP_CHECKSUM_OFFSET, from->seq, to->seq, sizeof(to->seq)), SITE_L4_CSUM) < 0 ||
	    checked(bpf_l4_csum_replace(skb, tcp + TCP_CHECKSUM_OFFSET, from->bits, to->bits, sizeof(to->bits)), SITE_L4_CSUM) < 0 ||
	    checked(bpf_skb_store_bytes(skb, tcp + TCP_SEQ_OFFSET, &to->seq, sizeof(to->seq), 0), SITE_STORE_BYTES) < 0)
		return -1;
	return checked(bpf_skb_store_bytes(skb, tcp + TCP_BITS_OFFSET, &to->bits, sizeof(to->bits), 0), SITE_STORE_BYTES);
}

/* At an ingress hook, for a SYN on its way to the proxy: ends a TIME_WAIT socket in its way and sends it round once more. Returns
 * the action, or -1 where nothing is in the way. */
stage int timewait_make_way(struct __sk_buff *skb, const struct packet *packet)
{
	__u32 tcp = packet->l4_offset;
	struct tcp_start syn, reset;

	if (!is_tcp_open(packet) || skb->mark & MARK_WENT_ROUND)
		return -1;
	if (!timewait_expects(skb, packet, &reset.seq))
		return -1;
	if (checked(bpf_skb_load_bytes(skb, tcp + TCP_SEQ_OFFSET, &syn.seq, sizeof(syn.seq)), SITE_LOAD_BYTES) < 0 ||
	    checked(bpf_skb_load_bytes(skb, tcp + TCP_BITS_OFFSET, &syn.bits, sizeof(syn.bits)), SITE_LOAD_BYTES) < 0)
		return TC_ACT_SHOT;
	reset.bits = (syn.bits & bpf_htons(TCP_LENGTH_BITS)) | bpf_htons(TCP_RST);
	skb->mark = MARK_HAIRPIN | MARK_WENT_ROUND;
	if (timewait_rewrite(skb, tcp, &syn, &reset) < 0)
		return TC_ACT_SHOT;
	checked(bpf_clone_redirect(skb, skb->ifindex, BPF_F_INGRESS), SITE_CLONE);
	if (timewait_rewrite(skb, tcp, &reset, &syn) < 0)
		return TC_ACT_SHOT;
	return bpf_redirect(skb->ifindex, BPF_F_INGRESS);
}
