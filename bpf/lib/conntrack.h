/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Connections: finding, making and ageing their entries. What may be made is decided elsewhere (admit.h). */
#pragma once

#include "clock.h"
#include "maps.h"
#include "metrics.h"
#include "packet.h"

/* Seconds without a packet after which a connection is forgotten. */
enum ct_lifetime {
	LIFETIME_TCP_OPENING = 60,
	LIFETIME_TCP_ESTABLISHED = 8000,
	LIFETIME_TCP_CLOSING = 10,
	LIFETIME_UNREPLIED = 30,
	LIFETIME_REPLIED = 60,
};

enum {
	CT_CLOSING_BOTH = CT_F_FIN_FORWARD | CT_F_FIN_REVERSE,
};

inline_always int ct_is_closing(__u16 flags)
{
	return (flags & CT_F_RST) || (flags & CT_CLOSING_BOTH) == CT_CLOSING_BOTH;
}

inline_always __u32 ct_lifetime(__u8 protocol, __u16 flags)
{
	if (protocol != IPPROTO_TCP)
		return flags & CT_F_SEEN_REPLY || protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6 ? LIFETIME_REPLIED
													: LIFETIME_UNREPLIED;
	if (flags & CT_F_DENIED)
		return LIFETIME_TCP_ESTABLISHED;
	if (ct_is_closing(flags))
		return LIFETIME_TCP_CLOSING;
	return flags & CT_F_ESTABLISHED ? LIFETIME_TCP_ESTABLISHED : LIFETIME_TCP_OPENING;
}

/* Whether the packet's source is the "lo" end of the key. Values in host order, so "smaller" means the same as in memory. */
inline_always int ct4_source_is_lo(__be32 src, __be32 dst, __be16 sport, __be16 dport)
{
	if (src != dst)
		return bpf_ntohl(src) < bpf_ntohl(dst);
	return bpf_ntohs(sport) <= bpf_ntohs(dport);
}

inline_always void ct4_key(struct ct4_key *key, int source_is_lo, __be32 src, __be32 dst, __be16 sport, __be16 dport)
{
	key->addr_lo = source_is_lo ? src : dst;
	key->addr_hi = source_is_lo ? dst : src;
	key->port_lo = source_is_lo ? sport : dport;
	key->port_hi = source_is_lo ? dport : sport;
}

inline_always void ct6_key(struct ct6_key *key, int source_is_lo, const struct ip_addr *src, const struct ip_addr *dst,
			   __be16 sport, __be16 dport)
{
	key->addr_lo = source_is_lo ? *src : *dst;
	key->addr_hi = source_is_lo ? *dst : *src;
	key->port_lo = source_is_lo ? sport : dport;
	key->port_hi = source_is_lo ? dport : sport;
}

union ct_key {
	struct ct4_key v4;
	struct ct6_key v6;
};

inline_always int address_less(const struct ip_addr *a, const struct ip_addr *b)
{
	const __u32 *x = (const __u32 *)a->bytes, *y = (const __u32 *)b->bytes;

	if (x[0] != y[0])
		return bpf_ntohl(x[0]) < bpf_ntohl(y[0]);
	if (x[1] != y[1])
		return bpf_ntohl(x[1]) < bpf_ntohl(y[1]);
	if (x[2] != y[2])
		return bpf_ntohl(x[2]) < bpf_ntohl(y[2]);
	return bpf_ntohl(x[3]) < bpf_ntohl(y[3]);
}

inline_always int ct_source_is_lo(const struct packet *packet)
{
	if (!address_equal(&packet->src, &packet->dst))
		return address_less(&packet->src, &packet->dst);
	return bpf_ntohs(packet->sport) <= bpf_ntohs(packet->dport);
}

/* The key of the packet's connection in the map of its family. */
inline_always void ct_key(union ct_key *key, const struct packet *packet, __u8 leg)
{
	int lo = ct_source_is_lo(packet);

	__builtin_memset(key, 0, sizeof(*key));
	if (packet->family == FAMILY_IPV6) {
		ct6_key(&key->v6, lo, &packet->src, &packet->dst, packet->sport, packet->dport);
		key->v6.protocol = packet->protocol;
		key->v6.leg = leg;
		return;
	}
	ct4_key(&key->v4, lo, address_ipv4(&packet->src), address_ipv4(&packet->dst), packet->sport, packet->dport);
	key->v4.protocol = packet->protocol;
	key->v4.leg = leg;
}

