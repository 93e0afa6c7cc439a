/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Judging one HTTP/1 request by a program of rules (abi/http_rules.h), byte by byte, as the bytes come.
 *
 * How to call it. `program` is looked up once per packet, never per byte; `request` lies with the connection and survives
 * from packet to packet. A request must be judged to its end by the program it began with: the connection remembers the
 * number. Programs stay for a minute after the last entry that named them. The parser sees to the grammar; what is said here
 * on bytes holds for what it lets through: methods are tokens, targets visible ASCII without '#', percent signs are followed
 * by two hexadecimal digits, hosts are ASCII, names are tokens, values have no control characters but tabs.
 *
 *   program = http_program(number);              NULL: no such program (any more): deny
 *   http_begin(program, request);
 *   every byte of the method, the one space, every byte of the target but not what ends it:
 *       http_line_byte(program, request, byte);  0: no rule can match any more: denied
 *   the space behind the target:
 *       http_line_end(program, request);         0: denied
 *   if http_asks_headers(program): for each header line, in any order with the host,
 *       http_header_begin(program, request);
 *       every byte of the name:  http_header_byte(program, request, byte)
 *       the colon:               http_header_colon(program, request)   0: nobody asks for it, skip the value
 *       every byte of the value, white space in front and behind included or not:
 *                                http_header_byte(program, request, byte)
 *       end of the line:         http_header_end(request)
 *   if http_asks_host(program): every byte of the Host header's value, without white space around it:
 *       http_host_byte(program, request, byte);
 *   the end of the head:
 *       verdict = http_verdict(program, request);  0: denied; else rule + 1, the first of the list that matches,
 *                                                  and of another reading of the path (http_second_rule) its own
 *
 * A path that servers may resolve to another one is judged in both readings, and a rule must allow each (proxy/http/paths.ts
 * says why and how; here the same is done without a buffer). CONNECT matches only rules that name it. Both ends of a
 * connection may have a program: two requests, stepped side by side.
 *
 * To keep a state in a register over a run of bytes, step it with http_step(); request->header and request->host are such
 * states, and so is request->written while http_line_is_plain() says so and the bytes are other than those of
 * http_line_is_special(). State 0 is dead and stays so. */
#pragma once

#include <abi/http_rules.h>

#include "maps.h"
#include "packet.h"

/* Where the resolved reading of a path stands. */
enum http_reading {
	READING_METHOD = 0,  /* before the space */
	READING_TARGET = 1,  /* behind it: nothing of the target is known */
	READING_OPAQUE = 2,  /* not a path (`*`), or the query: there is nothing to resolve */
	READING_PLAIN = 3,   /* inside a segment; nothing resolved yet, the readings agree */
	READING_SLASH = 4,   /* as before, right behind a slash */
	READING_START = 5,   /* the readings differ: start of a segment, `dots` of them held back */
	READING_SEGMENT = 6, /* inside a segment that stays */
	READING_PARAMS = 7,  /* parameters of a dot segment, which go with it */
	READING_CUT = 8,     /* behind an encoded NUL: nothing counts before the query */
	READING_SPLIT = 9,   /* the query of a path whose readings differ */
};

/* A request while its head comes in; 104 bytes. */
struct http_request {
	__u16 written;  /* state of the request line as it is written */
	__u16 resolved; /* and as the most eager server resolves it, from READING_START on */
	__u16 host;
	__u16 header;   /* of the header line in hand: its name's, then its value's state */
	__u16 second;   /* rule + 1 of the resolved reading, after the verdict */
	__u8 reading;   /* enum http_reading */
	__u8 dots;      /* held back at the start of a segment */
	__u8 depth;     /* segments that stand; stack[depth] is the state behind them */
	__u8 escape;    /* digits still to come behind a percent sign */
	__u8 high;      /* the first of them */
	__u8 slot;      /* + 1, of the header line in hand; 0: nobody asks for it */
	__u16 values[HTTP_MAX_SLOTS]; /* state of each slot's value; 0: no such header yet, or dead with HTTP_SEEN */
	__u8 seen;      /* bit per slot */
	__u8 pad[7];
	__u16 stack[HTTP_MAX_DEPTH]; /* states behind each segment: what `..` goes back to */
};

_Static_assert(HTTP_MAX_SLOTS == 8, "one byte of bits");

enum {
	HTTP_WORD_MASK = HTTP_WORDS - 1,
	HTTP_INT_MASK = HTTP_WORDS * 2 - 1,
	HTTP_STATE_MASK = HTTP_WORDS * 4 - 1,
	HTTP_JOIN = '\n', /* between the values of two lines of one name; never part of one */
};

