/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The slow path's working memory. It lies in a map, not on the stack, for the verifier's sake: what is read from a map it takes
 * for unknown, so the many ways of parsing a packet join again before the packet is judged, instead of multiplying. And all
 * functions of a call chain share 512 bytes of stack. */
#pragma once

#include "notify.h"
#include "packet.h"

struct scratch {
	struct packet packet;
	struct flow flow;
	struct packet quoted; /* by the ICMP error in hand */
	struct packet answer; /* to the packet in hand, as it would come back */
	struct packet inside; /* that answer as the workload would get it */
};

/* 0 -> the packet in hand, per CPU. Programs at tc hooks run with softirqs off and never nest: one is enough. Kernel only. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

/* Never NULL; but only a check tells the verifier. */
inline_always struct scratch *get_scratch(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&scratch, &zero);
}

/* Ready for the next packet at a hook. */
inline_always struct scratch *scratch_for(enum observation_point hook, enum direction direction)
{
	struct scratch *work = get_scratch();

	if (work) {
		__builtin_memset(&work->packet, 0, sizeof(work->packet));
		__builtin_memset(&work->flow, 0, sizeof(work->flow));
		work->packet.hook = hook;
		work->flow.direction = direction;
	}
	return work;
}
