/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* HTTP/1 as it comes: one machine for requests and responses, fed in pieces cut anywhere. It is strict: what has two readings
 * is malformed. In states where many bytes pass alike they are run over in a loop of its own, with what changes in registers;
 * everything else takes one turn per byte. A turn is one call of http_walk. */
#pragma once

#include "http_characters.h"
#include "http_event.h"
#include "http_rules.h"
#include "http_turn.h"

enum {
	GO_ON = 0,
	STOP = 1,
	RUN = 24, /* bytes a turn may run over */
	VALUE_RUN = 64, /* ... of a value that nobody reads */
	UNRELATED = 0xffff, /* a mask that changes nothing: what is found out about the masked number the verifier does not apply to its
				source, which would make a state of its own of every iteration */
};

/* Words as bytes lie in memory. */
#define W8(a, b, c, d, e, f, g, h)                                                                                                 \
	((__u64)(a) | (__u64)(b) << 8 | (__u64)(c) << 16 | (__u64)(d) << 24 | (__u64)(e) << 32 | (__u64)(f) << 40 |                    \
	 (__u64)(g) << 48 | (__u64)(h) << 56)
#define WORD_HTTP_1_1 W8('H', 'T', 'T', 'P', '/', '1', '.', '1')

struct http_walk {
	const struct http_program *program;
	struct http_turn *turn;
	struct http_connection *connection;
};

inline_always int malformed(struct http_head *head, enum http_fault fault)
{
	head->state = STATE_MALFORMED;
	head->fault = fault;
	return STOP;
}

/* For the next message of the stream. */
inline_always void http_head_begin(struct http_head *head, enum http_state state)
{
	__builtin_memset(head, 0, sizeof(*head));
	head->state = state;
}

inline_always void name_begin(struct http_head *head)
{
	head->name_length = 0;
	head->name[0] = head->name[1] = head->name[2] = 0;
}

/* ------------------------------------------------------------------------------------------------------ request line */

inline_always int step_method(struct http_walk *x, struct http_turn *turn, struct http_head *head, __u32 at, __u32 size)
{
	__u32 length = head->method_length, room = size - at, n = 0, state;
	__u8 byte = 0;

	if (!length) {
		http_begin(x->program, &turn->judged);
		turn->request_offset = turn->piece_offset + at;
	}
	state = turn->judged.written;
	for (; n <= HTTP_METHOD_MAX; n++) {
		__u32 position = (length + n) & UNRELATED;

		if (n >= room)
			break;
		byte = turn->bytes[at + n];
		if (!(http_class_of(byte) & CHAR_TOKEN))
			break;
		if (position >= HTTP_METHOD_MAX)
			return malformed(head, HTTP_FAULT_REQUEST_LINE);
		x->connection->method[position & (HTTP_METHOD_MAX - 1)] = byte;
		state = http_step(x->program, state, byte);
	}
	turn->judged.written = state;
	length += n;
	head->method_length = length;
	turn->at += n;
	if (!state)
		head->flags |= HEAD_DENIED;
	if (n >= room)
		return GO_ON;
	if (byte != ' ' || !length)
		return malformed(head, HTTP_FAULT_REQUEST_LINE);
	if (length == 4 && *(__u32 *)x->connection->method == (__u32)W8('H', 'E', 'A', 'D', 0, 0, 0, 0))
		head->flags |= HEAD_IS_HEAD;
	turn->at++;
	head->state = STATE_TARGET;
	if (!http_line_byte(x->program, &turn->judged, byte))
		head->flags |= HEAD_DENIED;
	return GO_ON;
}

inline_always int is_method(const struct http_connection *connection, const struct http_head *head, __u64 word, __u8 length)
{
	__u64 mask = ~0ULL >> (64 - 8 * length);

	return head->method_length == length && (*(__u64 *)connection->method & mask) == word;
}

