/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The client's stream: what a request's head comes to, and where the next one begins. */
#pragma once

#include "http_head.h"

/* Behind a request and its body. A denied one ends the judging of its segment. */
inline_always int request_complete(struct http_turn *turn, struct http_head *head)
{
	int denied = head->flags & HEAD_DENIED;

	http_head_begin(head, STATE_METHOD);
	if (denied) {
		turn->denied_end = turn->piece_offset + turn->at + turn->body;
		return STOP;
	}
	/* The next one is for newer rules than these. */
	if (turn->outdated && turn->at + turn->body < turn->size)
		return malformed(head, HTTP_FAULT_RULES_CHANGED);
	return STOP; /* for the event: the next one will overwrite its text */
}

/* An upgrade request is followed by the new protocol; a body in between would have two readings. */
inline_always int upgrade_is_malformed(const struct http_head *head)
{
	return !(head->flags & (HEAD_WEBSOCKET | HEAD_UNKNOWN_UPGRADE)) || head->flags & (HEAD_1_0 | HEAD_CHUNKED) || head->length;
}

verified_apart int request_rule(const struct http_program *program, struct http_turn *turn)
{
	if (!program || !turn)
		return 0;
	return http_verdict(program, &turn->judged);
}

/* The head is whole: is it a request with one meaning, and does a rule allow it? Its body begins at turn->at. */
inline_always int request_head_end(const struct http_program *program, struct http_turn *turn, struct http_head *head)
{
	if (head->flags & HEAD_TRAILER)
		return request_complete(turn, head);
	if (!(head->flags & (HEAD_HOST | HEAD_1_0)))
		return malformed(head, HTTP_FAULT_HOST);
	if (head->flags & HEAD_UPGRADE && upgrade_is_malformed(head))
		return malformed(head, HTTP_FAULT_UPGRADE);
	if (head->flags & HEAD_UPGRADE && head->flags & HEAD_UNKNOWN_UPGRADE)
		head->flags |= HEAD_DENIED;
	if (!(head->flags & HEAD_DENIED)) {
		turn->rule = request_rule(program, turn);
		if (!turn->rule)
			head->flags |= HEAD_DENIED;
	}

	if (head->flags & HEAD_DENIED) {
		turn->denied_offset = turn->request_offset;
		turn->denied_flags = head->flags;
		turn->told = *head;
	} else {
		if (head->flags & HEAD_IS_HEAD)
			turn->heads |= 1ULL << (turn->asked & 63);
		else
			turn->heads &= ~(1ULL << (turn->asked & 63));
		turn->asked++;
		turn->told = *head;
		turn->untold = 1;
		if (head->flags & HEAD_UPGRADE) {
			head->state = STATE_UPGRADE;
			return STOP;
		}
	}
	if (head->flags & HEAD_CHUNKED)
		return chunk_line(head);
	turn->body = head->length;
	return request_complete(turn, head);
}

/* The verdict is not for a callback: its loops need their own share of the stack. */
inline_always int head_complete(struct http_head *head)
{
	head->state = STATE_COMPLETE;
	return STOP;
}

/* One turn of the client's parser; a callback of bpf_loop. */
static int request_step(LOOP_ROUND, struct http_walk *x)
{
	struct http_turn *turn = x->turn;
	struct http_head *head;
	__u32 at, size;
	int result;

	if (!turn || !x->connection || !x->program)
		return STOP;
	head = &turn->head;
	size = turn->size;
	if (turn->at >= size)
		return STOP;
	at = turn->at;
	if (at > HTTP_PIECE_MAX)
		return STOP;
	turn->body = 0;
	switch (head->state) {
	case STATE_METHOD:
		result = step_method(x, turn, head, at, size);
		break;
	case STATE_TARGET:
		result = step_target(x, turn, head, at, size);
		break;
	case STATE_PERCENT_HIGH:
	case STATE_PERCENT_LOW:
		turn->at++;
		result = step_percent(x, turn, head, turn->bytes[at]);
		break;
	case STATE_END_LF:
		turn->at++;
		result = turn->bytes[at] == '\n' ? head_complete(head) : malformed(head, HTTP_FAULT_HEADER);
		break;
	case STATE_COMPLETE:
	case STATE_UPGRADE:
	case STATE_OPAQUE:
	case STATE_MALFORMED:
		return STOP;
	default:
		result = http_walk_common(x, turn, head, at, size, 0);
	}
	return http_walk_end(turn, head, at, result);
}

/* Parses the piece in hand. */
verified_apart int walk_request(const struct http_program *program, struct http_turn *turn, struct http_connection *connection)
{
	struct http_walk walk = { .program = program, .turn = turn, .connection = connection };

	if (!program || !turn || !connection)
		return 0;
	bpf_loop(HTTP_PIECE_MAX, request_step, &walk, 0);
	return 0;
}
