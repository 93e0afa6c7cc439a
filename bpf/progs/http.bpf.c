// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/* HTTP judged in the kernel. Tail-called from the hooks' programs through `http_stages`. */
#include "http_stage.h"

SEC("tc")
int http_request(struct __sk_buff *skb)
{
	struct http_turn *turn = http_turn();

	return turn && http_take_over(turn) ? http_request_packet(skb, turn) : TC_ACT_SHOT;
}

SEC("tc")
int http_response(struct __sk_buff *skb)
{
	struct http_turn *turn = http_turn();

	return turn && http_take_over(turn) ? http_response_packet(skb, turn) : TC_ACT_SHOT;
}

char LICENSE[] SEC("license") = "GPL";