/* Behind the target. Asterisk and authority form have one meaning: a rule may speak of them, but none of ordinary paths does. */
inline_always int target_end(struct http_walk *x, struct http_turn *turn, struct http_head *head)
{
	int connect = is_method(x->connection, head, W8('C', 'O', 'N', 'N', 'E', 'C', 'T', 0), 7);
	__u8 first = x->connection->path[0];

	if (!head->path_length || (connect && first == '/'))
		return malformed(head, HTTP_FAULT_TARGET);
	if (first != '/') {
		if (!connect && !(first == '*' && head->path_length == 1 &&
				  is_method(x->connection, head, W8('O', 'P', 'T', 'I', 'O', 'N', 'S', 0), 7)))
			return malformed(head, HTTP_FAULT_TARGET);
		head->flags |= HEAD_DENIED;
	}
	if (!http_line_end(x->program, &turn->judged))
		head->flags |= HEAD_DENIED;
	head->state = STATE_VERSION;
	head->position = 0;
	return GO_ON;
}

inline_always void target_byte(struct http_connection *connection, __u32 length, __u8 byte)
{
	if (length < HTTP_PATH_MAX)
		connection->path[length] = byte;
}

/* Bytes that mean nothing to the readings of a path, the automaton's state in a register. */
inline_always void run_over_target(struct http_walk *x, struct http_turn *turn, struct http_head *head, __u32 at, __u32 size)
{
	__u32 state = turn->judged.written, length = head->path_length, room = size - at, n = 0;

	for (; n < RUN; n++) {
		__u8 byte;

		if (n >= room)
			break;
		byte = turn->bytes[at + n];
		if (!(http_class_of(byte) & CHAR_RUN))
			break;
		target_byte(x->connection, (length + n) & UNRELATED, byte);
		state = http_step(x->program, state, byte);
	}
	turn->judged.written = state;
	head->path_length = length + n;
	turn->at += n;
	if (!state)
		head->flags |= HEAD_DENIED;
}

/* One byte that may mean something to the readings, and the run behind it. */
inline_always int step_target(struct http_walk *x, struct http_turn *turn, struct http_head *head, __u32 at, __u32 size)
{
	__u8 byte = turn->bytes[at], reading;

	turn->at++;
	if (byte == ' ')
		return target_end(x, turn, head);
	if (!(http_class_of(byte) & CHAR_TARGET))
		return malformed(head, HTTP_FAULT_TARGET);
	target_byte(x->connection, head->path_length, byte);
	head->path_length++;
	if (byte == '?')
		head->flags |= HEAD_QUERY;
	if (!http_line_byte(x->program, &turn->judged, byte))
		head->flags |= HEAD_DENIED;
	if (byte == '%' && !(head->flags & HEAD_QUERY)) {
		head->state = STATE_PERCENT_HIGH;
		return GO_ON;
	}
	/* With nothing resolved so far, or in the query, a run of plain bytes changes no reading. */
	reading = turn->judged.reading;
	if ((reading == READING_PLAIN || reading == READING_OPAQUE) && at + 1 < size)
		run_over_target(x, turn, head, at + 1, size);
	return GO_ON;
}

/* The digits behind a percent sign. C0 and C1 begin only overlong forms of ASCII: a dot or a slash in disguise to a careless
 * decoder. */
inline_always int step_percent(struct http_walk *x, struct http_turn *turn, struct http_head *head, __u8 byte)
{
	__u32 digit = http_hex(byte);

	if (digit > 15)
		return malformed(head, HTTP_FAULT_TARGET);
	target_byte(x->connection, head->path_length, byte);
	head->path_length++;
	if (!http_line_byte(x->program, &turn->judged, byte))
		head->flags |= HEAD_DENIED;
	if (head->state == STATE_PERCENT_HIGH) {
		head->position = digit;
		head->state = STATE_PERCENT_LOW;
		return GO_ON;
	}
	if (head->position == 0xc && digit < 2)
		return malformed(head, HTTP_FAULT_TARGET);
	head->state = STATE_TARGET;
	return GO_ON;
}

/* ------------------------------------------------------------------------------------------------------- first lines */

