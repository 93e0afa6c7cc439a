/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The fast path: one packet of a connection that stands, was judged under the current policy and has no proxy in it. It reads the
 * headers in place, one conntrack entry and two rows of `endpoints`, and writes the frame's addresses, counters, and the entry's
 * expiry once a second. Whatever is not as usual is left to the slow path, which decides the same things in full.
 *
 * The sender is known by the entry: it was created from a packet whose source address had been checked, so it is enough
 * that this packet came in by that endpoint's interface. */
#pragma once

#include "conntrack.h"
#include "deliver.h"
#include "http_hand_over.h"
#include "ipcache.h"
#include "maps.h"
#include "metrics.h"
#include "packet.h"

enum {
	NOT_ESTABLISHED = -2, /* no TC_ACT_* */
	CT_FLAGS_THAT_MATTER = CT_F_ESTABLISHED | CT_F_FIN_FORWARD | CT_F_FIN_REVERSE | CT_F_RST | CT_F_PROXIED |
			       CT_F_PROXY_LEG | CT_F_DENIED | CT_F_HTTP,
	TCP_FLAGS_OFFSET = 13,
};

/* Is the endpoint (or, for 0, the outside) the end that this hook expects? */
inline_always int is_hook_endpoint(const struct __sk_buff *skb, endpoint_id_t id)
{
	struct endpoint *endpoint = endpoint_by_id(id);

	return endpoint && endpoint->ifindex == skb->ifindex;
}

/* Do the connection's ends fit the hook that the packet came to? */
inline_always int is_expected_at(const struct __sk_buff *skb, endpoint_id_t sender, endpoint_id_t receiver, enum observation_point hook)
{
	if (hook == POINT_TO_ENDPOINT)
		return !sender && is_hook_endpoint(skb, receiver);
	return hook == POINT_FROM_ENDPOINT ? is_hook_endpoint(skb, sender) : !sender && receiver;
}

inline_always int established_deliver(struct __sk_buff *skb, endpoint_id_t sender, endpoint_id_t receiver,
				      enum observation_point hook)
{
	struct endpoint *endpoint;

	if (!is_expected_at(skb, sender, receiver, hook))
		return NOT_ESTABLISHED;
	if (hook == POINT_TO_ENDPOINT) {
		count_forwarded(skb, DIRECTION_INGRESS);
		return TC_ACT_OK;
	}
	if (!receiver) {
		count_forwarded(skb, DIRECTION_EGRESS);
		return TC_ACT_OK;
	}
	endpoint = endpoint_by_id(receiver);
	if (!endpoint || !endpoint->ifindex)
		return NOT_ESTABLISHED;
	if (hook == POINT_FROM_ENDPOINT)
		count_forwarded(skb, DIRECTION_EGRESS);
	count_forwarded(skb, DIRECTION_INGRESS);
	return deliver_to_endpoint(skb, endpoint);
}

inline_always int established_entry(struct __sk_buff *skb, struct ct_entry *entry, int source_is_lo, __u8 protocol,
				    enum observation_point hook)
{
	__u32 now, expires, flags = entry->flags;
	endpoint_id_t sender, receiver;
	int forward = !!(flags & CT_F_INITIATOR_LO) == source_is_lo;

	if ((flags & CT_FLAGS_THAT_MATTER & ~CT_F_HTTP) != CT_F_ESTABLISHED || entry->epoch != policy_epoch())
		return NOT_ESTABLISHED;
	now = clock_seconds();
	if (entry->expires < now)
		return NOT_ESTABLISHED;
	expires = now + (protocol == IPPROTO_TCP ? LIFETIME_TCP_ESTABLISHED : LIFETIME_REPLIED);
	if (entry->expires != expires)
		entry->expires = expires;
	sender = forward ? entry->src_ep : entry->dst_ep;
	receiver = forward ? entry->dst_ep : entry->src_ep;
	if (flags & CT_F_HTTP)
		return is_expected_at(skb, sender, receiver, hook) ? hand_to_http(entry, hook, !forward) : NOT_ESTABLISHED;
	return established_deliver(skb, sender, receiver, hook);
}

/* Ports in place, if this is TCP or UDP and nothing in its flags changes the connection. */
inline_always const __be16 *established_ports(const void *l4, const void *end, __u8 protocol)
{
	if (protocol == IPPROTO_TCP) {
		if (l4 + sizeof(struct tcphdr) > end ||
		    ((const __u8 *)l4)[TCP_FLAGS_OFFSET] & (TCP_SYN | TCP_FIN | TCP_RST))
			return 0;
		return l4;
	}
	return protocol == IPPROTO_UDP && l4 + sizeof(struct udphdr) <= end ? l4 : 0;
}

inline_always int established_ipv4(struct __sk_buff *skb, enum observation_point hook)
{
	const void *end = (void *)(long)skb->data_end;
	const struct iphdr *ip = (void *)(long)skb->data + ETH_HLEN;
	struct ct4_key key = {};
	struct ct_entry *entry;
	const __be16 *ports;
	int lo;

	if ((void *)(ip + 1) > end || *(__u8 *)ip != 0x45 || ip->frag_off & bpf_htons(IP_FLAG_MF | IP_OFFSET_MASK))
		return NOT_ESTABLISHED;
	ports = established_ports(ip + 1, end, ip->protocol);
	if (!ports || bpf_ntohs(ip->tot_len) > skb->len - ETH_HLEN)
		return NOT_ESTABLISHED;
	lo = ct4_source_is_lo(ip->saddr, ip->daddr, ports[0], ports[1]);
	ct4_key(&key, lo, ip->saddr, ip->daddr, ports[0], ports[1]);
	key.protocol = ip->protocol;
	entry = bpf_map_lookup_elem(&ct4, &key);
	return entry ? established_entry(skb, entry, lo, key.protocol, hook) : NOT_ESTABLISHED;
}

inline_always int established_ipv6(struct __sk_buff *skb, enum observation_point hook)
{
	const void *end = (void *)(long)skb->data_end;
	const struct ipv6hdr *ip = (void *)(long)skb->data + ETH_HLEN;
	const struct ip_addr *src = (void *)&ip->saddr, *dst = (void *)&ip->daddr;
	struct ct6_key key = {};
	struct ct_entry *entry;
	const __be16 *ports;
	int lo;

	if ((void *)(ip + 1) > end || *(__u8 *)ip >> 4 != 6)
		return NOT_ESTABLISHED;
	ports = established_ports(ip + 1, end, ip->nexthdr);
	if (!ports || bpf_ntohs(ip->payload_len) + sizeof(*ip) > skb->len - ETH_HLEN)
		return NOT_ESTABLISHED;
	lo = address_equal(src, dst) ? bpf_ntohs(ports[0]) <= bpf_ntohs(ports[1]) : address_less(src, dst);
	ct6_key(&key, lo, src, dst, ports[0], ports[1]);
	key.protocol = ip->nexthdr;
	entry = bpf_map_lookup_elem(&ct6, &key);
	return entry ? established_entry(skb, entry, lo, key.protocol, hook) : NOT_ESTABLISHED;
}

/* TC_ACT_*, or NOT_ESTABLISHED. */
inline_always int established(struct __sk_buff *skb, enum observation_point hook)
{
	if (skb->vlan_present || skb->mark & MARK_MASK)
		return NOT_ESTABLISHED;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return established_ipv4(skb, hook);
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return established_ipv6(skb, hook);
	return NOT_ESTABLISHED;
}
