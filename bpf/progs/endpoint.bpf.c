// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/* Both directions of an endpoint's host-side interface. One program per direction serves all endpoints. */
#include "endpoint.h"
#include "established.h"

SEC("tc")
int from_endpoint(struct __sk_buff *skb)
{
	int action;

	if (is_forged(skb))
		return TC_ACT_OK;
	action = established(skb, POINT_FROM_ENDPOINT);
	return finish(skb, action != NOT_ESTABLISHED ? action : slow_from_endpoint(skb));
}

SEC("tc")
int to_endpoint(struct __sk_buff *skb)
{
	int action;

	if (is_forged(skb))
		return TC_ACT_OK;
	action = established(skb, POINT_TO_ENDPOINT);
	return finish(skb, action != NOT_ESTABLISHED ? action : slow_to_endpoint(skb));
}

char LICENSE[] SEC("license") = "GPL";
