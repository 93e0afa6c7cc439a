/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Once a request was answered here, client and server count differently: their numbers are translated, both ways, for the rest of
 * the connection. What lies before the last such request keeps the shifts of before it. */
#pragma once

#include "http_segment.h"
#include "http_state.h"

inline_always int is_shifted(const struct http_shift *shift)
{
	return shift->answer_size != 0;
}

/* Whether number a is not before b. */
inline_always int not_before(__u32 a, __u32 b)
{
	return (__s32)(a - b) >= 0;
}

/* The client's numbers as the server has them, into turn->segment. */
inline_always void shift_to_server(struct http_turn *turn, struct http_shift *shift)
{
	struct http_segment *segment = &turn->segment;
	/* A keep-alive probe stands one number before what follows. */
	int behind_request = not_before(turn->client_seq, shift->client_end - 1);
	int behind_answer = not_before(turn->client_ack, shift->answer + 1);

	segment->seq = turn->client_seq - (behind_request ? shift->client : shift->client - shift->request_size);
	segment->ack = turn->client_ack - (behind_answer ? shift->server : shift->server - shift->answer_size);
	if (not_before(turn->client_ack, shift->answer + shift->answer_size))
		shift->pending = 0;
}

/* Whether the client has not got the answer and asks again: it repeats the request, or just what it has. */
inline_always int wants_answer_again(const struct http_turn *turn, const struct http_shift *shift)
{
	__u32 end = turn->client_seq + turn->segment.size;

	if (!shift->pending)
		return 0;
	if (!turn->segment.size)
		return turn->client_seq == shift->client_end && !(turn->segment.flags & TCP_FIN);
	return !not_before(turn->client_seq, shift->client_end) && !not_before(shift->client_first, end);
}

/* The server's numbers as the client has to see them. */
inline_always void shift_to_client(const struct http_segment *segment, const struct http_shift *shift, __u32 *seq, __u32 *ack)
{
	__u32 server = shift->server, client = shift->client;
	__u32 inserted_at = shift->answer - (shift->server - shift->answer_size);

	if (!not_before(segment->seq, inserted_at))
		server -= shift->answer_size;
	/* The request that was kept back must not be acknowledged before its answer is there: the client would not ask again. */
	if (shift->pending && !not_before(segment->ack + client, shift->client_end + 1))
		client -= shift->request_size;
	*seq = segment->seq + server;
	*ack = segment->ack + client;
}

inline_always int rewrite_number(struct __sk_buff *skb, __u32 tcp, __u32 at, __u32 from, __u32 to)
{
	__be32 old = bpf_htonl(from), new = bpf_htonl(to);

	if (from == to)
		return 0;
	if (checked(bpf_l4_csum_replace(skb, tcp + TCP_CHECKSUM_OFFSET, old, new, sizeof(new)), SITE_L4_CSUM) < 0)
		return -1;
	return checked(bpf_skb_store_bytes(skb, tcp + at, &new, sizeof(new), 0), SITE_STORE_BYTES);
}

/* Writes the numbers, and blanks the SACK blocks, which speak of the other side's. Returns -1 where the packet can't be written. */
stage int segment_renumber(struct __sk_buff *skb, const struct http_turn *turn, __u32 seq, __u32 ack)
{
	const struct http_segment *segment = &turn->segment;

	if (rewrite_number(skb, segment->l4, 4, turn->client_seq, seq) < 0)
		return -1;
	if (segment->flags & TCP_ACK && rewrite_number(skb, segment->l4, 8, turn->client_ack, ack) < 0)
		return -1;
	return segment_blank_options(skb, segment, TWO_KINDS(TCP_OPTION_SACK, TCP_OPTION_SACK)) < 0 ? -1 : 0;
}
