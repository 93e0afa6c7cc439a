/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* May this segment of the client go on to the server? What the server reads must be what was judged, whatever is lost, repeated or
 * forged on the way:
 *
 *   below the server's acknowledgement   immutable: passes unseen
 *   up to the frontier                   judged. Bodies pass with any bytes; the rest must be the bytes that were judged
 *   at the frontier                      new: judged now, all of it or nothing
 *   beyond                               held: dropped, the client will send it again
 *
 * The frontier jumps over bodies of known length, so that they may come in any order and cost nothing per byte. */
#pragma once

#include "http_buffer.h"
#include "http_connection.h"
#include "http_forge.h"
#include "http_learn.h"
#include "http_request.h"
#include "http_segment.h"
#include "http_shift.h"

enum http_action {
	HTTP_PASS,
	HTTP_DROP,   /* nobody misses it */
	HTTP_HOLD,   /* its sender will repeat it */
	HTTP_TRIM,   /* its first turn->keep bytes pass; its sender will repeat the rest */
	HTTP_ANSWER, /* denied, kept from the server and answered; the connection goes on */
	HTTP_CLOSE,  /* answered; the connection closes */
	HTTP_CUT,    /* reset both ends */
	HTTP_OVER,   /* the connection answers for itself */
	HTTP_AGAIN,  /* the client has not got its answer */
};

/* What the new bytes of a segment came to. */
enum http_outcome {
	OUTCOME_UNFINISHED,
	OUTCOME_ALLOWED,
	OUTCOME_DENIED,
	OUTCOME_MALFORMED,
	OUTCOME_HOLD,
	OUTCOME_TRIM,
};

enum {
	HOLD_SECONDS = 10,  /* for which a denial waits until answers before it are through */
	LINGER_SECONDS = 30, /* for which a client that was told to close is listened to */
	TRIM_MAX = 1400, /* bytes of a segment that may be cut: what is larger comes again in smaller ones */
	OLD_WINDOW = 1 << 30, /* numbers further back are no retransmissions */
	PIECES_MAX = 512,
};

struct http_judging {
	struct __sk_buff *skb;
	struct http_turn *turn;
	struct http_connection *connection;
	struct http_buffer *buffer;
	const struct http_program *program;
	__u64 start; /* offsets of the segment's bytes */
	__u64 end;
	__u32 outcome;
};

/* Judges a piece at turn->frontier: copied out of the packet, whose memory its sender may still be able to write, unless it was
 * made the packet's own before. */
static int judge_piece(LOOP_ROUND, struct http_judging *y)
{
	struct http_turn *turn = y->turn;
	__u32 n, from;
	__u64 left;

	if (!turn || !y->buffer || !y->program || !y->connection)
		return STOP;
	if (turn->frontier >= y->end) {
		y->outcome = OUTCOME_ALLOWED;
		return STOP;
	}
	left = y->end - turn->frontier;
	n = left < HTTP_PIECE_MAX ? left : HTTP_PIECE_MAX;
	if (turn->head.state >= STATE_CHUNK_SIZE && n > 256)
		n = 256; /* most of it will be the chunk's data */
	from = turn->segment.data + (__u32)(turn->frontier - y->start);
	y->outcome = OUTCOME_HOLD;
	barrier_var(n);
	if (n < 1 || n > HTTP_PIECE_MAX)
		return STOP;
	if (checked(bpf_skb_pull_data(y->skb, from + n), SITE_PULL_DATA) < 0 ||
	    checked(bpf_skb_load_bytes(y->skb, from, turn->bytes, n), SITE_LOAD_BYTES) < 0)
		return STOP;
	turn->at = 0;
	turn->size = n;
	turn->structure = 0;
	turn->piece_offset = turn->frontier;
	walk_request(y->program, turn, y->connection);
	if (turn->head.state == STATE_COMPLETE) {
		turn->body = 0;
		request_head_end(y->program, turn, &turn->head);
		turn->at += turn->body;
	}
	if (turn->head.state == STATE_MALFORMED) {
		y->outcome = OUTCOME_MALFORMED;
		return STOP;
	}
	if (turn->denied_end) {
		y->outcome = OUTCOME_DENIED;
		return STOP;
	}
	if (turn->structure) {
		if (buffer_store(y->buffer, turn, turn->frontier) < 0) {
			http_tally(HTTP_COUNT_NO_BUFFER);
			return STOP;
		}
		turn->structure_end = turn->frontier + turn->structure;
	}
	turn->frontier += turn->at;
	if (turn->untold && turn->frontier < y->end) {
		turn->untold = 0;
		http_notify_request(turn, y->connection, &turn->told, http_what(HTTP_EVENT_REQUEST, VERDICT_FORWARDED, 0, 0), 0);
	}
	if (turn->head.state == STATE_METHOD && !turn->head.method_length && turn->asked != y->connection->asked) {
		turn->boundary = turn->frontier;
		turn->boundary_structure = turn->structure_end;
		buffer_mark(y->buffer, &turn->boundary_mark);
	}
	if (turn->head.state == STATE_UPGRADE) {
		y->outcome = turn->frontier < y->end ? OUTCOME_HOLD : OUTCOME_ALLOWED;
		return STOP;
	}
	y->outcome = OUTCOME_UNFINISHED;
	return GO_ON;
}

