/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The server's stream: where each answer ends, so that an answer of ours never overtakes one of its. Nothing is judged here and
 * nothing held up: what can't be read means that framing is lost, and that a later denial can only reset. */
#pragma once

#include "http_head.h"

enum {
	STATUS_SWITCHING = 101,
	STATUS_FINAL = 200,
	STATUS_NO_CONTENT = 204,
	STATUS_NOT_MODIFIED = 304,
	OPAQUE_FRONTIER_SHIFT = 62, /* a frontier that no stream reaches */
};

inline_always int response_complete(struct http_connection *connection)
{
	connection->answered++;
	http_head_begin(&connection->response, STATE_VERSION);
	return GO_ON;
}

inline_always int response_opaque(struct http_connection *connection)
{
	connection->response.state = STATE_OPAQUE;
	return STOP;
}

/* The server has agreed to another protocol: from here on neither stream is HTTP. */
inline_always int response_switches(struct http_turn *turn, struct http_connection *connection)
{
	if (connection->request.state != STATE_UPGRADE)
		return malformed(&connection->response, HTTP_FAULT_UPGRADE);
	http_tally(HTTP_COUNT_UPGRADED);
	connection->request.state = STATE_OPAQUE;
	connection->frontier = 1ULL << OPAQUE_FRONTIER_SHIFT;
	http_notify_response(turn, connection, STATUS_SWITCHING);
	connection->begun++;
	return response_opaque(connection);
}

inline_always int response_head_end(struct http_turn *turn, struct http_connection *connection)
{
	struct http_head *head = &connection->response;
	__u16 status = head->status, flags = head->flags;

	if (flags & HEAD_TRAILER)
		return response_complete(connection);
	if (status == STATUS_SWITCHING)
		return response_switches(turn, connection);
	if (status < STATUS_FINAL) {
		http_head_begin(head, STATE_VERSION);
		return GO_ON;
	}
	http_tally(HTTP_COUNT_RESPONSES);
	http_notify_response(turn, connection, status);
	if (connection->request.state == STATE_UPGRADE) /* declined: the connection stays HTTP */
		http_head_begin(&connection->request, STATE_METHOD);
	connection->begun++;
	if (status == STATUS_NO_CONTENT || status == STATUS_NOT_MODIFIED || connection->heads >> (connection->answered & 63) & 1)
		return response_complete(connection);
	if (flags & HEAD_UNTIL_CLOSE)
		return response_opaque(connection);
	if (flags & HEAD_CHUNKED)
		return chunk_line(head);
	if (!(flags & HEAD_LENGTH))
		return response_opaque(connection);
	turn->body = head->length;
	return response_complete(connection);
}

/* One turn of the server's parser; a callback of bpf_loop. */
static int response_step(LOOP_ROUND, struct http_walk *x)
{
	struct http_connection *connection = x->connection;
	struct http_turn *turn = x->turn;
	struct http_head *head;
	__u32 at, size, n;
	int result = GO_ON;
	__u8 byte;

	if (!turn || !connection)
		return STOP;
	head = &connection->response;
	size = turn->size;
	if (turn->at >= size)
		return STOP;
	at = turn->at;
	if (at > HTTP_PIECE_MAX)
		return STOP;
	turn->body = 0;
	byte = turn->bytes[at];
	switch (head->state) {
	case STATE_STATUS:
		turn->at++;
		result = step_status(head, byte);
		break;
	case STATE_REASON:
		n = run_over_value(turn, at, size);
		turn->at += n ? n : 1;
		if (!n && byte == '\r')
			head->state = STATE_LINE_LF;
		break;
	case STATE_END_LF:
		turn->at++;
		result = byte == '\n' ? response_head_end(turn, connection) : malformed(head, HTTP_FAULT_HEADER);
		break;
	case STATE_OPAQUE:
	case STATE_MALFORMED:
		return STOP;
	case STATE_VERSION:
		if (!head->size && connection->asked == connection->answered)
			return malformed(head, HTTP_FAULT_REQUEST_LINE); /* to which question? */
		result = http_walk_common(x, turn, head, at, size, 1);
		break;
	default:
		result = http_walk_common(x, turn, head, at, size, 1);
	}
	return http_walk_end(turn, head, at, result);
}

/* Parses the piece in hand. */
verified_apart int walk_response(struct http_turn *turn, struct http_connection *connection)
{
	struct http_walk walk = { .turn = turn, .connection = connection };

	if (!turn || !connection)
		return 0;
	bpf_loop(HTTP_PIECE_MAX, response_step, &walk, 0);
	return 0;
}

struct response_walk {
	struct __sk_buff *skb;
	struct http_turn *turn;
	struct http_connection *connection;
	__u64 start; /* offset of the segment's first byte */
	__u64 end;
};

static int read_piece(LOOP_ROUND, struct response_walk *y)
{
	struct http_connection *connection = y->connection;
	struct http_turn *turn = y->turn;
	__u64 left;
	__u32 n, from;

	if (!turn || !connection || connection->answer_frontier >= y->end)
		return STOP;
	left = y->end - connection->answer_frontier;
	n = left < HTTP_PIECE_MAX ? left : HTTP_PIECE_MAX;
	if (connection->response.state >= STATE_CHUNK_SIZE && n > 256)
		n = 256;
	from = turn->segment.data + (__u32)(connection->answer_frontier - y->start);
	barrier_var(n);
	if (n < 1 || n > HTTP_PIECE_MAX)
		return STOP;
	if (checked(bpf_skb_load_bytes(y->skb, from, turn->bytes, n), SITE_LOAD_BYTES) < 0) {
		connection->response.state = STATE_MALFORMED;
		return STOP;
	}
	turn->at = 0;
	turn->size = n;
	walk_response(turn, connection);
	connection->answer_frontier += turn->at;
	return connection->response.state >= STATE_OPAQUE ? STOP : GO_ON;
}

/* Reads what of the segment is new. `start` is the offset of its first byte in the server's stream. */
inline_always void read_response(struct __sk_buff *skb, struct http_turn *turn, struct http_connection *connection, __u64 start)
{
	struct response_walk y = { .skb = skb, .turn = turn, .connection = connection, .start = start,
				  .end = start + turn->segment.size };

	if (connection->framing_lost || connection->response.state == STATE_OPAQUE || y.end <= connection->answer_frontier)
		return;
	turn->now = bpf_ktime_get_ns();
	if (start > connection->answer_frontier)
		connection->response.state = STATE_MALFORMED; /* a hole where structure should be */
	else
		bpf_loop(256, read_piece, &y, 0);
	if (connection->response.state == STATE_MALFORMED ||
	    (connection->response.state < STATE_OPAQUE && connection->answer_frontier < y.end)) {
		connection->framing_lost = 1;
		http_tally(HTTP_COUNT_LOST_FRAMING);
	}
}
