/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Per-CPU counters: what happened to packets, and which kernel helpers failed where. */
#pragma once

#include "maps.h"
#include "packet.h"

inline_always void count_packet(__u32 reason, __u32 direction, __u32 bytes)
{
	__u32 key = reason * 2 + direction;
	struct metric *metric = bpf_map_lookup_elem(&metrics, &key);

	if (metric) {
		metric->packets++;
		metric->bytes += bytes;
	}
}

inline_always void count_forwarded(const struct __sk_buff *skb, enum direction direction)
{
	count_packet(DROP_NONE, direction, skb->len - ETH_HLEN);
}

stage void count_helper_error(__u32 site)
{
	__u64 *count = bpf_map_lookup_elem(&helper_errors, &site);

	if (count)
		(*count)++;
}

/* Result of a helper, counted under its site if it failed. Zero or positive is success. */
inline_always long checked(long result, enum helper_site site)
{
	if (unlikely(result < 0))
		count_helper_error(site);
	return result;
}