/* Judges what is new. The connection is not changed: whether the segment may pass is yet to be seen. */
inline_always int judge_new(struct __sk_buff *skb, struct http_turn *turn, struct http_connection *connection,
			    struct http_buffer *buffer, __u64 start, __u64 end)
{
	struct http_judging y = { .skb = skb, .turn = turn, .connection = connection, .buffer = buffer, .start = start, .end = end };
	int between = connection->request.state == STATE_METHOD && !connection->request.method_length;

	if (between)
		connection->program = turn->from.program;
	turn->outdated = connection->program != turn->from.program;
	y.program = http_program(connection->program);
	turn->now = bpf_ktime_get_ns();
	turn->head = connection->request;
	turn->judged = connection->judged;
	turn->frontier = connection->frontier;
	turn->structure_end = connection->structure_end;
	turn->asked = connection->asked;
	turn->heads = connection->heads;
	turn->request_offset = turn->denied_offset = turn->denied_end = 0;
	turn->rule = 0;
	turn->boundary = 0;
	turn->untold = 0;
	turn->denied_flags = 0;
	if (!y.program) {
		turn->told = turn->head;
		return OUTCOME_DENIED;
	}
	bpf_loop(PIECES_MAX, judge_piece, &y, 0);
	if (turn->denied_end > end)
		turn->denied_end = 0; /* its body is still to come */
	if (y.outcome == OUTCOME_UNFINISHED)
		return OUTCOME_HOLD;
	if (y.outcome == OUTCOME_ALLOWED && turn->head.flags & HEAD_DENIED) {
		if (!turn->denied_offset)
			turn->told = turn->head;
		return OUTCOME_DENIED;
	}
	if (y.outcome == OUTCOME_MALFORMED)
		turn->told = turn->head;
	return y.outcome;
}

/* The segment passes: what was found out about it holds. */
inline_always void judged(struct http_turn *turn, struct http_connection *connection)
{
	__u32 requests = turn->asked - connection->asked;

	connection->request = turn->head;
	connection->judged = turn->judged;
	connection->frontier = turn->frontier;
	connection->structure_end = turn->structure_end;
	connection->heads = turn->heads;
	connection->held_seconds = 0;
	if (!requests)
		return;
	connection->asked = turn->asked;
	connection->asked_ns = turn->now;
	http_tally_many(HTTP_COUNT_REQUESTS, requests);
	if (turn->untold)
		http_notify_request(turn, connection, &turn->told, http_what(HTTP_EVENT_REQUEST, VERDICT_FORWARDED, 0, 0), 0);
}

/* Whether all answers to what was asked are through, to the last byte, and the client has them: then one of ours can follow. */
inline_always int is_quiet(const struct http_turn *turn, const struct http_connection *connection, __u32 outstanding)
{
	return connection->asked - connection->answered == outstanding && connection->response.state == STATE_VERSION &&
	       !connection->response.size && connection->server_next == turn->segment.ack && !connection->shift.pending;
}

