/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* HTTP rules as the kernel runs them. A program is one list of rules, compiled to an automaton: immutable, numbered, a map of
 * its own in `http_programs`. A policy entry names it (policy_entry.http_program). Writer: agent. How it is run stands in
 * lib/http_rules.h.
 *
 * A program is HTTP_WORDS 64-bit words. It begins with struct http_program_head; behind that lie, each where the head or
 * another part says, and in any order:
 *
 *   states    one word each; a state is named by its word's index. The head's first word is state 0, "dead": no rule can
 *             match any more. All three automata (request line, host, headers) share words and byte
 *             classes.
 *               bits  0..7   expect: the byte that leads to `hit`; 0: none
 *               bits  8..15  which table of byte classes the row is indexed by
 *               bits 16..31  hit
 *               bits 32..47  miss: where any other byte leads, if row is 0
 *               bits 48..63  row: where any other byte leads: index in 16-bit units of the next state for byte class 0
 *   rows      16-bit states, one for each byte class
 *   sets      32 bits each: a set of rules. Bits 16..31: which 64-bit words of the set are not zero, rules 0..63 first;
 *             bits 0..15: word index of the first of these words, the others follow. The states below `accepting_end`,
 *             counted from the first state, have one each.
 *   slots     struct http_slot for each header that some rule asks for. */
#pragma once

#include "types.h"

enum http_limit {
	HTTP_LAYOUT = 1,       /* raised when the layout changes: programs of another one are not run */
	HTTP_WORDS = 16384,    /* 64 bits each: 128 KiB, allocated for each program in use */
	HTTP_FIRST_STATE = 256, /* word index; behind the head */
	HTTP_CLASS_TABLES = 7, /* rows that tell few bytes apart are short by a table of few classes */
	HTTP_MAX_RULES = 1024, /* of one program */
	HTTP_MAX_SLOTS = 8,    /* different headers that the rules of one program may ask for */
	HTTP_MAX_DEPTH = 32,   /* segments of a path that has something to resolve (/../, //, %2e); deeper: denied */
};

/* The first words of a program. */
struct http_program_head {
	__u64 dead;           /* state 0: zero, so that it leads to itself */
	__u16 layout;         /* HTTP_LAYOUT of who wrote it; 0: nothing was written */
	__u16 rule_count;
	__u16 line_start;     /* state before the method */
	__u16 host_start;     /* state before the host; 0: no rule asks for it */
	__u16 header_start;   /* state before a header's name; 0: no rule asks for headers */
	__u16 accepting_end;  /* index behind the last state that has a set */
	__u16 sets;           /* index in 32-bit units of the first accepting state's set; header names: their slot instead */
	__u16 slots;          /* index in 32-bit units of the first slot */
	__u16 slot_count;
	__u16 pad;
	__u32 any_host;       /* set of the rules that hold whatever the host */
	__u8 classes[1792];   /* table * 256 + byte -> class */
};

/* One header of the rules. Its values, of all lines of that name, run through one automaton. */
struct http_slot {
	__u32 absent;  /* set of the rules that hold without the header */
	__u32 present; /* set of the rules that hold with it, whatever the value */
	__u16 start;   /* state before the value */
	__u16 pad;
};

/* http_learnt: ports that turned out to speak what the kernel can't judge; their connections go to the proxy. */
struct http_port_key {
	identity_t peer;       /* the other side: nobody can change the way of another's connections */
	endpoint_id_t subject; /* the endpoint whose policy has HTTP rules there */
	__be16 dport;
	__u8 direction;        /* enum direction, as the subject sees it */
	__u8 pad[3];
};

struct http_port_value {
	__u32 policy_set; /* under which it was learnt */
	__u8 protocol;    /* enum http_foreign */
	__u8 pad[3];
};

/* What was spoken where HTTP/1 was expected. */
enum http_foreign {
	HTTP_FOREIGN_H2 = 1,      /* HTTP/2's connection preface: h2c, gRPC */
	HTTP_FOREIGN_TLS = 2,     /* a TLS handshake */
	HTTP_FOREIGN_CONNECT = 3, /* a tunnel that a rule allows */
	HTTP_FOREIGN_UPGRADE = 4, /* an upgrade that a rule allows, and the kernel can't follow */
};
