/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The slow path's working memory. It lies in a map, not on the stack, for the verifier's sake: what is read from a map it takes
 * for unknown, so the many ways of parsing a packet join again before the packet is judged, instead of multiplying. */
#pragma once

#include "notify.h"
#include "packet.h"

struct scratch {
	struct packet packet;
	struct flow flow;
};

/* 0 -> the packet in hand, per CPU. Programs at tc hooks run with softirqs off and never nest: one is enough. Kernel only. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

/* Cleared for the next packet at a hook. */
inline_always struct scratch *scratch_for(enum observation_point hook, enum direction direction)
{
	__u32 zero = 0;
	struct scratch *scratch_value = bpf_map_lookup_elem(&scratch, &zero);

	if (scratch_value) {
		__builtin_memset(scratch_value, 0, sizeof(*scratch_value));
		scratch_value->packet.hook = hook;
		scratch_value->flow.direction = direction;
	}
	return scratch_value;
}
