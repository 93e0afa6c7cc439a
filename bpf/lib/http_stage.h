/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The programs that judge HTTP, one for each direction of a connection. They are tail-called by the hooks' programs once conntrack
 * and policy have had their say, and deliver what may pass. */
#pragma once

#include "deliver.h"
#include "http_forge.h"
#include "http_judge.h"
#include "http_response.h"
#include "notify.h"

/* As the hook would have: to the receiving workload, or up the stack. */
inline_always int http_deliver(struct __sk_buff *skb, const struct http_turn *turn, endpoint_id_t receiver)
{
	struct endpoint *endpoint;

	if (turn->from.hook == POINT_FROM_ENDPOINT)
		count_forwarded(skb, DIRECTION_EGRESS);
	if (turn->from.hook == POINT_TO_ENDPOINT || !receiver) {
		if (receiver)
			count_forwarded(skb, DIRECTION_INGRESS);
		return TC_ACT_OK;
	}
	endpoint = endpoint_by_id(receiver);
	if (!endpoint || !endpoint->ifindex)
		return TC_ACT_SHOT;
	count_forwarded(skb, DIRECTION_INGRESS);
	return deliver_to_endpoint(skb, endpoint);
}

inline_always int http_drop(struct __sk_buff *skb, const struct http_turn *turn, __u32 reason)
{
	return drop_quietly(skb, reason, turn->from.direction);
}

/* The packet in hand has become one for the other direction's end, or for its own: on it goes, as if its sender had sent it. */
inline_always int deliver_forged(struct __sk_buff *skb, const struct http_turn *turn, endpoint_id_t receiver)
{
	const struct forge_original *original = (void *)turn->original;

	if (checked(bpf_skb_store_bytes(skb, 0, original->mac, sizeof(original->mac), 0), SITE_STORE_BYTES) < 0)
		return TC_ACT_SHOT;
	return http_deliver(skb, turn, receiver);
}

/* ---------------------------------------------------------------------------------------------- the client's direction */

/* What HTTP_ANSWER, HTTP_CLOSE and HTTP_CUT change in a connection; the numbers are those that the client knows. */
inline_always void keep_back(const struct http_turn *turn, struct http_connection *connection, __u8 answer)
{
	struct http_shift *shift = &connection->shift;
	__s32 distance = turn->segment.seq - connection->acked_number;
	__u64 start = connection->acked + distance;

	shift->client_first = turn->client_seq + (__u32)(connection->frontier - start);
	shift->client_end = turn->client_seq + (__u32)(turn->denied_end - start);
	shift->answer = turn->client_ack;
	shift->request_size = shift->client_end - shift->client_first;
	shift->answer_size = answer_size(answer);
	shift->client += shift->request_size;
	shift->server += shift->answer_size;
	shift->answer_kind = answer;
	shift->pending = 1;
	connection->held_seconds = 0;
	http_tally(HTTP_COUNT_ANSWERED);
}

inline_always void end_connection(const struct http_turn *turn, struct http_connection *connection, int action, __u8 answer)
{
	struct http_shift *shift = &connection->shift;

	connection->life = action == HTTP_CLOSE ? HTTP_LINGERING : HTTP_CUT_OFF;
	connection->answer_kind = answer;
	connection->held_seconds = clock_seconds();
	shift->answer = turn->client_ack;
	shift->client_first = turn->client_seq;
	shift->client_end = turn->client_seq + turn->segment.size + !!(turn->segment.flags & TCP_FIN);
	if (connection->buffer)
		buffer_release(connection);
	http_tally_many(action == HTTP_CLOSE ? HTTP_COUNT_CLOSED : HTTP_COUNT_RESET, 1);
}

/* HTTP/2's preface and a TLS handshake: the port goes to the proxy, the client's next connection will be there. */
inline_always __u32 foreign_protocol(const struct http_turn *turn, const struct http_connection *connection)
{
	if (connection->asked || connection->shift.answer_size)
		return 0;
	if (turn->told.fault == HTTP_FAULT_REQUEST_LINE && turn->bytes[0] == 0x16 && turn->bytes[1] == 3 &&
	    turn->piece_offset == HTTP_FIRST_OFFSET)
		return HTTP_FOREIGN_TLS;
	if ((turn->told.fault == HTTP_FAULT_VERSION || turn->told.fault == HTTP_FAULT_TARGET) && turn->told.method_length == 3 &&
	    *(__u32 *)connection->method << 8 == (__u32)W8(0, 'P', 'R', 'I', 0, 0, 0, 0))
		return HTTP_FOREIGN_H2;
	return 0;
}

