/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Socket redirect: what one socket of this node sends is put into the queue of the other, past both TCP stacks.
 *
 * A socket takes part if its endpoint wants it, and its address is really that endpoint's: the namespace is compared, for an
 * endpoint may claim any address inside of its own. Each direction decides once, at its first bytes: what has gone by TCP
 * stays there, because queued segments would be overtaken. From redirect to TCP a direction may change at any time, and never
 * goes back.
 *
 * Policy stays what it was: the connection was judged by its SYN, and each send looks at its entry. An entry that is not just
 * "established, under the policy in force" (revoked, to be judged again, proxied, judged by request) sends the bytes by TCP,
 * where they meet the endpoint programs. */
#pragma once

#include "established.h"
#include "socket_state.h"

enum {
	/* A reader who does not read must not cost the node more than this: beyond, TCP's own window holds the sender. */
	SOCKET_QUEUE_LIMIT = 4 * 1024 * 1024,
	AF_INET = 2,
	AF_INET6 = 10,
};

/* One end of a connection as its own socket sees it. */
struct socket_key {
	struct ip_addr local;
	struct ip_addr remote;
	__u32 local_port; /* host order */
	__u32 remote_port;
	__u32 family;     /* enum ip_family */
};

enum socket_path {
	SOCKET_UNDECIDED = 0,
	SOCKET_REDIRECT = 1,
	SOCKET_TCP = 2,
};

struct socket_state {
	struct sock *peer; /* where the last message went; only its queue is read, and only to stop */
	__u32 path;        /* enum socket_path */
	__u32 pad;
};

/* Connected sockets that take part. Writer: socket_opened; the kernel takes out what is closed. Reader: socket_send. Full:
 * the connection goes by TCP. Kernel only. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, MAX_CONNECTIONS);
	__type(key, struct socket_key);
	__type(value, __u64);
} sockets SEC(".maps");

/* Socket -> how it sends. Gone with the socket. Kernel only. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct socket_state);
} socket_states SEC(".maps");

/* Endpoint that wants socket redirect -> its network namespace's cookie. Writer: agent. Reader: socket_opened. As many as
 * endpoints. Full: the endpoint's connections go by TCP. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_ENDPOINTS);
	__type(key, __u32);
	__type(value, __u64);
} socket_netns SEC(".maps");

/* Four words of the context, one by one: a program may read them as words only, the compiler would join them. */
inline_always void socket_address_ipv6(struct ip_addr *address, const volatile __u32 *context)
{
	__u32 *words = (__u32 *)address->bytes;

	words[0] = context[0];
	words[1] = context[1];
	words[2] = context[2];
	words[3] = context[3];
}

/* 0 if the family is none of ours. */
inline_always int socket_own_key(const struct bpf_sock_ops *socket, struct socket_key *key)
{
	key->local_port = socket->local_port;
	key->remote_port = bpf_ntohl(socket->remote_port);
	if (socket->family == AF_INET) {
		key->family = FAMILY_IPV4;
		address_set_ipv4(&key->local, socket->local_ip4);
		address_set_ipv4(&key->remote, socket->remote_ip4);
		return 1;
	}
	if (socket->family != AF_INET6)
		return 0;
	socket_address_ipv6(&key->local, socket->local_ip6);
	socket_address_ipv6(&key->remote, socket->remote_ip6);
	key->family = FAMILY_IPV6;
	return 1;
}

/* An IPv4 connection of a dual-stack socket is one of IPv4. */
inline_always void socket_unmap(struct socket_key *key)
{
	const __u32 *local = (const __u32 *)key->local.bytes, *remote = (const __u32 *)key->remote.bytes;
	__be32 from = local[3], to = remote[3];

	if (key->family != FAMILY_IPV6 || local[0] || local[1] || local[2] != bpf_htonl(0xffff))
		return;
	__builtin_memset(&key->local, 0, sizeof(key->local));
	__builtin_memset(&key->remote, 0, sizeof(key->remote));
	address_set_ipv4(&key->local, from);
	address_set_ipv4(&key->remote, to);
	key->family = FAMILY_IPV4;
}

/* Whether the address is one of an endpoint that wants this, seen from that endpoint's own namespace. */
inline_always int socket_is_willing(struct bpf_sock_ops *socket, const struct socket_key *key)
{
	struct peer peer;
	__u64 *netns;
	__u32 id;

	ipcache_lookup(&key->local, key->family, &peer);
	id = peer.ep;
	netns = id ? bpf_map_lookup_elem(&socket_netns, &id) : 0;
	return netns && *netns == bpf_get_netns_cookie(socket);
}

