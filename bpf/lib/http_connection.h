/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* A judged connection: found, locked, begun. It is begun only by the SYN-ACK of its server, whose numbers are the ones that the server
 * will go by; nothing that a client sends makes, moves or ends it. */
#pragma once

#include "http_buffer.h"
#include "http_head.h"
#include "http_state.h"

enum {
	LOCK_TRIES = 20000,
};

inline_always struct http_connection *connection_find(const struct http_turn *turn)
{
	return bpf_map_lookup_elem(&http_conns, &turn->key);
}

struct lock_try {
	struct http_connection *connection;
	__u32 taken;
};

static int try_lock(LOOP_ROUND, struct lock_try *try)
{
	struct http_connection *connection = try->connection;

	if (!connection)
		return 1;
	if (*(volatile __u32 *)&connection->lock || __sync_val_compare_and_swap(&connection->lock, 0, 1))
		return 0;
	try->taken = 1;
	return 1;
}

/* One packet at a time. A bpf_spin_lock would forbid the helpers that judging needs. Returns 0 if another CPU held it for long. */
inline_always int connection_lock(struct http_connection *connection)
{
	struct lock_try try = { .connection = connection };

	if (likely(!__sync_val_compare_and_swap(&connection->lock, 0, 1)))
		return 1;
	bpf_loop(LOCK_TRIES, try_lock, &try, 0);
	if (!try.taken)
		http_tally(HTTP_COUNT_LOCKED);
	return try.taken;
}

inline_always void connection_unlock(struct http_connection *connection)
{
	__sync_lock_test_and_set(&connection->lock, 0);
}

/* The server's SYN-ACK. The same one again changes nothing. Returns -1 if there is no room. */
stage int connection_begin(const struct http_turn *turn)
{
	const struct http_segment *segment = &turn->segment;
	struct http_connection *connection = connection_find(turn);
	__u32 zero = 0;

	if (connection && connection->client_first == segment->ack && connection->server_first == segment->seq + 1)
		return 0;
	if (connection && connection->buffer)
		buffer_release(connection);
	connection = bpf_map_lookup_elem(&http_fresh, &zero);
	if (!connection)
		return -1;
	/* All other fields of it are never written. */
	connection->number = bpf_get_prandom_u32() | 1;
	connection->client_first = connection->acked_number = connection->passed_number = segment->ack;
	connection->server_first = connection->server_next = connection->server_acked = segment->seq + 1;
	connection->acked = connection->frontier = connection->structure_end = HTTP_FIRST_OFFSET;
	connection->answer_frontier = HTTP_FIRST_OFFSET;
	connection->request.state = STATE_METHOD;
	connection->response.state = STATE_VERSION;
	http_tally(HTTP_COUNT_CONNECTIONS);
	return checked(bpf_map_update_elem(&http_conns, &turn->key, connection, BPF_ANY), SITE_CT_UPDATE);
}
