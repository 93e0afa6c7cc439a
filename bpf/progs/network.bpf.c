// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/* Both directions of the node's device towards the world. */
#include "established.h"
#include "network.h"

SEC("tc")
int from_network(struct __sk_buff *skb)
{
	int action = established(skb, POINT_FROM_NETWORK);

	return finish(skb, action != NOT_ESTABLISHED ? action : slow_from_network(skb));
}

SEC("tc")
int to_network(struct __sk_buff *skb)
{
	return slow_to_network(skb);
}

char LICENSE[] SEC("license") = "GPL";
