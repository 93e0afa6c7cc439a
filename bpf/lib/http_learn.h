/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Ports that turned out to speak what the kernel can't judge. The connection that showed it is ended; the client's next one
 * goes to the proxy, without anyone's help, as long as the endpoint's policy stands. */
#pragma once

#include <abi/http_rules.h>

#include "maps.h"
#include "packet.h"

inline_always void http_port_key(struct http_port_key *key, endpoint_id_t subject, __u8 direction, identity_t peer, __be16 dport)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->peer = peer;
	key->subject = subject;
	key->dport = dport;
	key->direction = direction;
}

/* What is known to be spoken there; 0: HTTP/1, as far as anyone knows. Asked for once per connection. */
stage int http_foreign_port(endpoint_id_t subject, __u8 direction, identity_t peer, __be16 dport)
{
	struct http_port_value *known;
	struct http_port_key key;

	http_port_key(&key, subject, direction, peer, dport);
	known = bpf_map_lookup_elem(&http_learnt, &key);
	return known ? known->protocol : 0;
}

/* From now on connections of these two and this port go to the proxy. */
stage int http_learn_port(const struct http_port_key *key, policy_set_t set, enum http_foreign protocol)
{
	struct http_port_value value = { .policy_set = set, .protocol = protocol };

	return bpf_map_update_elem(&http_learnt, key, &value, BPF_ANY);
}
