// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/* Loses packets at random: a link that nobody would wish for. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

/* 0 -> of 1000 packets so many are lost. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} permille SEC(".maps");

SEC("tc")
int lossy(struct __sk_buff *skb)
{
	__u32 zero = 0, *lost = bpf_map_lookup_elem(&permille, &zero);

	return lost && skb->len > 54 && bpf_get_prandom_u32() % 1000 < *lost ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

char LICENSE[] SEC("license") = "GPL";
