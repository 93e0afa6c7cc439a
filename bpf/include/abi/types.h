/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Scalar vocabulary shared with userspace. The generator turns *_t typedefs into branded numbers
 * and __be16/__be32 into host-order numbers read in network order. */
#pragma once

#include <linux/types.h>

typedef __u32 identity_t;    /* numeric security identity; 0 = unknown, in a policy key = any */
typedef __u16 endpoint_id_t; /* node-local endpoint number; 0 = no endpoint of this node */
typedef __u32 policy_set_t;  /* one immutable, complete set of policy entries; 0 = none: everything is denied */

/* An IPv6 address, or an IPv4 one in its first four bytes; which of the two, the neighbouring `family` says. */
struct ip_addr {
	__u8 bytes[16];
} __attribute__((aligned(4)));

enum ip_family {
	FAMILY_IPV4 = 1,
	FAMILY_IPV6 = 2,
};

enum direction {
	DIRECTION_INGRESS = 0, /* into the subject */
	DIRECTION_EGRESS = 1,  /* out of the subject */
};

/* Bits of skb->mark inside the node's namespace; pods can't set them, veth scrubs the mark. */
enum skb_mark {
	MARK_MASK = 0xf00,
	MARK_TO_PROXY = 0x200,   /* deliver to a local (transparent) socket whatever the destination address */
	MARK_FROM_PROXY = 0xa00, /* sent by the L7 proxy: both directions were judged there */
	MARK_HAIRPIN = 0xc00,    /* re-injected at a host-side interface on its way to the proxy */
	MARK_FORGED = 0xe00,     /* made by the programs themselves: goes where it was sent without being judged */
};
