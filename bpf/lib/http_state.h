/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What is kept of a connection whose HTTP is judged in the kernel, and the maps that hold it. Two streams: the client's
 * carries requests, the server's the answers. Their bytes are counted in 64 bits from 1 on ("offsets"); numbers of 32 bits
 * are TCP's, as the server knows them. */
#pragma once

#include <abi/http.h>

#include "conntrack.h"
#include "http_rules.h"
#include "maps.h"

#define MAX_HTTP_CONNECTIONS 32768
#define HTTP_BUFFERS 512

enum {
	HTTP_BUFFER_BYTES = 32768, /* of the client's stream not yet acknowledged, bodies left out: the longest head, and a few more */
	HTTP_PIECE_MAX = 2048,     /* bytes that are copied and judged at a time */
	HTTP_REGIONS = 128,        /* stretches without a body in between */
	HTTP_FIRST_OFFSET = 1,
	HTTP_COUNTS = 32, /* room for enum http_count */
};

/* First parameter of a callback of bpf_loop that does not ask which round it is. */
#define LOOP_ROUND __u32 round __attribute__((unused))

struct http_key {
	struct ip_addr client;
	struct ip_addr server;
	__be16 client_port;
	__be16 server_port;
	__u8 family;
	__u8 pad[3];
};

enum http_state {
	/* requests */
	STATE_METHOD,
	STATE_TARGET,
	STATE_PERCENT_HIGH, /* behind a % in the path */
	STATE_PERCENT_LOW,
	/* both */
	STATE_VERSION,      /* "HTTP/1.1" */
	STATE_LINE_LF,      /* behind the CR of the first line or of a header */
	STATE_STATUS,       /* " 200" */
	STATE_REASON,
	STATE_LINE,         /* at the start of a header line, or of the line that ends the head */
	STATE_NAME,
	STATE_VALUE_START,
	STATE_VALUE,
	STATE_END_LF,
	STATE_COMPLETE,     /* of requests: the head is whole and waits for its verdict */
	/* chunked bodies */
	STATE_CHUNK_SIZE,
	STATE_CHUNK_EXTENSION,
	STATE_CHUNK_LF,
	STATE_CHUNK_DATA_CR, /* behind a chunk's data */
	STATE_CHUNK_DATA_LF,
	/* standing still */
	STATE_UPGRADE,      /* nothing passes until the server has agreed */
	STATE_OPAQUE,       /* another protocol, or a body that ends with the connection */
	STATE_MALFORMED,
};

enum http_field {
	FIELD_OTHER,
	FIELD_HOST,
	FIELD_LENGTH,
	FIELD_ENCODING,
	FIELD_CONNECTION,
	FIELD_UPGRADE,
	FIELD_EXPECT,
};

enum http_head_flag {
	HEAD_HOST = 0x01,
	HEAD_LENGTH = 0x02,
	HEAD_CHUNKED = 0x04,
	HEAD_1_0 = 0x08,
	HEAD_WEBSOCKET = 0x10,   /* Upgrade: websocket */
	HEAD_UPGRADE = 0x20,     /* Connection: upgrade */
	HEAD_CLOSE = 0x40,       /* Connection: close */
	HEAD_DENIED = 0x80,
	HEAD_TRAILER = 0x100,
	HEAD_IS_HEAD = 0x200,    /* of a request: HEAD. Of a response: it answers one */
	HEAD_SPACED = 0x400,     /* more than one space, or a tab, before the value in hand */
	HEAD_UNTIL_CLOSE = 0x800, /* of a response: a Transfer-Encoding that is not just chunked */
	HEAD_PORT = 0x1000,      /* of the Host value in hand: the colon was seen */
	HEAD_LITERAL = 0x2000,   /* ... an IPv6 literal is open */
	HEAD_LITERAL_END = 0x4000, /* ... and closed */
	HEAD_UNKNOWN_UPGRADE = 0x8000, /* to something else: denied */
	HEAD_QUERY = 0x10000,    /* of a request: the target's path is over */
	HEAD_ASKED = 0x20000,    /* ... rules may ask for the header in hand */
};

/* Where one direction's parser stands. */
struct http_head {
	__u64 length;       /* Content-Length; while a chunk's size is read, what it is so far */
	__u64 name[3];      /* the header name or list element in hand, lower case, zero padded */
	__u32 size;         /* bytes of this head so far */
	__u32 flags;        /* enum http_head_flag */
	__u16 status;       /* of a response */
	__u16 path_length;
	__u8 state;         /* enum http_state */
	__u8 field;         /* enum http_field, whose value is in hand */
	__u8 name_length;
	__u8 position;      /* within what is being read: bytes of a fixed text, digits of a number */
	__u8 lines;
	__u8 fault;         /* enum http_fault */
	__u8 method_length;
	__u8 host_length;
	__u8 pad[2];
};

