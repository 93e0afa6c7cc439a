// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/* Programs that no verifier lets pass, beside one that it would. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int fine(struct __sk_buff *skb)
{
	return 0;
}

SEC("tc")
int reads_past_end(struct __sk_buff *skb)
{
	unsigned char *data = (void *)(long)skb->data;

	return data[14];
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
