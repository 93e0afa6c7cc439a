// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/* One program for each thing that the datapath asks of a kernel: `tsilium doctor` loads them one by one and sees which the
 * verifier takes. None is ever attached. The Linux version that brought the feature stands beside it. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} probe_events SEC(".maps");

/* 4.1 */
SEC("tc")
int tc_program(struct __sk_buff *skb)
{
	return skb->len ? TC_ACT_OK : TC_ACT_SHOT;
}

/* 5.3: loops that the verifier follows to their end */
SEC("tc")
int bounded_loop(struct __sk_buff *skb)
{
	__u32 sum = 0;

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < 64; i++) {
		if (i > skb->len)
			break;
		sum += skb->mark;
	}
	return sum & 1 ? TC_ACT_SHOT : TC_ACT_OK;
}

/* 5.2 */
SEC("tc")
int socket_lookup(struct __sk_buff *skb)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sk = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);

	if (sk)
		bpf_sk_release(sk);
	return TC_ACT_OK;
}

/* 5.7: hands a packet to a socket of our choice */
SEC("tc")
int socket_assign(struct __sk_buff *skb)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sk = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);

	if (sk) {
		bpf_sk_assign(skb, sk, 0);
		bpf_sk_release(sk);
	}
	return TC_ACT_OK;
}

/* 5.8 */
SEC("tc")
int ring_buffer(struct __sk_buff *skb)
{
	__u32 *record = bpf_ringbuf_reserve(&probe_events, sizeof(*record), 0);

	if (record) {
		*record = skb->len;
		bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	}
	return TC_ACT_OK;
}

/* 5.10: from the host's end of a pair straight into another namespace */
SEC("tc")
int redirect_peer(struct __sk_buff *skb)
{
	return bpf_redirect_peer(skb->ifindex, 0);
}

/* 5.11 */
SEC("tc")
int coarse_clock(struct __sk_buff *skb)
{
	skb->mark = (__u32)bpf_ktime_get_coarse_ns();
	return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "GPL";