/* The program of this number, or NULL. */
inline_always const struct http_program *http_program(__u32 number)
{
	void *inner = bpf_map_lookup_elem(&http_programs, &number);
	const struct http_program *program;
	__u32 zero = 0;

	if (!inner)
		return 0;
	program = bpf_map_lookup_elem(inner, &zero);
	return program && program->head.layout == HTTP_LAYOUT ? program : 0;
}

/* The state behind one more byte. Three loads at most, none of them dependent on the number of rules. */
inline_always __u32 http_step(const struct http_program *program, __u32 state, __u32 byte)
{
	__u64 word = program->words[state & HTTP_WORD_MASK];
	__u32 row;

	if ((word & 0xff) == byte)
		return (word >> 16) & 0xffff;
	row = word >> 48;
	if (!row)
		return (word >> 32) & 0xffff;
	/* The table's number stands where it has to be added: bits 8 and up. */
	return program->states[(row + program->head.classes[(word & 0x700) | (byte & 0xff)]) & HTTP_STATE_MASK];
}

/* The set of a state; `otherwise` if it has none of its own. */
inline_always __u32 http_set(const struct http_program *program, __u32 state, __u32 otherwise)
{
	if (state < HTTP_FIRST_STATE || state >= program->head.accepting_end)
		return otherwise;
	return program->ints[(program->head.sets + state - HTTP_FIRST_STATE) & HTTP_INT_MASK];
}

inline_always int http_asks_headers(const struct http_program *program)
{
	return program->head.header_start != 0;
}

inline_always int http_asks_host(const struct http_program *program)
{
	return program->head.host_start != 0;
}

inline_always void http_begin(const struct http_program *program, struct http_request *request)
{
	request->written = program->head.line_start;
	request->resolved = 0;
	request->host = program->head.host_start;
	request->header = 0;
	request->second = 0;
	request->reading = READING_METHOD;
	request->dots = 0;
	request->depth = 0;
	request->escape = 0;
	request->high = 0;
	request->slot = 0;
	request->seen = 0;
}

/* ---- the request line ---- */

/* Whether the readings agree, so that written bytes are all that counts. */
inline_always int http_line_is_plain(const struct http_request *request)
{
	return request->reading <= READING_PLAIN;
}

/* Bytes that http_line_byte() has to see in a plain line. */
inline_always int http_line_is_special(__u8 byte)
{
	return byte == '/' || byte == '%' || byte == '\\' || byte == '?' || byte == ' ';
}

inline_always void http_push(struct http_request *request, __u32 state)
{
	__u32 depth = request->depth + 1;

	if (depth < HTTP_MAX_DEPTH)
		request->stack[depth & (HTTP_MAX_DEPTH - 1)] = state;
	if (depth < 255)
		request->depth = depth;
}

/* A held-back dot segment is over: one `.` goes, two take the segment before them along. */
inline_always void http_close_dots(struct http_request *request)
{
	if (request->dots == 2 && request->depth)
		request->depth--;
	request->dots = 0;
	/* Where the stack did not reach nobody knows the state: dead. */
	request->resolved = request->depth < HTTP_MAX_DEPTH ? request->stack[request->depth & (HTTP_MAX_DEPTH - 1)] : 0;
}

/* One character of a path, percent-decoding done; the readings differ already. */
inline_always void http_resolve(const struct http_program *program, struct http_request *request, __u32 byte)
{
	__u32 state = request->resolved;

	if (byte == '/' || byte == '\\') {
		if (request->reading == READING_SEGMENT)
			http_push(request, state);
		else
			http_close_dots(request);
		request->reading = READING_START;
		return;
	}
	if (request->reading == READING_START) {
		if (byte == '.' && request->dots < 2) {
			request->dots++;
			return;
		}
		if (byte == ';' && request->dots) {
			request->reading = READING_PARAMS;
			return;
		}
		state = http_step(program, state, '/');
		if (request->dots)
			state = http_step(program, state, '.');
		if (request->dots > 1)
			state = http_step(program, state, '.');
		request->dots = 0;
		request->reading = READING_SEGMENT;
	}
	if (request->reading == READING_SEGMENT)
		request->resolved = http_step(program, state, byte);
}

/* The path is over, at the query, at the end of the target, or at an encoded NUL. */
inline_always void http_close_path(const struct http_program *program, struct http_request *request)
{
	if (request->reading == READING_START || request->reading == READING_PARAMS) {
		http_close_dots(request);
		request->resolved = http_step(program, request->resolved, '/');
	}
}

