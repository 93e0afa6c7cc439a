/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* HTTP judged in the kernel: what its programs tell userspace, and what userspace may tell them. */
#pragma once

#include "types.h"
#include "codes.h"

enum http_text_limit {
	HTTP_METHOD_MAX = 16,     /* a longer method is malformed */
	HTTP_HOST_MAX = 128,      /* a longer Host is malformed */
	HTTP_PATH_MAX = 160,      /* of the target, as told in events; what is longer is judged whole and told cut */
	HTTP_HEAD_MAX = 24576,    /* bytes of a head, of a trailer section */
	HTTP_LINES_MAX = 255,     /* header lines of a head */
	HTTP_CHUNK_LINE_MAX = 512, /* chunk size with extensions */
};

/* Places in http_stages. */
enum http_stage {
	HTTP_STAGE_REQUEST = 0,
	HTTP_STAGE_RESPONSE = 1,
};

/* Stand for a program of rules (ct_entry.http_program). */
enum http_program_number {
	HTTP_PROGRAM_NONE = 0,         /* what judges it now can't take it over: its next request resets the connection */
	HTTP_PROGRAM_ANY = 0xffffffff, /* no rules any more: all requests pass */
};

enum http_event_kind {
	HTTP_EVENT_REQUEST = 1,   /* allowed and sent on */
	HTTP_EVENT_RESPONSE = 2,  /* its answer has begun: status and latency */
	HTTP_EVENT_DENIED = 3,    /* no rule allows it: answered with 403, or reset where no answer was possible */
	HTTP_EVENT_MALFORMED = 4, /* no request with one meaning: answered with 400, or reset; fault says why */
	HTTP_EVENT_FLIPPED = 5,   /* not HTTP/1: the port goes to the proxy, beginning with the client's next attempt */
	HTTP_EVENT_OLD = 6,       /* a connection older than its HTTP rules wanted to send: reset */
};

/* What is wrong with a malformed request, or with a TCP segment of a judged connection. */
enum http_fault {
	HTTP_FAULT_NONE = 0,
	HTTP_FAULT_REQUEST_LINE = 1,
	HTTP_FAULT_TARGET = 2,         /* absolute form, fragment, bad percent-encoding */
	HTTP_FAULT_VERSION = 3,
	HTTP_FAULT_HEADER = 4,         /* a line that is no header */
	HTTP_FAULT_HOST = 5,
	HTTP_FAULT_LENGTH = 6,         /* Content-Length */
	HTTP_FAULT_ENCODING = 7,       /* Transfer-Encoding, or both */
	HTTP_FAULT_CONNECTION = 8,     /* Connection names a header that framing hangs on */
	HTTP_FAULT_UPGRADE = 9,
	HTTP_FAULT_EXPECT = 10,
	HTTP_FAULT_CHUNK = 11,
	HTTP_FAULT_TOO_LARGE = 12,
	HTTP_FAULT_TRUNCATED = 13,     /* the client closed inside of a head */
	HTTP_FAULT_REWRITTEN = 14,     /* a retransmission with other bytes */
	HTTP_FAULT_URGENT = 15,        /* urgent data: the server would read other bytes than were judged */
	HTTP_FAULT_RULES_CHANGED = 16, /* the policy changed in the middle of a head */
	HTTP_FAULT_NO_BUFFER = 17,     /* what was judged is no longer known */
};

/* The first two fields lie as in struct verdict_event. An event is as long as its texts; a response has none. */
struct http_event {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u8 type;     /* EVENT_HTTP */
	__u8 kind;     /* enum http_event_kind */
	__u8 verdict;  /* enum verdict */
	__u8 direction; /* enum direction: whose rules judge */
	__u8 family;   /* enum ip_family */
	__u8 fault;    /* enum http_fault */
	__u8 minor_version; /* 0 or 1 */
	__u8 foreign;  /* of HTTP_EVENT_FLIPPED: enum http_foreign */
	__u32 connection; /* the same in all events of one connection */
	__u32 request;    /* number of the request in its connection */
	__u64 latency_ns; /* of a response: since its request was sent on; 0: not known */
	identity_t client_identity;
	identity_t server_identity;
	endpoint_id_t client_ep;
	endpoint_id_t server_ep;
	__be16 client_port;
	__be16 server_port;
	struct ip_addr client;
	struct ip_addr server;
	__u32 program;    /* of rules, that judged */
	__u32 rule;       /* of its list, the one that allowed it, + 1; 0: none */
	__u16 status;     /* of the answer; 0: none */
	__u16 path_length; /* of the target in the request; `path` may hold less */
	__u8 method_length;
	__u8 host_length;
	__u8 pad[2];
	__u8 text[304];    /* method, host, path, without anything between; as long as they are */
};

/* Index into http_counts. */
enum http_count {
	HTTP_COUNT_CONNECTIONS = 0,
	HTTP_COUNT_REQUESTS = 1,
	HTTP_COUNT_RESPONSES = 2,
	HTTP_COUNT_DENIED = 3,
	HTTP_COUNT_MALFORMED = 4,
	HTTP_COUNT_ANSWERED = 5,      /* denials that the client was told with keep-alive */
	HTTP_COUNT_CLOSED = 6,        /* ... and then the connection was closed */
	HTTP_COUNT_RESET = 7,
	HTTP_COUNT_HELD = 8,          /* segments dropped until the sender repeats them: out of order in a head, an answer in flight */
	HTTP_COUNT_COMPARED = 9,      /* retransmissions compared with what was judged */
	HTTP_COUNT_REWRITTEN = 10,    /* ... and found to differ */
	HTTP_COUNT_BAD_NUMBERS = 11,  /* acknowledges what was never sent; sequence number out of all windows */
	HTTP_COUNT_NO_BUFFER = 12,    /* no comparison buffer free, or full: held */
	HTTP_COUNT_LOCKED = 13,       /* another CPU held the connection for too long: held */
	HTTP_COUNT_OLD = 14,          /* resets of connections that have no state */
	HTTP_COUNT_STRIPPED = 15,     /* SYNs whose MPTCP or fast-open option was blanked */
	HTTP_COUNT_STALE_BUFFER = 16, /* buffers taken from connections that held them too long */
	HTTP_COUNT_LOST_FRAMING = 17, /* responses whose end can't be told: a denial resets such a connection */
	HTTP_COUNT_UPGRADED = 18,
	HTTP_COUNT_FLIPPED = 19,
	HTTP_COUNT_TRIMMED = 20,      /* segments cut between requests: what was allowed passed, the rest was held */
};
