/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The last step of a packet that may pass. */
#pragma once

#include "maps.h"
#include "metrics.h"
#include "packet.h"

_Static_assert(__builtin_offsetof(struct endpoint, host_mac) == __builtin_offsetof(struct endpoint, mac) + ETH_ALEN,
	       "the two addresses lie like the start of a frame to the workload");

/* Into a workload of this node, past the host's stack: the packet changes namespaces on this CPU, without a queue. As a frame
 * from its next hop. Written by the helper, not in place: a program that writes packets in place gets a prologue that looks at
 * every packet, also at those that it only reads. */
inline_always int deliver_to_endpoint(struct __sk_buff *skb, const struct endpoint *endpoint)
{
	if (unlikely(checked(bpf_skb_store_bytes(skb, 0, endpoint->mac, 2 * ETH_ALEN, 0), SITE_STORE_BYTES) < 0))
		return TC_ACT_SHOT;
	return bpf_redirect_peer(endpoint->ifindex, 0);
}