inline_always int http_digit(__u32 byte)
{
	return byte <= '9' ? byte - '0' : (byte | 0x20) - 'a' + 10;
}

/* Characters that servers decode before they look at a path. */
inline_always int http_is_decoded(__u32 byte)
{
	return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '-' && byte <= '9') || byte == '_' ||
	       byte == '~' || byte == '\\';
}

/* The last digit of an escape. */
inline_always void http_unescape(const struct http_program *program, struct http_request *request, __u32 low)
{
	__u32 byte = (http_digit(request->high) << 4 | http_digit(low)) & 0xff;

	if (!byte) {
		http_close_path(program, request);
		request->reading = READING_CUT;
	} else if (http_is_decoded(byte)) {
		http_resolve(program, request, byte);
	} else {
		http_resolve(program, request, '%');
		http_resolve(program, request, request->high);
		http_resolve(program, request, low);
	}
}

/* One byte of a path whose readings differ. */
stage int http_resolve_written(const struct http_program *program, struct http_request *request, __u32 byte)
{
	if (request->reading == READING_CUT)
		return 0;
	if (request->escape == 2) {
		request->high = byte;
		request->escape = 1;
	} else if (request->escape == 1) {
		request->escape = 0;
		http_unescape(program, request, byte);
	} else if (byte == '%') {
		request->escape = 2;
	} else {
		http_resolve(program, request, byte);
	}
	return 0;
}

/* One more byte of the request line. 0: no rule can match any more. */
inline_always __u32 http_line_byte(const struct http_program *program, struct http_request *request, __u8 byte)
{
	__u32 before = request->written;
	__u32 state = http_step(program, before, byte);
	__u32 reading = request->reading;

	request->written = state;
	if (reading == READING_METHOD) {
		if (byte == ' ')
			request->reading = READING_TARGET;
	} else if (reading == READING_TARGET) {
		request->stack[0] = before;
		request->reading = byte == '/' ? READING_SLASH : READING_OPAQUE;
	} else if (reading == READING_OPAQUE) {
		return state;
	} else if (reading == READING_SPLIT) {
		request->resolved = http_step(program, request->resolved, byte);
	} else if (byte == '?') {
		if (reading <= READING_SLASH) {
			request->reading = READING_OPAQUE;
			return state;
		}
		http_close_path(program, request);
		request->resolved = http_step(program, request->resolved, byte);
		request->reading = READING_SPLIT;
	} else if (reading == READING_PLAIN && byte == '/') {
		http_push(request, before);
		request->reading = READING_SLASH;
	} else if (reading == READING_PLAIN && byte != '%' && byte != '\\') {
		return state;
	} else if (reading == READING_SLASH && byte != '%' && byte != '\\' && byte != '/' && byte != '.') {
		request->reading = READING_PLAIN;
	} else {
		if (reading == READING_PLAIN) {
			request->resolved = before;
			request->reading = READING_SEGMENT;
		} else if (reading == READING_SLASH) {
			request->resolved = request->depth < HTTP_MAX_DEPTH ? request->stack[request->depth & (HTTP_MAX_DEPTH - 1)] : 0;
			request->reading = READING_START;
		}
		http_resolve_written(program, request, byte);
	}
	return state;
}

/* The request line is complete. 0: no rule allows it, whatever host and headers say. */
inline_always __u32 http_line_end(const struct http_program *program, struct http_request *request)
{
	if (request->reading <= READING_TARGET || request->escape)
		return 0;
	if (request->reading <= READING_SLASH) {
		request->resolved = request->written;
	} else if (request->reading != READING_SPLIT) {
		http_close_path(program, request);
	}
	request->reading = READING_SPLIT;
	return http_set(program, request->written, 0) && http_set(program, request->resolved, 0);
}

/* ---- host and headers ---- */

inline_always __u32 http_lower(__u8 byte)
{
	return byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte;
}

inline_always void http_host_byte(const struct http_program *program, struct http_request *request, __u8 byte)
{
	request->host = http_step(program, request->host, byte);
}

inline_always void http_header_begin(const struct http_program *program, struct http_request *request)
{
	request->header = program->head.header_start;
	request->slot = 0;
}

/* A byte of a name, or, behind http_header_colon(), of a value. */
inline_always void http_header_byte(const struct http_program *program, struct http_request *request, __u8 byte)
{
	request->header = http_step(program, request->header, request->slot ? byte : http_lower(byte));
}