/* Senders that wait for the kernel's word on each buffer would wait for ever. */
inline_always int socket_is_zerocopy(struct bpf_sock *socket)
{
	struct sock *sock = (struct sock *)bpf_skc_to_tcp_sock(socket);

	return sock && BPF_CORE_READ(sock, __sk_common.skc_flags) & (1UL << bpf_core_enum_value(enum sock_flags, SOCK_ZEROCOPY));
}

inline_always void socket_join(struct bpf_sock_ops *socket)
{
	struct socket_state fresh = {};
	struct socket_key key = {};
	struct bpf_sock *sk = socket->sk;

	if (!sk || !socket_own_key(socket, &key))
		return;
	socket_unmap(&key);
	if (!socket_is_willing(socket, &key) || bpf_skc_to_mptcp_sock(sk) || socket_is_zerocopy(sk))
		return;
	if (!bpf_sk_storage_get(&socket_states, sk, &fresh, BPF_SK_STORAGE_GET_F_CREATE))
		return;
	/* Never over one that is there: the tuple would be forged, or of a connection that is not quite gone. */
	checked(bpf_sock_hash_update(socket, &sockets, &key, BPF_NOEXIST), SITE_SOCK_HASH);
}

/* The key under which the other end has entered itself. */
inline_always void socket_peer_key(const struct sk_msg_md *message, struct socket_key *key)
{
	key->local_port = bpf_ntohl(message->remote_port);
	key->remote_port = message->local_port;
	if (message->family == AF_INET) {
		key->family = FAMILY_IPV4;
		address_set_ipv4(&key->local, message->remote_ip4);
		address_set_ipv4(&key->remote, message->local_ip4);
		return;
	}
	key->family = FAMILY_IPV6;
	socket_address_ipv6(&key->local, message->remote_ip6);
	socket_address_ipv6(&key->remote, message->local_ip6);
	socket_unmap(key);
}

/* The connection's entry, whichever side asks. */
inline_always struct ct_entry *socket_connection(const struct socket_key *key)
{
	struct packet packet = {
		.src = key->local,
		.dst = key->remote,
		.sport = bpf_htons(key->local_port),
		.dport = bpf_htons(key->remote_port),
		.family = key->family,
		.protocol = IPPROTO_TCP,
	};

	return ct_find(&packet, CT_LEG_CLIENT);
}

/* Whether the plain fast path would take a packet of this connection: nothing is left to judge. Keeps its entry alive. */
inline_always int socket_is_settled(const struct socket_key *key)
{
	struct ct_entry *entry = socket_connection(key);

	if (!entry || (entry->flags & CT_FLAGS_THAT_MATTER) != CT_F_ESTABLISHED || entry->epoch != policy_epoch())
		return 0;
	entry->expires = clock_seconds() + LIFETIME_TCP_ESTABLISHED;
	return 1;
}

inline_always int socket_queue_is_long(struct sock *peer)
{
	int waiting = 0;

	if (!peer)
		return 0;
	bpf_probe_read_kernel(&waiting, sizeof(waiting), (void *)__builtin_preserve_access_index(&peer->sk_backlog.rmem_alloc));
	return waiting > SOCKET_QUEUE_LIMIT;
}

/* Whether the message was put into the other's queue. */
inline_always int socket_redirect(struct sk_msg_md *message, struct socket_state *state)
{
	struct sk_msg *kernel_message;
	struct socket_key key = {};

	if (socket_queue_is_long(state->peer))
		return 0;
	socket_peer_key(message, &key);
	if (!socket_is_settled(&key))
		return 0;
	if (bpf_msg_redirect_hash(message, &sockets, &key, BPF_F_INGRESS) != SK_PASS)
		return 0;
	kernel_message = bpf_cast_to_kern_ctx(message);
	state->peer = BPF_CORE_READ(kernel_message, sk_redir);
	count_packet(DROP_NONE, DIRECTION_EGRESS, message->size);
	count_packet(DROP_NONE, DIRECTION_INGRESS, message->size);
	return 1;
}

inline_always void socket_send_message(struct sk_msg_md *message)
{
	struct socket_state *state = bpf_sk_storage_get(&socket_states, message->sk, 0, 0);

	if (!state || state->path == SOCKET_TCP)
		return;
	state->path = socket_redirect(message, state) ? SOCKET_REDIRECT : SOCKET_TCP;
}
