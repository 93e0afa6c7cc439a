/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Only the first fragment of a datagram names its ports; they are kept for the others. Each hook keeps its own copy,
 * since it meets the first fragment itself, with the addresses valid there. */
#pragma once

#include "maps.h"
#include "metrics.h"
#include "packet.h"

inline_always void fragment_key(struct fragment_key *key, const struct packet *packet, __u32 id)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->src = packet->src;
	key->dst = packet->dst;
	key->id = id;
	key->family = packet->family;
	key->protocol = packet->protocol;
	key->hook = packet->hook;
}

stage void fragment_remember(const struct packet *packet, __u32 id)
{
	struct fragment_ports ports = { .sport = packet->sport, .dport = packet->dport };
	struct fragment_key key;

	fragment_key(&key, packet, id);
	checked(bpf_map_update_elem(&fragments, &key, &ports, BPF_ANY), SITE_FRAGMENT_UPDATE);
}

/* Gives a later fragment its ports. A later fragment that would overwrite the transport header is refused: what was
 * judged in the first one must be what the receiver assembles (RFC 1858). */
stage int fragment_recall(struct packet *packet, __u32 id, __u32 offset_bytes)
{
	struct fragment_ports *ports;
	struct fragment_key key;

	if (packet->protocol == IPPROTO_TCP && offset_bytes < sizeof(struct tcphdr))
		return DROP_INVALID_PACKET;
	fragment_key(&key, packet, id);
	ports = bpf_map_lookup_elem(&fragments, &key);
	if (!ports)
		return DROP_FRAGMENT;
	packet->sport = ports->sport;
	packet->dport = ports->dport;
	packet->later_fragment = 1;
	return DROP_NONE;
}