inline_always int step_version(struct http_turn *turn, struct http_head *head, __u32 at, __u32 size, int is_response)
{
	__u8 byte = turn->bytes[at], position = head->position;

	/* All of it at once, as it nearly always is. */
	if (!position && at + 10 <= size && *(__u64 *)&turn->bytes[at] == WORD_HTTP_1_1) {
		if (is_response) {
			turn->at = at + 8;
			head->state = STATE_STATUS;
			head->position = 0;
			return GO_ON;
		}
		if (*(__u16 *)&turn->bytes[at + 8] == ('\r' | '\n' << 8)) {
			turn->at = at + 10;
			head->state = STATE_LINE;
			return GO_ON;
		}
	}
	turn->at++;
	if (position < 8) {
		if (position == 7 && byte == '0')
			head->flags |= HEAD_1_0;
		else if (byte != (__u8)(WORD_HTTP_1_1 >> ((position & 7) * 8)))
			return malformed(head, HTTP_FAULT_VERSION);
		head->position = position + 1;
		if (is_response && position == 7) {
			head->state = STATE_STATUS;
			head->position = 0;
		}
		return GO_ON;
	}
	if (byte != '\r')
		return malformed(head, HTTP_FAULT_VERSION);
	head->state = STATE_LINE_LF;
	return GO_ON;
}

inline_always int step_status(struct http_head *head, __u8 byte)
{
	__u8 position = head->position++;

	if (!position)
		return byte == ' ' ? GO_ON : malformed(head, HTTP_FAULT_VERSION);
	if (position <= 3) {
		if (byte < '0' || byte > '9')
			return malformed(head, HTTP_FAULT_VERSION);
		head->status = head->status * 10 + (byte - '0');
		return GO_ON;
	}
	if (byte != ' ' && byte != '\r')
		return malformed(head, HTTP_FAULT_VERSION);
	head->state = byte == '\r' ? STATE_LINE_LF : STATE_REASON;
	return GO_ON;
}

/* ------------------------------------------------------------------------------------------------------ header lines */

#define NAMED(length, w0, w1, w2)                                                                                                  \
	(head->name_length == (length) && head->name[0] == (w0) && head->name[1] == (w1) && head->name[2] == (w2))

/* Behind the colon: which header it is, and whether it may stand here. */
inline_always int name_end(struct http_head *head, int is_response)
{
	head->field = FIELD_OTHER;
	head->flags &= ~HEAD_SPACED;
	head->state = STATE_VALUE_START;
	head->position = 0;
	if (!head->name_length)
		return malformed(head, HTTP_FAULT_HEADER);
	if (NAMED(14, W8('c', 'o', 'n', 't', 'e', 'n', 't', '-'), W8('l', 'e', 'n', 'g', 't', 'h', 0, 0), 0)) {
		if (head->flags & (HEAD_LENGTH | HEAD_TRAILER))
			return malformed(head, HTTP_FAULT_LENGTH);
		if (head->flags & (HEAD_CHUNKED | HEAD_UNTIL_CLOSE))
			return malformed(head, HTTP_FAULT_ENCODING);
		head->flags |= HEAD_LENGTH;
		head->length = 0;
		head->field = FIELD_LENGTH;
	} else if (NAMED(17, W8('t', 'r', 'a', 'n', 's', 'f', 'e', 'r'), W8('-', 'e', 'n', 'c', 'o', 'd', 'i', 'n'), 'g')) {
		if (head->flags & (HEAD_LENGTH | HEAD_CHUNKED | HEAD_UNTIL_CLOSE | HEAD_TRAILER))
			return malformed(head, HTTP_FAULT_ENCODING);
		head->field = FIELD_ENCODING;
	} else if (is_response) {
		return GO_ON;
	} else if (NAMED(4, W8('h', 'o', 's', 't', 0, 0, 0, 0), 0, 0)) {
		if (head->flags & (HEAD_HOST | HEAD_TRAILER))
			return malformed(head, HTTP_FAULT_HOST);
		head->flags |= HEAD_HOST;
		head->field = FIELD_HOST;
	} else if (NAMED(10, W8('c', 'o', 'n', 'n', 'e', 'c', 't', 'i'), W8('o', 'n', 0, 0, 0, 0, 0, 0), 0)) {
		head->field = FIELD_CONNECTION;
	} else if (NAMED(7, W8('u', 'p', 'g', 'r', 'a', 'd', 'e', 0), 0, 0)) {
		if (head->flags & (HEAD_WEBSOCKET | HEAD_UNKNOWN_UPGRADE))
			return malformed(head, HTTP_FAULT_UPGRADE);
		head->field = FIELD_UPGRADE;
	} else if (NAMED(6, W8('e', 'x', 'p', 'e', 'c', 't', 0, 0), 0, 0)) {
		head->field = FIELD_EXPECT;
	} else if (NAMED(14, W8('c', 'o', 'n', 't', 'e', 'n', 't', '_'), W8('l', 'e', 'n', 'g', 't', 'h', 0, 0), 0) ||
		   NAMED(17, W8('t', 'r', 'a', 'n', 's', 'f', 'e', 'r'), W8('_', 'e', 'n', 'c', 'o', 'd', 'i', 'n'), 'g')) {
		return malformed(head, HTTP_FAULT_HEADER); /* servers exist that take the underscore for a dash */
	}
	return GO_ON;
}

