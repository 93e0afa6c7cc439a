/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Who an address is. */
#pragma once

#include "maps.h"
#include "notify.h"
#include "packet.h"

enum {
	IDENTITY_HOST = 1,
	IDENTITY_WORLD_IPV4 = 9,
	IDENTITY_WORLD_IPV6 = 10,
	IPCACHE_PREFIX_ADDRESS = 32 + 128,
};

inline_always struct endpoint *endpoint_by_id(endpoint_id_t id)
{
	__u32 key = id;

	return bpf_map_lookup_elem(&endpoints, &key);
}

/* The peer of an address: an endpoint of this node with the identity in its own row, or what the ipcache says.
 * Nothing found: identity 0, which only entries for "any" match. */
stage void ipcache_lookup(const struct ip_addr *address, __u8 family, struct peer *peer)
{
	struct ipcache_key key = { .prefixlen = IPCACHE_PREFIX_ADDRESS, .family = family, .addr = *address };
	struct ipcache_value *value = bpf_map_lookup_elem(&ipcache, &key);
	struct endpoint *endpoint;

	peer->identity = 0;
	peer->ep = 0;
	peer->pad = 0;
	if (!value)
		return;
	peer->identity = value->identity;
	if (!value->endpoint_id)
		return;
	endpoint = endpoint_by_id(value->endpoint_id);
	if (endpoint && endpoint->ifindex) {
		peer->ep = value->endpoint_id;
		peer->identity = endpoint->identity;
	}
}

/* Only packets made on this node can come from it; with a forged source they come from the world. */
inline_always identity_t identity_from_outside(identity_t identity, __u8 family)
{
	if (identity != IDENTITY_HOST)
		return identity;
	return family == FAMILY_IPV6 ? IDENTITY_WORLD_IPV6 : IDENTITY_WORLD_IPV4;
}

inline_always int is_pod_ipv6(const struct node_config *config, const struct ip_addr *address)
{
	const __u32 *cidr = (const __u32 *)config->pod_cidr_ipv6.bytes, *bits = (const __u32 *)address->bytes;
	__u32 rest = config->pod_prefix_ipv6;

	if (!rest)
		return 0;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		__u32 here = rest < 32 ? rest : 32;
		__u32 mask = here ? bpf_htonl(~0U << (32 - here)) : 0;

		if ((cidr[i] ^ bits[i]) & mask)
			return 0;
		rest -= here;
	}
	return 1;
}

/* Whether an address lies in this node's range for pods. */
stage int is_pod_address(const struct ip_addr *address, __u8 family)
{
	__u32 zero = 0;
	struct node_config *config = bpf_map_lookup_elem(&node_config, &zero);

	if (!config)
		return 0;
	if (family == FAMILY_IPV6)
		return is_pod_ipv6(config, address);
	return config->pod_mask_ipv4 &&
	       (address_ipv4(address) & config->pod_mask_ipv4) == (config->pod_cidr_ipv4 & config->pod_mask_ipv4);
}

inline_always __u32 policy_epoch(void)
{
	__u32 zero = 0;
	struct node_config *config = bpf_map_lookup_elem(&node_config, &zero);

	return config ? config->policy_epoch : 0;
}