/* The living entry of the packet's connection, or NULL. */
stage struct ct_entry *ct_find(const struct packet *packet, __u8 leg)
{
	struct ct_entry *entry;
	union ct_key key;

	ct_key(&key, packet, leg);
	if (packet->family == FAMILY_IPV6)
		entry = bpf_map_lookup_elem(&ct6, &key);
	else
		entry = bpf_map_lookup_elem(&ct4, &key);
	if (entry && entry->expires < clock_seconds())
		return 0;
	return entry;
}

/* Whether the packet runs against the direction in which the connection was opened. */
inline_always int ct_is_reply(const struct ct_entry *entry, const struct packet *packet)
{
	return !!(entry->flags & CT_F_INITIATOR_LO) != ct_source_is_lo(packet);
}

/* Stores the connection that this packet opens; the caller has filled all but direction and expiry. */
stage int ct_create(const struct packet *packet, struct ct_entry *entry, __u8 leg)
{
	union ct_key key;
	long error;

	ct_key(&key, packet, leg);
	if (ct_source_is_lo(packet))
		entry->flags |= CT_F_INITIATOR_LO;
	if (is_tcp_open(packet))
		entry->flags |= CT_F_SEEN_SYN;
	entry->expires = clock_seconds() + ct_lifetime(packet->protocol, entry->flags);
	if (packet->family == FAMILY_IPV6)
		error = bpf_map_update_elem(&ct6, &key, entry, BPF_ANY);
	else
		error = bpf_map_update_elem(&ct4, &key, entry, BPF_ANY);
	return checked(error, SITE_CT_UPDATE) < 0 ? DROP_CT_MAP_INSERTION_FAILED : DROP_NONE;
}

/* Answers of the proxy don't always pass a hook: for the initiator's leg its own ACK is proof enough. */
inline_always int ct_was_answered(__u16 flags)
{
	return flags & (CT_F_SEEN_REPLY | CT_F_PROXIED);
}

/* Carries the entry over this packet. Returns 1 if the packet ended the connection. Written only where something changed,
 * expiry at most once a second: a written cache line has to travel between CPUs. */
stage int ct_advance(struct ct_entry *entry, const struct packet *packet)
{
	int reply = ct_is_reply(entry, packet);
	__u16 before = entry->flags, flags = before;
	__u32 expires;

	if (packet->protocol == IPPROTO_TCP && !packet->later_fragment) {
		if (packet->tcp_flags & TCP_RST)
			flags |= CT_F_RST;
		if (packet->tcp_flags & TCP_FIN)
			flags |= reply ? CT_F_FIN_REVERSE : CT_F_FIN_FORWARD;
		if (!reply && !(packet->tcp_flags & TCP_SYN) && ct_was_answered(flags))
			flags |= CT_F_ESTABLISHED;
	} else if (reply) {
		flags |= CT_F_ESTABLISHED;
	}
	if (reply)
		flags |= CT_F_SEEN_REPLY;

	if (flags != before)
		entry->flags = flags;
	expires = clock_seconds() + ct_lifetime(packet->protocol, flags);
	if (entry->expires != expires)
		entry->expires = expires;
	return ct_is_closing(flags) && !ct_is_closing(before);
}

/* A SYN without ACK starts over whatever is left of an older connection with the same addresses and ports; one that runs
 * against the connection's direction is somebody else's attempt and must never pass as a reply. */
inline_always int ct_is_reopened(const struct ct_entry *entry, const struct packet *packet, __u32 epoch)
{
	if (!is_tcp_open(packet))
		return 0;
	return ct_is_reply(entry, packet) || entry->epoch != epoch ||
	       entry->flags & (CT_F_ESTABLISHED | CT_F_DENIED | CT_F_FIN_FORWARD | CT_F_FIN_REVERSE | CT_F_RST);
}