inline_always void value_begin(struct http_head *head)
{
	head->position = 0;
	head->state = STATE_VALUE;
	if (head->field != FIELD_OTHER && head->field != FIELD_HOST)
		name_begin(head);
}

inline_always int step_name(struct http_walk *x, struct http_turn *turn, struct http_head *head, __u32 at, __u32 size,
			    int is_response)
{
	__u32 length = head->name_length, room = size - at, n = 0, state = turn->judged.header;
	__u8 *name = (__u8 *)head->name, byte = 0, class;
	int asked = !is_response && head->flags & HEAD_ASKED;

	for (; n < RUN; n++) {
		__u32 position = (length + n) & UNRELATED;

		if (n >= room)
			break;
		byte = turn->bytes[at + n];
		class = http_class_of(byte);
		if (!(class & CHAR_TOKEN))
			break;
		byte += (class & CHAR_UPPER) << 2;
		if (position < sizeof(head->name))
			name[position] = byte;
		if (asked)
			state = http_step(x->program, state, byte);
	}
	if (asked)
		turn->judged.header = state;
	turn->at += n;
	length += n;
	head->name_length = length < 255 ? length : 255;
	if (n >= room || n == RUN)
		return GO_ON;
	turn->at++;
	if (byte != ':')
		return malformed(head, HTTP_FAULT_HEADER);
	if (asked && !http_header_colon(x->program, &turn->judged))
		head->flags &= ~HEAD_ASKED; /* nobody asks for this one */
	if (name_end(head, is_response))
		return STOP;
	/* One space, and something behind it: as nearly everyone writes. */
	if (n + 2 < room && turn->bytes[at + n + 1] == ' ' && turn->bytes[at + n + 2] > ' ') {
		turn->at++;
		value_begin(head);
	}
	return GO_ON;
}

/* Start of a line: the next header, or the empty one. */
inline_always int step_line(struct http_walk *x, struct http_turn *turn, struct http_head *head, __u32 at, __u32 size,
			    int is_response)
{
	__u8 byte = turn->bytes[at];

	if (byte == '\r') {
		turn->at++;
		head->state = STATE_END_LF;
		return GO_ON;
	}
	if (++head->lines == HTTP_LINES_MAX)
		return malformed(head, HTTP_FAULT_TOO_LARGE);
	name_begin(head);
	head->flags &= ~HEAD_ASKED;
	if (!is_response && !(head->flags & HEAD_TRAILER) && http_asks_headers(x->program)) {
		head->flags |= HEAD_ASKED;
		http_header_begin(x->program, &turn->judged);
	}
	head->state = STATE_NAME;
	return step_name(x, turn, head, at, size, is_response);
}

inline_always int step_value_start(struct http_turn *turn, struct http_head *head, __u8 byte)
{
	if (byte == ' ' || byte == '\t') {
		turn->at++;
		if (byte == '\t' || head->position)
			head->flags |= HEAD_SPACED;
		head->position = 1;
		return GO_ON;
	}
	value_begin(head);
	return GO_ON;
}

