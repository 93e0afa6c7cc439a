/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* One packet's turn at the HTTP programs: they are reached by a tail call, and this is what crosses it. */
#pragma once

#include <abi/http.h>

#include "http_hand_over.h"
#include "http_state.h"
#include "packet.h"

/* The packet's TCP header, its payload, and where they lie. Numbers as the packet has them until they are translated. */
struct http_segment {
	__u32 seq;
	__u32 ack;
	__u32 l4;       /* offset in the frame of the TCP header */
	__u32 data;     /* ... and of the payload */
	__u32 size;     /* payload bytes, by the IP header: never by the frame */
	__u8 header_size;
	__u8 flags;
	__u8 family;
	__u8 pad;
};

/* Where a buffer's contents ended before this segment. */
struct http_mark {
	__u32 last;
	__u32 position;
	__u32 last_size;
	__u32 pad;
};

struct http_turn {
	struct http_hand_over from;
	struct http_segment segment;
	struct http_key key;
	/* The client's parser, until the segment may pass. */
	struct http_head head;
	struct http_request judged;
	/* The piece in hand. */
	__u64 at;             /* next byte; beyond `size` by the rest of a body */
	__u64 body;           /* bytes of a body behind the structure just read */
	__u32 size;
	__u32 structure;      /* behind the last byte that is no body's */
	/* What the segment's requests came to. */
	__u64 piece_offset;   /* of the piece's first byte in the stream */
	__u64 request_offset; /* of the request in hand */
	__u64 denied_offset;  /* of the first denied one; 0: none */
	__u64 denied_end;     /* behind it; 0: not in this segment */
	__u64 heads;          /* as in the connection */
	__u64 frontier;
	__u64 structure_end;
	__u32 asked;
	__u32 rule;           /* that allowed the last request */
	__u32 denied_flags;   /* enum http_head_flag of the denied one */
	__u32 client_seq;     /* the packet's numbers as the client knows them */
	__u32 client_ack;
	__u32 passed;         /* connection->passed_number and shift, for when it is unlocked */
	struct http_shift shift;
	/* Comparing a retransmission. */
	__u64 compared;       /* next offset to look at */
	__u32 region;
	__u32 different;
	struct http_head told; /* the allowed request that events tell of, as its head ended */
	__u8 fault;           /* enum http_fault, of the segment */
	__u8 untold;          /* there is one */
	__u8 outdated;        /* the head in hand began under older rules, which judge it to its end */
	__u8 pad[5];
	struct http_mark mark;
	/* Behind the last whole allowed request of the segment that began in it; 0: none. What lies before may pass alone. */
	__u64 boundary;
	__u64 boundary_structure; /* structure_end there */
	struct http_mark boundary_mark;
	__u32 keep;           /* payload bytes of HTTP_TRIM */
	__u32 pad2;
	__u64 now;            /* CLOCK_MONOTONIC, read once per packet: on some machines that is a trap */
	struct http_event event;
	__u8 bytes[HTTP_PIECE_MAX + 64];
	__u8 frame[512];
	__u8 original[96];    /* the packet's headers before it was rewritten */
};

/* 0 -> the packet in hand, per CPU; as `scratch`. Kernel only. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct http_turn);
} http_turns SEC(".maps");

inline_always struct http_turn *http_turn(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&http_turns, &zero);
}

/* Copies what was handed over. */
inline_always int http_take_over(struct http_turn *turn)
{
	const struct http_hand_over *over = http_handed_over();

	if (!over)
		return 0;
	turn->from = *over;
	return 1;
}