inline_always void learn_foreign(const struct http_turn *turn, __u32 protocol)
{
	int egress = turn->from.direction == DIRECTION_EGRESS;
	struct http_port_key key;
	struct endpoint *subject;

	http_port_key(&key, egress ? turn->from.client_ep : turn->from.server_ep, turn->from.direction,
		      egress ? turn->from.server_identity : turn->from.client_identity, turn->key.server_port);
	subject = endpoint_by_id(key.subject);
	checked(http_learn_port(&key, subject ? subject->policy_set : 0, protocol), SITE_CT_UPDATE);
	http_tally(HTTP_COUNT_FLIPPED);
}

/* Tells of a segment that ended the connection, or of a request that was answered here. */
inline_always void notify_refusal(struct http_turn *turn, struct http_connection *connection, __u8 answer, __u32 foreign)
{
	__u32 status = answer == ANSWER_BAD_CLOSE ? 400 : answer ? 403 : 0;

	if (foreign) {
		http_notify_request(turn, connection, &turn->told, http_what(HTTP_EVENT_FLIPPED, VERDICT_DROPPED, 0, foreign), 0);
	} else if (turn->fault || turn->told.fault) {
		http_tally(HTTP_COUNT_MALFORMED);
		http_notify_request(turn, connection, &turn->told,
				    http_what(HTTP_EVENT_MALFORMED, VERDICT_DROPPED, turn->fault ? turn->fault : turn->told.fault, 0), status);
	} else {
		http_tally(HTTP_COUNT_DENIED);
		http_notify_request(turn, connection, &turn->told, http_what(HTTP_EVENT_DENIED, VERDICT_DROPPED, 0, 0), status);
	}
}

inline_always struct forge to_client(__u8 flags, __u32 seq, __u32 ack, __u8 answer)
{
	struct forge what = { .back = 1, .flags = flags, .seq = seq, .ack = ack, .answer = answer };

	return what;
}

/* The answer to a request that was kept back; its acknowledgement of what the server had sent goes on without it. */
stage int send_answer(struct __sk_buff *skb, struct http_turn *turn, const struct http_shift *shift, int again)
{
	struct forge answer = to_client(TCP_ACK | TCP_PSH, shift->answer, shift->client_end, shift->answer_kind);
	struct forge acknowledgement = { .flags = TCP_ACK, .seq = turn->segment.seq, .ack = turn->segment.ack };

	if (forge_begin(skb, turn) < 0 || forge(skb, turn, &answer) < 0)
		return TC_ACT_SHOT;
	if (again)
		return forged_send(skb, turn, 1);
	forged_copy(skb, turn, 1);
	acknowledgement.seq = turn->passed;
	if (forge(skb, turn, &acknowledgement) < 0)
		return TC_ACT_SHOT;
	return deliver_forged(skb, turn, turn->from.server_ep);
}

/* An answer or a reset for the client, a reset for the server. */
stage int send_end(struct __sk_buff *skb, struct http_turn *turn, __u32 server_next, __u8 answer)
{
	const struct http_segment *segment = &turn->segment;
	__u32 end = turn->client_seq + segment->size + !!(segment->flags & TCP_FIN);
	struct forge client = to_client(answer ? TCP_ACK | TCP_PSH | TCP_FIN : TCP_ACK | TCP_RST, turn->client_ack, end, answer);
	struct forge server = { .flags = TCP_ACK | TCP_RST, .seq = turn->passed, .ack = server_next };

	if (forge_begin(skb, turn) < 0 || forge(skb, turn, &client) < 0)
		return TC_ACT_SHOT;
	forged_copy(skb, turn, 1);
	if (forge(skb, turn, &server) < 0)
		return TC_ACT_SHOT;
	return deliver_forged(skb, turn, turn->from.server_ep);
}