enum http_life {
	HTTP_LIVE = 0,
	HTTP_LINGERING = 1, /* the client was answered and told to close; the connection answers for itself until it has */
	HTTP_CUT_OFF = 2,   /* both ends get resets */
};

/* A request that was answered here and kept from the server: the two streams no longer have the numbers that their ends
 * know. What lies before it on the wire has the shifts of before. */
struct http_shift {
	__u32 client_first; /* the client's numbers of the request */
	__u32 client_end;
	__u32 answer;       /* the client's number of the answer's first byte */
	__u32 request_size; /* what the last one added to the shifts */
	__u32 answer_size;
	__u32 client;       /* sum of all requests kept back: client's number - server's number */
	__u32 server;       /* sum of all answers */
	__u8 pending;       /* the client has not yet acknowledged the answer */
	__u8 answer_kind;   /* enum http_answer */
	__u8 pad[2];
};

struct http_connection {
	__u32 lock;
	__u32 number;          /* in events */
	__u32 client_first;    /* numbers of both streams' first bytes */
	__u32 server_first;
	__u32 acked_number;    /* the client's stream: what the server has acknowledged... */
	__u32 passed_number;   /* ... and the highest that was let through */
	__u32 server_next;     /* the server's stream: behind the last byte seen */
	__u32 server_acked;    /* ... and what the client has acknowledged */
	__u64 server_acked_total;
	__u64 acked;           /* offset of acked_number */
	__u64 frontier;        /* first byte of the client's stream that is not judged yet */
	__u64 structure_end;   /* behind the last byte that is no body's */
	__u64 answer_frontier; /* first byte of the server's stream that is not read yet */
	__u64 heads;           /* bit n & 63: request n is a HEAD, whose answer has no body */
	__u64 asked_ns;        /* when the last request was sent on */
	__u32 asked;           /* requests sent on */
	__u32 answered;        /* complete final responses */
	__u32 begun;           /* final responses whose head was read */
	__u32 program;         /* that the request in hand is judged by */
	__u32 buffer;          /* slot + 1 of the comparison buffer; 0: none */
	__u32 held_seconds;    /* since when a denial waits for its turn, or the client for its end; 0: none does */
	__u64 buffer_acked;    /* what was acknowledged when the buffer was used last */
	__u8 life;             /* enum http_life */
	__u8 framing_lost;     /* the end of a response can't be told */
	__u8 answer_kind;      /* of HTTP_LINGERING: which one to repeat */
	__u8 unjudged;         /* bytes may have passed while there were no rules */
	struct http_shift shift;
	struct http_head request;
	struct http_head response;
	struct http_request judged;
	__u8 method[HTTP_METHOD_MAX];
	__u8 host[HTTP_HOST_MAX];
	__u8 path[HTTP_PATH_MAX];
};

/* A stretch of the client's stream as it lies in a buffer. */
struct http_region {
	__u64 offset;
	__u32 position;
	__u32 size;
};

/* Copies of what was judged and not yet acknowledged, to compare retransmissions with. */
struct http_buffer {
	__u64 owner;     /* enum http_owner bits; 0: free */
	__u32 last;      /* regions [first, last), modulo HTTP_REGIONS */
	__u32 first;
	__u32 position;  /* where the next one may begin */
	__u32 pad;
	struct http_region regions[HTTP_REGIONS];
	__u8 bytes[HTTP_BUFFER_BYTES + HTTP_PIECE_MAX + 8];
};

/* IPv4 or IPv6 connection -> its HTTP state. Writer and reader: http programs. About 1 KB each, allocated at load. Full: the connection longest without a packet is forgotten;
 * if it sends again it is reset, like one older than its rules. Kernel only. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_HTTP_CONNECTIONS);
	__type(key, struct http_key);
	__type(value, struct http_connection);
} http_conns SEC(".maps");

/* 0 -> a connection as it begins, per CPU: too large for the stack. Kernel only. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct http_connection);
} http_fresh SEC(".maps");

/* slot -> comparison buffer. Writer and reader: http_request, while a head is unacknowledged: microseconds on this node, a round
 * trip elsewhere. Full: the segment is dropped and the client sends it again. Kernel only. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, HTTP_BUFFERS);
	__type(key, __u32);
	__type(value, struct http_buffer);
} http_buffers SEC(".maps");

/* enum http_count -> how often, per CPU. Writers: http programs. Reader: agent. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, HTTP_COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} http_counts SEC(".maps");

stage void http_tally_many(__u32 what, __u32 times)
{
	__u64 *count = bpf_map_lookup_elem(&http_counts, &what);

	if (count)
		*count += times;
}

inline_always void http_tally(enum http_count what)
{
	http_tally_many(what, 1);
}
