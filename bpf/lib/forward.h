/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Where an admitted packet goes from an ingress hook: to the proxy, into a workload, or up the stack. */
#pragma once

#include "deliver.h"
#include "ipcache.h"
#include "notify.h"
#include "packet.h"
#include "proxy.h"
#include "timewait.h"

stage int forward(struct __sk_buff *skb, const struct packet *packet, const struct flow *flow)
{
	struct endpoint *endpoint;
	int action, reason;

	if (flow->to_proxy) {
		action = flow->proxy_port && packet->protocol == IPPROTO_TCP ? timewait_make_way(skb, packet) : -1;
		if (action >= 0)
			return action;
		reason = proxy_take(skb, packet, flow);
		return reason ? drop(skb, packet, flow, reason) : TC_ACT_OK;
	}
	if (!flow->dst.ep)
		return TC_ACT_OK;
	endpoint = endpoint_by_id(flow->dst.ep);
	if (!endpoint || !endpoint->ifindex)
		return drop(skb, packet, flow, DROP_STALE_OR_UNROUTABLE);
	count_forwarded(skb, DIRECTION_INGRESS);
	return deliver_to_endpoint(skb, endpoint);
}
