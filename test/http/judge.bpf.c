// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/* For tests: steps one request through a program, as a list of operations that stand in the packet. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "http_rules.h"

enum {
	OPERATIONS = 8192,
	HEADER_BYTES = 14 + 8, /* Ethernet, then number of the program and count of operations */
};

/* What to do with a byte; the packet holds pairs of both. */
enum operation {
	OP_LINE = 1,
	OP_LINE_END = 2,
	OP_HEADER_BEGIN = 3,
	OP_HEADER = 4,
	OP_COLON = 5,
	OP_HEADER_END = 6,
	OP_HOST = 7,
};

struct work {
	struct http_request request;
	__u8 operations[OPERATIONS * 2];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct work);
} work_map SEC(".maps");

struct context {
	const struct http_program *program;
	struct work *work;
	__u32 denied_at; /* + 1; 0: not yet */
	__u32 skipping;
};

static long step(__u32 index, struct context *context)
{
	const struct http_program *program = context->program;
	struct work *work = context->work;
	__u8 operation, byte;
	int alive = 1;

	if (index >= OPERATIONS)
		return 1;
	operation = work->operations[index * 2];
	byte = work->operations[index * 2 + 1];
	switch (operation) {
	case OP_LINE:
		alive = http_line_byte(program, &work->request, byte) != 0;
		break;
	case OP_LINE_END:
		alive = http_line_end(program, &work->request) != 0;
		break;
	case OP_HEADER_BEGIN:
		http_header_begin(program, &work->request);
		context->skipping = !http_asks_headers(program);
		break;
	case OP_HEADER:
		if (!context->skipping)
			http_header_byte(program, &work->request, byte);
		break;
	case OP_COLON:
		if (!context->skipping)
			context->skipping = !http_header_colon(program, &work->request);
		break;
	case OP_HEADER_END:
		http_header_end(&work->request);
		break;
	case OP_HOST:
		if (http_asks_host(program))
			http_host_byte(program, &work->request, byte);
		break;
	}
	if (alive)
		return 0;
	context->denied_at = index + 1;
	return 1;
}

/* Returns rule + 1, 0: denied, -1: no such program. The mark: rule + 1 of the other reading; of a denial before the end of the
 * head the number of its operation, + 1. */
SEC("tc")
int judge(struct __sk_buff *skb)
{
	struct context context = {};
	__u32 zero = 0, number, count, bytes;
	struct work *work = bpf_map_lookup_elem(&work_map, &zero);
	int rule;

	if (!work || bpf_skb_load_bytes(skb, 14, &number, 4) || bpf_skb_load_bytes(skb, 18, &count, 4))
		return -2;
	bytes = count * 2;
	if (bytes < 1 || bytes > sizeof(work->operations))
		return -2;
	if (bpf_skb_load_bytes(skb, HEADER_BYTES, work->operations, bytes))
		return -2;
	context.program = http_program(number);
	context.work = work;
	if (!context.program)
		return -1;
	http_begin(context.program, &work->request);
	bpf_loop(count, step, &context, 0);
	skb->mark = context.denied_at;
	if (context.denied_at)
		return 0;
	rule = http_verdict(context.program, &work->request);
	skb->mark = http_second_rule(&work->request);
	return rule;
}

char LICENSE[] SEC("license") = "GPL";
