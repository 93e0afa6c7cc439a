/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* From the hooks' programs to those that judge HTTP: a tail call, since they are too large to be part of each hook. What
 * conntrack and policy have found out crosses it in a map. */
#pragma once

#include <abi/http.h>

#include "maps.h"
#include "packet.h"

enum {
	TO_HTTP = -3, /* no TC_ACT_*: the packet goes to the HTTP programs */
	HTTP_STAGES = 2,
};

struct http_hand_over {
	__u32 program;           /* of rules, as the policy in force says; HTTP_PROGRAM_*; */
	identity_t client_identity;
	identity_t server_identity;
	endpoint_id_t client_ep; /* 0: not on this node */
	endpoint_id_t server_ep;
	__u8 hook;               /* enum observation_point */
	__u8 direction;          /* enum direction: whose rules */
	__u8 is_response;        /* runs against the connection's direction */
	__u8 pad;
};

/* 0 -> the packet in hand, per CPU; as `scratch`. Kernel only. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct http_hand_over);
} http_handed SEC(".maps");

/* enum http_stage -> the program. Writer: the loader, which replaces one while the other runs. Readers: endpoint and network programs.
 * Missing: the packet is dropped. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, HTTP_STAGES);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} http_stages SEC(".maps");

inline_always struct http_hand_over *http_handed_over(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&http_handed, &zero);
}

/* What is to be returned instead of an action for a packet of a connection whose HTTP is judged. */
inline_always int hand_to_http(const struct ct_entry *entry, enum observation_point hook, int is_response)
{
	struct http_hand_over *over = http_handed_over();

	if (!over)
		return TC_ACT_SHOT;
	over->program = entry->http_program;
	over->client_identity = entry->src_identity;
	over->server_identity = entry->dst_identity;
	over->client_ep = entry->src_ep;
	over->server_ep = entry->dst_ep;
	over->hook = hook;
	over->direction = entry->flags & CT_F_HTTP_EGRESS ? DIRECTION_EGRESS : DIRECTION_INGRESS;
	over->is_response = !!is_response;
	return TO_HTTP;
}

/* The end of a hook's program: its action, or the programs behind it. */
inline_always int finish(struct __sk_buff *skb, int action)
{
	struct http_hand_over *over;

	if (likely(action != TO_HTTP))
		return action;
	over = http_handed_over();
	/* Constant places become direct jumps. */
	if (over && over->is_response)
		bpf_tail_call(skb, &http_stages, HTTP_STAGE_RESPONSE);
	else
		bpf_tail_call(skb, &http_stages, HTTP_STAGE_REQUEST);
	return TC_ACT_SHOT;
}

/* Whether one of these programs made the packet; it goes on unseen, and unmarked. */
inline_always int is_forged(struct __sk_buff *skb)
{
	if (likely((skb->mark & MARK_MASK) != MARK_FORGED))
		return 0;
	skb->mark = 0;
	return 1;
}