/* A connection that is over, to its client: the answer once more, acknowledgements for what it still sends, or a reset. */
stage int send_over(struct __sk_buff *skb, struct http_turn *turn, const struct http_shift *shift, __u32 how)
{
	const struct http_segment *segment = &turn->segment;
	__u32 end = turn->client_seq + segment->size + !!(segment->flags & TCP_FIN);
	__u8 answer = how, life = how >> 8;
	int has_answer = not_before(turn->client_ack, shift->answer + 1);
	struct forge what;

	if (life == HTTP_CUT_OFF)
		what = to_client(TCP_ACK | TCP_RST, turn->client_ack, end, ANSWER_NONE);
	else if (!has_answer && !not_before(turn->client_seq, shift->client_end + 1))
		what = to_client(TCP_ACK | TCP_PSH | TCP_FIN, shift->answer, shift->client_end, answer);
	else if (segment->size || segment->flags & TCP_FIN)
		what = to_client(TCP_ACK, turn->client_ack, end, ANSWER_NONE);
	else
		return TC_ACT_SHOT;
	if (forge_begin(skb, turn) < 0 || forge(skb, turn, &what) < 0)
		return TC_ACT_SHOT;
	return forged_send(skb, turn, 1);
}

/* A connection without state wants to send: older than its rules, or long forgotten. Where a request begins in it nobody can know. Both
 * ends are told at once. */
stage int reset_old(struct __sk_buff *skb, struct http_turn *turn)
{
	http_tally(HTTP_COUNT_OLD);
	turn->passed = turn->segment.seq;
	return send_end(skb, turn, turn->segment.ack, ANSWER_NONE);
}

/* What needs no connection. Returns -1 for what does. */
inline_always int request_control(struct __sk_buff *skb, struct http_turn *turn)
{
	const struct http_segment *segment = &turn->segment;

	if (segment->flags & TCP_SYN) {
		int blanked;

		if ((segment->flags & (TCP_SYN | TCP_ACK | TCP_FIN | TCP_RST | TCP_URG)) != TCP_SYN || segment->size)
			return http_drop(skb, turn, DROP_INVALID_PACKET);
		blanked = segment_blank_options(skb, segment, TWO_KINDS(TCP_OPTION_MPTCP, TCP_OPTION_FAST_OPEN));
		if (blanked < 0)
			return http_drop(skb, turn, DROP_WRITE_ERROR);
		if (blanked)
			http_tally(HTTP_COUNT_STRIPPED);
		return http_deliver(skb, turn, turn->from.server_ep);
	}
	if (segment->flags & TCP_RST && segment->size)
		return http_drop(skb, turn, DROP_INVALID_PACKET);
	if (!(segment->flags & (TCP_ACK | TCP_RST)))
		return http_drop(skb, turn, DROP_INVALID_PACKET);
	return -1;
}

inline_always int request_without_state(struct __sk_buff *skb, struct http_turn *turn)
{
	if (turn->segment.size)
		return reset_old(skb, turn);
	return http_deliver(skb, turn, turn->from.server_ep);
}

inline_always int http_request_packet(struct __sk_buff *skb, struct http_turn *turn)
{
	struct http_connection *connection;
	struct http_shift *shift;
	__u32 server_next, how;
	int action, is_moved;
	__u8 answer = ANSWER_NONE;

	if (!segment_parse(skb, turn, 0))
		return http_drop(skb, turn, DROP_INVALID_PACKET);
	action = request_control(skb, turn);
	if (action >= 0)
		return action;
	connection = connection_find(turn);
	if (!connection)
		return request_without_state(skb, turn);
	if (!connection_lock(connection))
		return http_drop(skb, turn, DROP_CT_UNKNOWN);

	shift = &connection->shift;
	is_moved = connection->life == HTTP_LIVE && is_shifted(shift);
	if (is_moved)
		shift_to_server(turn, shift);
	if (turn->segment.flags & TCP_RST)
		action = connection->life == HTTP_LIVE ? HTTP_PASS : HTTP_DROP;
	else if (is_moved && wants_answer_again(turn, shift))
		action = HTTP_AGAIN;
	else
		action = judge_segment(skb, turn, connection, &answer);

	if (action == HTTP_ANSWER || action == HTTP_CLOSE || action == HTTP_CUT) {
		turn->now = bpf_ktime_get_ns();
		__u32 foreign = turn->told.fault ? foreign_protocol(turn, connection) : 0;

		if (foreign) {
			learn_foreign(turn, foreign);
			action = HTTP_CUT;
			answer = ANSWER_NONE;
		}
		notify_refusal(turn, connection, answer, foreign);
		if (action == HTTP_ANSWER)
			keep_back(turn, connection, answer);
		else
			end_connection(turn, connection, action, action == HTTP_CLOSE ? answer : ANSWER_NONE);
	}
	if (action == HTTP_OVER && connection->life == HTTP_LINGERING &&
	    clock_seconds() - connection->held_seconds > LINGER_SECONDS)
		connection->life = HTTP_CUT_OFF;
	turn->passed = connection->passed_number;
	turn->shift = *shift;
	server_next = connection->server_next;
	how = connection->answer_kind | connection->life << 8;
	connection_unlock(connection);

	switch (action) {
	case HTTP_TRIM:
		http_tally(HTTP_COUNT_TRIMMED);
		if (segment_trim(skb, turn) < 0)
			return http_drop(skb, turn, DROP_WRITE_ERROR);
		/* fallthrough */
	case HTTP_PASS:
		if (is_moved && segment_renumber(skb, turn, turn->segment.seq, turn->segment.ack) < 0)
			return http_drop(skb, turn, DROP_WRITE_ERROR);
		return http_deliver(skb, turn, turn->from.server_ep);
	case HTTP_HOLD:
		http_tally(HTTP_COUNT_HELD);
		return http_drop(skb, turn, DROP_CT_UNKNOWN);
	case HTTP_ANSWER:
		return send_answer(skb, turn, &turn->shift, 0);
	case HTTP_AGAIN:
		return send_answer(skb, turn, &turn->shift, 1);
	case HTTP_CLOSE:
	case HTTP_CUT:
		return send_end(skb, turn, server_next, action == HTTP_CLOSE ? answer : ANSWER_NONE);
	case HTTP_OVER:
		return send_over(skb, turn, &turn->shift, how);
	default:
		return http_drop(skb, turn, DROP_INVALID_PACKET);
	}
}