/* Elements of Connection: none may name a header that framing or routing hangs on. */
inline_always int connection_element(struct http_head *head)
{
	if (NAMED(5, W8('c', 'l', 'o', 's', 'e', 0, 0, 0), 0, 0))
		head->flags |= HEAD_CLOSE;
	else if (NAMED(7, W8('u', 'p', 'g', 'r', 'a', 'd', 'e', 0), 0, 0))
		head->flags |= HEAD_UPGRADE;
	else if (NAMED(4, W8('h', 'o', 's', 't', 0, 0, 0, 0), 0, 0) ||
		 NAMED(14, W8('c', 'o', 'n', 't', 'e', 'n', 't', '-'), W8('l', 'e', 'n', 'g', 't', 'h', 0, 0), 0) ||
		 NAMED(17, W8('t', 'r', 'a', 'n', 's', 'f', 'e', 'r'), W8('-', 'e', 'n', 'c', 'o', 'd', 'i', 'n'), 'g'))
		return malformed(head, HTTP_FAULT_CONNECTION);
	name_begin(head);
	head->position = 0;
	return GO_ON;
}

/* Behind the CR of a value. */
inline_always int value_end(struct http_turn *turn, struct http_head *head, int is_response)
{
	head->state = STATE_LINE_LF;
	if (!is_response && head->flags & HEAD_ASKED)
		http_header_end(&turn->judged);
	switch (head->field) {
	case FIELD_LENGTH:
		if (!head->position || (head->flags & HEAD_SPACED && !is_response))
			return malformed(head, HTTP_FAULT_LENGTH);
		return GO_ON;
	case FIELD_ENCODING:
		if (NAMED(7, W8('c', 'h', 'u', 'n', 'k', 'e', 'd', 0), 0, 0) && !(head->flags & HEAD_SPACED) &&
		    !(head->flags & HEAD_1_0)) {
			head->flags |= HEAD_CHUNKED;
			return GO_ON;
		}
		if (!is_response)
			return malformed(head, HTTP_FAULT_ENCODING);
		head->flags |= HEAD_UNTIL_CLOSE;
		return GO_ON;
	case FIELD_CONNECTION:
		return connection_element(head);
	case FIELD_UPGRADE:
		head->flags |= NAMED(9, W8('w', 'e', 'b', 's', 'o', 'c', 'k', 'e'), 't', 0) ? HEAD_WEBSOCKET : HEAD_UNKNOWN_UPGRADE;
		return head->name_length ? GO_ON : malformed(head, HTTP_FAULT_UPGRADE);
	case FIELD_EXPECT:
		if (NAMED(12, W8('1', '0', '0', '-', 'c', 'o', 'n', 't'), W8('i', 'n', 'u', 'e', 0, 0, 0, 0), 0))
			return GO_ON;
		return malformed(head, HTTP_FAULT_EXPECT);
	case FIELD_HOST:
		if (!head->host_length || head->flags & HEAD_SPACED || (head->flags & HEAD_LITERAL && !(head->flags & HEAD_LITERAL_END)))
			return malformed(head, HTTP_FAULT_HOST);
		return GO_ON;
	default:
		return GO_ON;
	}
}

/* Name, name:port, [literal], [literal]:port. */
inline_always int host_byte(struct http_walk *x, struct http_turn *turn, struct http_head *head, __u8 byte)
{
	__u32 length = head->host_length;

	if (!(http_class_of(byte) & CHAR_HOST) || length >= HTTP_HOST_MAX - 1)
		return malformed(head, HTTP_FAULT_HOST);
	if (head->flags & HEAD_PORT) {
		if (byte < '0' || byte > '9' || ++head->position > 5)
			return malformed(head, HTTP_FAULT_HOST);
	} else if (head->flags & HEAD_LITERAL_END) {
		if (byte != ':')
			return malformed(head, HTTP_FAULT_HOST);
		head->flags |= HEAD_PORT;
	} else if (head->flags & HEAD_LITERAL) {
		if (byte == ']' && length > 2)
			head->flags |= HEAD_LITERAL_END;
		else if (http_hex(byte) > 15 && byte != ':' && byte != '.')
			return malformed(head, HTTP_FAULT_HOST);
	} else if (byte == '[' && !length) {
		head->flags |= HEAD_LITERAL;
	} else if (byte == '[' || byte == ']') {
		return malformed(head, HTTP_FAULT_HOST);
	} else if (byte == ':') {
		if (!length)
			return malformed(head, HTTP_FAULT_HOST);
		head->flags |= HEAD_PORT;
	}
	x->connection->host[length & (HTTP_HOST_MAX - 1)] = byte;
	head->host_length = length + 1;
	if (http_asks_host(x->program))
		http_host_byte(x->program, &turn->judged, byte);
	return GO_ON;
}