/* The name is complete. 0: no rule asks for this header, its value need not be seen. */
inline_always int http_header_colon(const struct http_program *program, struct http_request *request)
{
	__u32 slot = http_set(program, request->header, HTTP_MAX_SLOTS);
	__u32 bit;

	if (slot >= HTTP_MAX_SLOTS) {
		request->slot = 0;
		return 0;
	}
	request->slot = slot + 1;
	bit = 1 << slot;
	if (request->seen & bit) {
		request->header = http_step(program, request->values[slot], HTTP_JOIN);
	} else {
		__u32 at = (program->head.slots + slot * (sizeof(struct http_slot) / 4) + 2) & HTTP_INT_MASK;

		request->seen |= bit;
		request->header = program->ints[at];
	}
	return 1;
}

inline_always void http_header_end(struct http_request *request)
{
	if (request->slot)
		request->values[(request->slot - 1) & (HTTP_MAX_SLOTS - 1)] = request->header;
	request->slot = 0;
}

/* ---- the verdict ---- */

/* How many bits of 16 are set. */
inline_always __u32 http_count(__u32 bits)
{
	bits -= (bits >> 1) & 0x5555;
	bits = (bits & 0x3333) + ((bits >> 2) & 0x3333);
	bits = (bits + (bits >> 4)) & 0x0f0f;
	return (bits + (bits >> 8)) & 0x1f;
}

/* Number of zero bits below the lowest one; of a word that is not zero. */
inline_always __u32 http_lowest(__u64 word)
{
	__u32 at = 0;

	if (!(word & 0xffffffff)) {
		at += 32;
		word >>= 32;
	}
	if (!(word & 0xffff)) {
		at += 16;
		word >>= 16;
	}
	if (!(word & 0xff)) {
		at += 8;
		word >>= 8;
	}
	if (!(word & 0xf)) {
		at += 4;
		word >>= 4;
	}
	if (!(word & 3)) {
		at += 2;
		word >>= 2;
	}
	return at + !(word & 1);
}

/* Word `at` of a set that has it. */
inline_always __u64 http_set_word(const struct http_program *program, __u32 set, __u32 at)
{
	__u32 below = http_count((set >> 16) & ((1u << at) - 1));

	return program->words[((set & 0xffff) + below) & HTTP_WORD_MASK];
}

/* What the rules' headers come to: sets[i] for each slot. */
inline_always __u32 http_slot_set(const struct http_program *program, const struct http_request *request, __u32 slot)
{
	__u32 at = program->head.slots + slot * (sizeof(struct http_slot) / 4);

	if (!(request->seen & (1u << slot)))
		return program->ints[at & HTTP_INT_MASK];
	return http_set(program, request->values[slot & (HTTP_MAX_SLOTS - 1)], program->ints[(at + 1) & HTTP_INT_MASK]);
}

/* The first rule, + 1, that is in the line's set and in those of host and headers; 0: none. */
verified_apart int http_first_rule(const struct http_program *program, const struct http_request *request, __u32 line)
{
	__u32 host, slots, present, at, slot;
	__u32 sets[HTTP_MAX_SLOTS];

	if (!program || !request)
		return 0;
	host = http_set(program, request->host, program->head.any_host);
	slots = program->head.slot_count;
	present = (line & host) >> 16;
#pragma unroll
	for (slot = 0; slot < HTTP_MAX_SLOTS; slot++) {
		sets[slot] = slot < slots ? http_slot_set(program, request, slot) : host;
		present &= sets[slot] >> 16;
	}
	for (at = 0; at < HTTP_MAX_RULES / 64 && present; at++, present >>= 1) {
		__u64 word;

		if (!(present & 1))
			continue;
		word = http_set_word(program, line, at) & http_set_word(program, host, at);
#pragma unroll
		for (slot = 0; slot < HTTP_MAX_SLOTS; slot++)
			if (slot < slots)
				word &= http_set_word(program, sets[slot], at);
		if (word)
			return at * 64 + http_lowest(word) + 1;
	}
	return 0;
}

/* The head is complete: the first rule that allows the request, + 1; 0: denied. */
inline_always __u32 http_verdict(const struct http_program *program, struct http_request *request)
{
	__u32 first;

	if (request->reading != READING_SPLIT) /* http_line_end() was not called */
		return 0;
	first = http_first_rule(program, request, http_set(program, request->written, 0));
	request->second = 0;
	if (!first || request->resolved == request->written)
		return first;
	request->second = http_first_rule(program, request, http_set(program, request->resolved, 0));
	return request->second ? first : 0;
}

/* Rule + 1 that allows the other reading of the path; 0: there is only one reading. */
inline_always __u32 http_second_rule(const struct http_request *request)
{
	return request->second;
}