/* ---------------------------------------------------------------------------------------------- the server's direction */

/* What the server has acknowledged and sent. */
inline_always void take_server_segment(struct __sk_buff *skb, struct http_turn *turn, struct http_connection *connection)
{
	const struct http_segment *segment = &turn->segment;
	__u32 end = segment->seq + segment->size + !!(segment->flags & TCP_FIN);
	__u64 sent = connection->server_acked_total + HTTP_FIRST_OFFSET;
	__s32 progress = segment->ack - connection->acked_number;

	if (segment->flags & TCP_ACK && progress > 0) {
		connection->acked_number = segment->ack;
		connection->acked += progress;
		if (connection->buffer && connection->acked >= connection->structure_end)
			buffer_release(connection);
	}
	if (segment->size)
		read_response(skb, turn, connection, sent + (__s32)(segment->seq - connection->server_acked));
	if (!not_before(connection->server_next, end))
		connection->server_next = end;
}

/* The server goes on speaking on a connection that was ended: it has missed, or could not take, the reset. */
stage int reset_server(struct __sk_buff *skb, struct http_turn *turn)
{
	const struct http_segment *segment = &turn->segment;
	struct forge what = { .back = 1, .flags = TCP_ACK | TCP_RST, .seq = segment->ack,
			      .ack = segment->seq + segment->size + !!(segment->flags & TCP_FIN) };

	if (segment->flags & TCP_RST || forge_begin(skb, turn) < 0 || forge(skb, turn, &what) < 0)
		return TC_ACT_SHOT;
	return forged_send(skb, turn, 0);
}

inline_always int http_response_packet(struct __sk_buff *skb, struct http_turn *turn)
{
	struct http_connection *connection;
	__u32 seq = 0, ack = 0;
	int is_over, is_moved;

	if (!segment_parse(skb, turn, 1))
		return http_drop(skb, turn, DROP_INVALID_PACKET);
	if ((turn->segment.flags & (TCP_SYN | TCP_ACK | TCP_RST)) == (TCP_SYN | TCP_ACK)) {
		if (turn->segment.size || connection_begin(turn) < 0)
			return http_drop(skb, turn, DROP_CT_MAP_INSERTION_FAILED);
		return http_deliver(skb, turn, turn->from.client_ep);
	}
	connection = connection_find(turn);
	if (!connection) /* older than its rules: may finish what it says */
		return http_deliver(skb, turn, turn->from.client_ep);
	if (!connection_lock(connection))
		return http_drop(skb, turn, DROP_CT_UNKNOWN);
	is_over = connection->life != HTTP_LIVE;
	is_moved = !is_over && is_shifted(&connection->shift);
	if (is_moved)
		shift_to_client(&turn->segment, &connection->shift, &seq, &ack);
	if (!is_over)
		take_server_segment(skb, turn, connection);
	connection_unlock(connection);
	if (is_over)
		return reset_server(skb, turn);
	if (is_moved && segment_renumber(skb, turn, seq, ack) < 0)
		return http_drop(skb, turn, DROP_WRITE_ERROR);
	return http_deliver(skb, turn, turn->from.client_ep);
}
