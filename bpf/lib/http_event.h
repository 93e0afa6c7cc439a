/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Requests and answers as the observer hears of them: no wake-up, and what finds no room is counted. */
#pragma once

#include "http_state.h"
#include "http_turn.h"
#include "notify.h"

enum {
	HTTP_RESPONSE_EVENT_SIZE = __builtin_offsetof(struct http_event, method),
};

inline_always void event_ends(struct http_event *event, const struct http_turn *turn, const struct http_connection *connection)
{
	event->time_ns = bpf_ktime_get_ns();
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

/* The request in hand: allowed, denied, malformed. `what`: enum http_event_kind, in the next bytes verdict, fault and `foreign`. */
stage void http_notify_request(const struct http_turn *turn, const struct http_connection *connection, const struct http_head *head,
			       __u32 what, __u32 status)
{
	struct http_event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event) {
		count_lost_event();
		return;
	}
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
	__builtin_memcpy(event->method, connection->method, sizeof(event->method));
	__builtin_memcpy(event->host, connection->host, sizeof(event->host));
	__builtin_memcpy(event->path, connection->path, sizeof(event->path));
	bpf_ringbuf_submit(event, wakeup_flag());
}

inline_always __u32 http_what(enum http_event_kind kind, enum verdict verdict, __u32 fault, __u32 foreign)
{
	return kind | verdict << 8 | fault << 16 | foreign << 24;
}

/* The head of an answer was read. */
stage void http_notify_response(const struct http_turn *turn, const struct http_connection *connection, __u32 status)
{
	struct http_event *event = bpf_ringbuf_reserve(&events, HTTP_RESPONSE_EVENT_SIZE, 0);

	if (!event) {
		count_lost_event();
		return;
	}
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
	bpf_ringbuf_submit(event, wakeup_flag());
}