/* A value that means something to us: gathered in lower case in head->name, or read as a number. */
inline_always int special_byte(struct http_head *head, __u8 byte)
{
	__u8 *name = (__u8 *)head->name;
	__u32 length = head->name_length;

	if (head->field == FIELD_LENGTH) {
		/* No leading zero, no sign, no list; below 10^15. */
		if (byte < '0' || byte > '9' || head->position >= 15 || (head->position && !head->length))
			return malformed(head, HTTP_FAULT_LENGTH);
		head->length = head->length * 10 + (byte - '0');
		head->position++;
		return GO_ON;
	}
	if (head->field == FIELD_CONNECTION) {
		if (byte == ',')
			return connection_element(head);
		if (byte == ' ' || byte == '\t') {
			if (length)
				head->position = 1; /* only white space may follow in this element */
			return GO_ON;
		}
		if (!(http_class_of(byte) & CHAR_TOKEN) || head->position)
			return malformed(head, HTTP_FAULT_CONNECTION);
	}
	if (head->field == FIELD_ENCODING && http_class_of(byte) & CHAR_UPPER)
		byte = 0; /* servers exist that know it only in lower case: then it is not "chunked" */
	if (length < sizeof(head->name))
		name[length] = lower_case(byte);
	if (length < 255)
		head->name_length = length + 1;
	return GO_ON;
}

/* Bytes of a value that nobody reads, eight at a time, and to the byte that ends them. Returns how many. */
inline_always __u32 run_over_value(struct http_turn *turn, __u32 at, __u32 size)
{
	__u32 room = size - at, n = 0;
	__u64 ends = 0;

	for (; n < VALUE_RUN; n += 8) {
		if (n + 8 > room)
			return n;
		ends = http_word_ends(*(__u64 *)&turn->bytes[at + n]);
		if (ends)
			break;
	}
	return ends ? n + http_lowest(ends) / 8 : n;
}

/* Part of a name's Host: letters, digits, dots and dashes, the automaton's state in a register. Returns how many. */
inline_always __u32 run_over_host(struct http_walk *x, struct http_turn *turn, struct http_head *head, __u32 at, __u32 size)
{
	__u32 length = head->host_length, room = size - at, n = 0, state = turn->judged.host;

	if (head->flags & (HEAD_PORT | HEAD_LITERAL))
		return 0;
	for (; n < RUN; n++) {
		__u32 position = (length + n) & UNRELATED;
		__u8 byte;

		if (n >= room)
			break;
		byte = turn->bytes[at + n];
		if (!(http_class_of(byte) & CHAR_RUN) || !(http_class_of(byte) & CHAR_TOKEN) || position >= HTTP_HOST_MAX - 1)
			break;
		x->connection->host[position & (HTTP_HOST_MAX - 1)] = byte;
		state = http_step(x->program, state, byte);
	}
	turn->judged.host = state;
	head->host_length = length + n;
	return n;
}

inline_always int step_value(struct http_walk *x, struct http_turn *turn, struct http_head *head, __u32 at, __u32 size,
			     int is_response)
{
	int asked = !is_response && head->flags & HEAD_ASKED;
	__u32 n = 0;
	__u8 byte;

	if (head->field == FIELD_OTHER && !asked)
		n = run_over_value(turn, at, size);
	else if (!is_response && head->field == FIELD_HOST && !asked)
		n = run_over_host(x, turn, head, at, size);
	barrier_var(n);
	if (n > VALUE_RUN)
		return STOP;
	turn->at += n;
	if (at + n >= size)
		return GO_ON;
	byte = turn->bytes[at + n];
	turn->at++;
	if (byte == '\r') {
		if (value_end(turn, head, is_response))
			return STOP;
		if (at + n + 1 < size && turn->bytes[at + n + 1] == '\n') {
			turn->at++;
			head->state = STATE_LINE;
		}
		return GO_ON;
	}
	if ((byte < 0x20 && byte != '\t') || byte == 0x7f)
		return malformed(head, HTTP_FAULT_HEADER);
	if (asked)
		http_header_byte(x->program, &turn->judged, byte);
	if (head->field == FIELD_OTHER)
		return GO_ON;
	if (!is_response && head->field == FIELD_HOST)
		return host_byte(x, turn, head, byte);
	return special_byte(head, byte);
}