/* Whether it will become quiet by waiting. */
inline_always int may_become_quiet(struct http_connection *connection)
{
	__u32 now = clock_seconds();

	if (connection->framing_lost || connection->response.state == STATE_OPAQUE)
		return 0;
	if (!connection->held_seconds)
		connection->held_seconds = now;
	return now - connection->held_seconds < HOLD_SECONDS;
}

/* The denied request can be kept back whole: it began in this segment, nothing of it or of anything before it is on its way to the
 * server, and the client means to go on. */
inline_always int can_keep_back(const struct http_turn *turn, const struct http_connection *connection)
{
	return turn->denied_end && turn->denied_offset == connection->frontier && connection->acked == connection->frontier &&
	       !(turn->denied_flags & (HEAD_CLOSE | HEAD_1_0));
}

inline_always int refuse(struct http_turn *turn, struct http_connection *connection, int is_denied, __u8 *answer)
{
	/* A body that turned out malformed belongs to a request that was sent on; the answer to that is the place to say so. */
	__u32 outstanding = !is_denied && connection->request.state >= STATE_CHUNK_SIZE ? 1 : 0;

	if (connection->framing_lost || !is_quiet(turn, connection, outstanding))
		return may_become_quiet(connection) ? HTTP_HOLD : HTTP_CUT;
	*answer = is_denied ? ANSWER_DENIED_CLOSE : ANSWER_BAD_CLOSE;
	if (turn->denied_flags & HEAD_IS_HEAD && is_denied)
		*answer |= ANSWER_HEAD;
	if (!is_denied || !can_keep_back(turn, connection))
		return HTTP_CLOSE;
	*answer = (*answer & ANSWER_HEAD) | ANSWER_DENIED;
	return HTTP_ANSWER;
}

/* The client's acknowledgement. One of what was never sent, or of ages ago, makes the server ignore the segment (RFC 9293, 3.10.7.4),
 * but not always: with SYN cookies another connection attempt's number would do. */
inline_always int take_client_ack(const struct http_turn *turn, struct http_connection *connection)
{
	__s32 progress = turn->segment.ack - connection->server_acked;

	if (progress > 0) {
		if (!not_before(connection->server_next, turn->segment.ack))
			return -1;
		connection->server_acked += progress;
		connection->server_acked_total += progress;
		return 0;
	}
	return (__u64)-(__s64)progress > connection->server_acked_total ? -1 : 0;
}

/* A FIN is harmless behind whole requests and inside of bodies. In the middle of a head, or of one that was judged longer than it would
 * become, it makes another request of it. */
inline_always int fin_truncates(const struct http_connection *connection, __u64 end)
{
	if (end <= connection->acked || end > connection->frontier)
		return 0;
	if (end < connection->frontier)
		return end < connection->structure_end;
	if (connection->request.state == STATE_METHOD)
		return connection->request.method_length != 0;
	return connection->request.state < STATE_CHUNK_SIZE;
}

/* Whether whole allowed requests stand before the one that may not pass. */
inline_always int can_trim(const struct http_turn *turn, int outcome, __u64 start)
{
	return (outcome == OUTCOME_DENIED || outcome == OUTCOME_MALFORMED) && turn->boundary > start &&
	       turn->boundary - start <= TRIM_MAX;
}

inline_always void judged_to_boundary(struct http_turn *turn, struct http_connection *connection, __u64 start)
{
	http_head_begin(&turn->head, STATE_METHOD);
	turn->frontier = turn->boundary;
	turn->structure_end = turn->boundary_structure;
	turn->keep = turn->boundary - start;
	judged(turn, connection);
}

