/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The last step of a packet that may pass. */
#pragma once

#include "maps.h"
#include "metrics.h"
#include "packet.h"

/* Into a workload of this node, past the host's stack: the packet changes namespaces on this CPU, without a queue. The
 * frame keeps the sender's MAC addresses. Nobody looks at them: the packet has been classed as "for this host" when it came in, and
 * that stays with it; rewriting them costs a copy of the header whenever TCP still holds on to the packet. */
inline_always int deliver_to_endpoint(const struct endpoint *endpoint)
{
	return bpf_redirect_peer(endpoint->ifindex, 0);
}
