/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Requests and answers as the observer hears of them: no wake-up, and what finds no room is counted. */
#pragma once

#include "http_state.h"
#include "http_turn.h"
#include "notify.h"

enum {
	HTTP_EVENT_HEAD = __builtin_offsetof(struct http_event, text),
};

_Static_assert(sizeof(((struct http_event *)0)->text) == HTTP_METHOD_MAX + HTTP_HOST_MAX + HTTP_PATH_MAX, "room for all texts");

inline_always void event_ends(struct http_event *event, const struct http_turn *turn, const struct http_connection *connection)
{
	event->time_ns = turn->now;
	event->type = EVENT_HTTP;
	event->direction = turn->from.direction;
	event->family = turn->key.family;
	event->connection = connection->number;
	event->client_identity = turn->from.client_identity;
	event->server_identity = turn->from.server_identity;
	event->client_ep = turn->from.client_ep;
	event->server_ep = turn->from.server_ep;
	event->client_port = turn->key.client_port;
	event->server_port = turn->key.server_port;
	event->client = turn->key.client;
	event->server = turn->key.server;
	event->program = connection->program;
	event->pad[0] = event->pad[1] = 0;
}

/* Puts a text behind the others; returns where the next one goes. */
inline_always __u32 event_text(struct http_event *event, __u32 at, const __u8 *text, __u32 size, __u32 limit)
{
	if (size > limit)
		size = limit;
	barrier_var(size);
	barrier_var(at);
	if (at > sizeof(event->text) - HTTP_PATH_MAX || size < 1 || size > HTTP_PATH_MAX)
		return at;
	return bpf_probe_read_kernel(&event->text[at], size, text) ? at : at + size;
}

stage void event_send(struct http_event *event, __u32 text)
{
	__u32 size = HTTP_EVENT_HEAD + text;

	barrier_var(size);
	if (size > sizeof(*event))
		return;
	if (bpf_ringbuf_output(&events, event, size, wakeup_flag()))
		count_lost_event();
}

/* The request in hand: allowed, denied, malformed. `what`: enum http_event_kind, in the next bytes verdict, fault and `foreign`. */
stage void http_notify_request(struct http_turn *turn, const struct http_connection *connection, const struct http_head *head,
			       __u32 what, __u32 status)
{
	struct http_event *event = &turn->event;
	__u32 text;

	event_ends(event, turn, connection);
	event->kind = what;
	event->verdict = what >> 8;
	event->fault = what >> 16;
	event->foreign = what >> 24;
	event->minor_version = !(head->flags & HEAD_1_0);
	event->request = turn->asked;
	event->latency_ns = 0;
	event->rule = turn->rule;
	event->status = status;
	event->path_length = head->path_length;
	event->method_length = head->method_length;
	event->host_length = head->host_length;
	text = event_text(event, 0, connection->method, head->method_length, HTTP_METHOD_MAX);
	text = event_text(event, text, connection->host, head->host_length, HTTP_HOST_MAX);
	text = event_text(event, text, connection->path, head->path_length, HTTP_PATH_MAX);
	event_send(event, text);
}

inline_always __u32 http_what(enum http_event_kind kind, enum verdict verdict, __u32 fault, __u32 foreign)
{
	return kind | verdict << 8 | fault << 16 | foreign << 24;
}

/* The head of an answer was read. */
stage void http_notify_response(struct http_turn *turn, const struct http_connection *connection, __u32 status)
{
	struct http_event *event = &turn->event;

	event_ends(event, turn, connection);
	event->kind = HTTP_EVENT_RESPONSE;
	event->verdict = VERDICT_FORWARDED;
	event->fault = 0;
	event->foreign = 0;
	event->minor_version = !(connection->response.flags & HEAD_1_0);
	event->request = connection->begun + 1;
	/* With several on their way, which one was asked when is not known. */
	event->latency_ns = connection->asked - connection->begun == 1 ? event->time_ns - connection->asked_ns : 0;
	event->rule = 0;
	event->status = status;
	event->path_length = 0;
	event->method_length = 0;
	event->host_length = 0;
	event_send(event, 0);
}
