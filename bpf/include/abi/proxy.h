/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What the programs tell the L7 proxy inside a packet. */
#pragma once

#include "types.h"

/* Behind the payload of every datagram that is handed to the proxy: whom the client sent it to. */
struct proxy_datagram_tail {
	struct ip_addr address;
	__be16 port;
	__u8 pad[2];
};

enum proxy_limit {
	PROXY_DATAGRAM_MAX = 4096, /* bytes from the IP header to the end of the tail; queries are far smaller */
};
