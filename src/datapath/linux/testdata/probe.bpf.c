// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/* What the behaviour suite loads: small programs whose effect is easy to see. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} records SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} table SEC(".maps");

static void count(__u32 slot)
{
	__u64 *value = bpf_map_lookup_elem(&counts, &slot);

	if (value)
		(*value)++;
}

SEC("tc")
int first(struct __sk_buff *skb)
{
	count(0);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int second(struct __sk_buff *skb)
{
	count(1);
	return TC_ACT_UNSPEC;
}

/* Raises the mark, turns the first byte of the packet round, and says TC_ACT_SHOT. */
SEC("tc")
int rewrite(struct __sk_buff *skb)
{
	__u8 byte = 0;

	bpf_skb_load_bytes(skb, 0, &byte, 1);
	byte = ~byte;
	bpf_skb_store_bytes(skb, 0, &byte, 1, 0);
	skb->mark += skb->ingress_ifindex + 1;
	return TC_ACT_SHOT;
}

/* Tells the packet's length, twice: three times eight bytes with the header, so that records wrap at every place. */
SEC("tc")
int report(struct __sk_buff *skb)
{
	__u64 *record = bpf_ringbuf_reserve(&records, 2 * sizeof(*record), 0);

	if (!record)
		return TC_ACT_SHOT;
	record[0] = skb->len;
	record[1] = skb->len;
	bpf_ringbuf_submit(record, 0);
	return TC_ACT_OK;
}

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