/* ----------------------------------------------------------------------------------------------------------- bodies */

inline_always int chunk_line(struct http_head *head)
{
	head->length = 0;
	head->size = 0;
	head->position = 0;
	head->state = STATE_CHUNK_SIZE;
	return GO_ON;
}

inline_always int step_chunk_size(struct http_head *head, __u8 byte)
{
	__u32 digit = http_hex(byte);

	if (digit <= 15 && head->position < 12) {
		head->length = head->length << 4 | digit;
		head->position++;
		return GO_ON;
	}
	if (!head->position || (byte != '\r' && byte != ';'))
		return malformed(head, HTTP_FAULT_CHUNK);
	head->state = byte == '\r' ? STATE_CHUNK_LF : STATE_CHUNK_EXTENSION;
	return GO_ON;
}

inline_always int step_chunk_extension(struct http_head *head, __u8 byte)
{
	if (byte == '\r') {
		head->state = STATE_CHUNK_LF;
		return GO_ON;
	}
	if ((byte < 0x20 && byte != '\t') || byte == 0x7f || head->size > HTTP_CHUNK_LINE_MAX)
		return malformed(head, HTTP_FAULT_CHUNK);
	return GO_ON;
}

inline_always int step_chunk_lf(struct http_turn *turn, struct http_head *head, __u8 byte)
{
	if (byte != '\n')
		return malformed(head, HTTP_FAULT_CHUNK);
	if (head->length) {
		turn->body = head->length;
		head->state = STATE_CHUNK_DATA_CR;
		return GO_ON;
	}
	head->flags |= HEAD_TRAILER;
	head->size = 0;
	head->lines = 0;
	head->state = STATE_LINE;
	return GO_ON;
}

/* ---------------------------------------------------------------------------------------------------------- one turn */

/* Everything but the end of a head, which means different things in the two directions. */
inline_always int http_walk_common(struct http_walk *x, struct http_turn *turn, struct http_head *head, __u32 at, __u32 size,
				   int is_response)
{
	__u8 byte = turn->bytes[at];

	switch (head->state) {
	case STATE_VERSION:
		return step_version(turn, head, at, size, is_response);
	case STATE_LINE:
		return step_line(x, turn, head, at, size, is_response);
	case STATE_NAME:
		return step_name(x, turn, head, at, size, is_response);
	case STATE_VALUE_START:
		return step_value_start(turn, head, byte);
	case STATE_VALUE:
		return step_value(x, turn, head, at, size, is_response);
	}
	turn->at++;
	switch (head->state) {
	case STATE_LINE_LF:
		if (byte != '\n')
			return malformed(head, HTTP_FAULT_HEADER);
		head->state = STATE_LINE;
		return GO_ON;
	case STATE_CHUNK_SIZE:
		return step_chunk_size(head, byte);
	case STATE_CHUNK_EXTENSION:
		return step_chunk_extension(head, byte);
	case STATE_CHUNK_LF:
		return step_chunk_lf(turn, head, byte);
	case STATE_CHUNK_DATA_CR:
		head->state = STATE_CHUNK_DATA_LF;
		return byte == '\r' ? GO_ON : malformed(head, HTTP_FAULT_CHUNK);
	case STATE_CHUNK_DATA_LF:
		return byte == '\n' ? chunk_line(head) : malformed(head, HTTP_FAULT_CHUNK);
	}
	return STOP;
}

/* Whether nothing of the message was read. */
inline_always int is_fresh(const struct http_head *head)
{
	return (head->state == STATE_VERSION && !head->position && !head->method_length) ||
	       (head->state == STATE_METHOD && !head->method_length);
}

/* Accounts for what a turn went over. What it went over is structure; the body behind it is jumped over, present or not. */
inline_always int http_walk_end(struct http_turn *turn, struct http_head *head, __u32 at, int result)
{
	turn->structure = turn->at;
	head->size = is_fresh(head) ? 0 : head->size + (turn->at - at);
	turn->at += turn->body;
	if (result == GO_ON && head->size > HTTP_HEAD_MAX)
		return malformed(head, HTTP_FAULT_TOO_LARGE);
	return result;
}