/* Segments with bytes or a FIN. The connection is locked and lives. */
stage int judge_bytes(struct __sk_buff *skb, struct http_turn *turn, struct http_connection *connection, __u8 *answer)
{
	const struct http_segment *segment = &turn->segment;
	__s32 distance = segment->seq - connection->acked_number;
	__u64 start = connection->acked + distance, end = start + segment->size;
	int is_new, overlaps, outcome = OUTCOME_ALLOWED;
	struct http_buffer *buffer = 0;
	__u64 from;

	if (distance < -OLD_WINDOW || ((__s64)start < 0 && (__s64)end > (__s64)connection->acked)) {
		http_tally(HTTP_COUNT_BAD_NUMBERS);
		return HTTP_DROP;
	}
	if ((__s64)end <= (__s64)connection->acked)
		return HTTP_PASS;
	if (start > connection->frontier)
		return HTTP_HOLD;
	from = start > connection->acked ? start : connection->acked;
	overlaps = segment->size && from < connection->structure_end;
	is_new = segment->size && end > connection->frontier;
	if (is_new && connection->request.state == STATE_UPGRADE)
		return may_become_quiet(connection) ? HTTP_HOLD : HTTP_CUT;
	if (is_new || overlaps) {
		int had_buffer = connection->buffer != 0;

		buffer = buffer_get(turn, connection);
		if (!buffer) {
			turn->fault = HTTP_FAULT_NO_BUFFER;
			return had_buffer ? HTTP_CUT : HTTP_HOLD;
		}
		if (overlaps && buffer_differs(skb, turn, buffer, start, from, end < connection->structure_end ? end : connection->structure_end)) {
			buffer_put(buffer);
			http_tally(HTTP_COUNT_REWRITTEN);
			turn->fault = HTTP_FAULT_REWRITTEN;
			return HTTP_CUT;
		}
		if (is_new) {
			buffer_mark(buffer, &turn->mark);
			outcome = judge_new(skb, turn, connection, buffer, start, end);
			if (outcome == OUTCOME_ALLOWED) {
				judged(turn, connection);
			} else if (can_trim(turn, outcome, start)) {
				buffer_rewind(buffer, &turn->boundary_mark);
				judged_to_boundary(turn, connection, start);
				outcome = OUTCOME_TRIM;
			} else {
				buffer_rewind(buffer, &turn->mark);
				if (turn->boundary && outcome != OUTCOME_HOLD)
					outcome = OUTCOME_HOLD; /* comes again in smaller segments */
			}
		}
		buffer_put(buffer);
	}
	if (outcome == OUTCOME_TRIM)
		return HTTP_TRIM;
	if (outcome == OUTCOME_HOLD)
		return HTTP_HOLD;
	if (outcome == OUTCOME_MALFORMED)
		return refuse(turn, connection, 0, answer);
	if (outcome == OUTCOME_DENIED)
		return refuse(turn, connection, 1, answer);
	if (segment->flags & TCP_FIN && fin_truncates(connection, end)) {
		turn->fault = HTTP_FAULT_TRUNCATED;
		return HTTP_CUT;
	}
	return HTTP_PASS;
}

inline_always int judge_segment(struct __sk_buff *skb, struct http_turn *turn, struct http_connection *connection, __u8 *answer)
{
	const struct http_segment *segment = &turn->segment;
	__u32 end = segment->seq + segment->size + !!(segment->flags & TCP_FIN);
	int action = HTTP_PASS;

	turn->fault = HTTP_FAULT_NONE;
	if (connection->life != HTTP_LIVE)
		return HTTP_OVER;
	if (turn->from.program == HTTP_PROGRAM_ANY)
		connection->unjudged = 1;
	if (segment->flags & TCP_URG) {
		turn->fault = HTTP_FAULT_URGENT;
		return HTTP_CUT;
	}
	if (take_client_ack(turn, connection) < 0) {
		http_tally(HTTP_COUNT_BAD_NUMBERS);
		return HTTP_DROP;
	}
	/* Where requests begin is no longer known, or nobody is there to judge them. */
	if (segment->size && (connection->unjudged || !turn->from.program)) {
		turn->fault = HTTP_FAULT_RULES_CHANGED;
		action = turn->from.program == HTTP_PROGRAM_ANY ? HTTP_PASS : HTTP_CUT;
	} else if (segment->size || segment->flags & TCP_FIN)
		action = judge_bytes(skb, turn, connection, answer);
	if (action == HTTP_TRIM)
		end = segment->seq + turn->keep;
	if ((action == HTTP_PASS || action == HTTP_TRIM) && !not_before(connection->passed_number, end))
		connection->passed_number = end;
	return action;
}
