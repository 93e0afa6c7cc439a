/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Every map of the datapath, defined once. All objects carry the same definitions; userspace loads the second object on
 * the pinned maps of the first. Capacities are defaults: userspace may set max_entries before load. */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include <abi/codes.h>
#include <abi/events.h>
#include <abi/http_rules.h>
#include <abi/maps.h>
#include <abi/types.h>

#define MAX_ENDPOINTS 4096
#define MAX_CONNECTIONS 131072
#define EVENTS_BYTES (8 * 1024 * 1024)

/* 0 -> what the whole node shares. Writer: agent. Readers: every program. One slot: cannot fill up. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct node_config);
} node_config SEC(".maps");

/* ifindex of a host-side interface -> its endpoint. Writer: agent. Reader: endpoint programs, first packets only.
 * As many as endpoints. Full: the agent refuses the new endpoint. Not found: the packet is dropped. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_ENDPOINTS);
	__type(key, __u32);
	__type(value, endpoint_id_t);
} ifaces SEC(".maps");

/* endpoint id -> the endpoint. Writer: agent. Readers: every program, every packet: an array, because the verifier
 * inlines its lookup. Slot 0 stays empty. Ids beyond the capacity are never given out. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_ENDPOINTS);
	__type(key, __u32);
	__type(value, struct endpoint);
} endpoints SEC(".maps");

/* address prefix -> identity and endpoint. Writer: agent. Reader: first packets. Entries are allocated as they come, so
 * the capacity costs nothing. Full: the agent reports the row as failed; the address counts as its next wider prefix. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 512000);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ipcache_key);
	__type(value, struct ipcache_value);
} ipcache SEC(".maps");

/* (policy set, identity, direction, protocol, port prefix) -> action. Writer: agent, whole sets at a time. Reader: first
 * packets, two lookups per judged direction. Allocated as they come. Full: the new set is not activated, the old one stays. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1048576);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct policy_key);
	__type(value, struct policy_entry);
} policy SEC(".maps");

/* A program of HTTP rules as its three units see it. */
struct http_program {
	union {
		struct http_program_head head;
		__u64 words[HTTP_WORDS];
		__u32 ints[HTTP_WORDS * 2];
		__u16 states[HTTP_WORDS * 4];
	};
};

/* Sizes, not types: clang 14 leaves types out that only an inner map names. */
struct http_program_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct http_program));
};

/* number of a program -> the program, in a map of its own. Numbers are not given out again while anything may know them.
 * Writer: agent, before the policy entries that name it; it goes a minute after the last of them. Reader: endpoint programs,
 * once per packet of a judged connection. Full: the port goes to the proxy. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 512);
	__type(key, __u32);
	__array(values, struct http_program_map);
} http_programs SEC(".maps");

/* (endpoint, direction, port, peer) -> what was spoken there in place of HTTP/1: new connections go to the proxy. Writer:
 * endpoint programs; the agent deletes what no policy asks for any more. Full: the longest unused is forgotten, and its next
 * connection is ended and learnt from again. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct http_port_key);
	__type(value, struct http_port_value);
} http_learnt SEC(".maps");

/* IPv4 connection -> its state, both directions in one entry. Writers and readers: every program. About 90 bytes each,
 * allocated at load. Full: the connection that was longest without a packet is forgotten, and judged anew if it speaks. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_CONNECTIONS);
	__type(key, struct ct4_key);
	__type(value, struct ct_entry);
} ct4 SEC(".maps");

/* IPv6 connection -> its state; as ct4, in a map of its own because the shorter key of IPv4 hashes faster. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_CONNECTIONS);
	__type(key, struct ct6_key);
	__type(value, struct ct_entry);
} ct6 SEC(".maps");

/* Masqueraded connection -> its translation; two entries per connection, one per direction. Writers and readers: network
 * programs. Full: the longest silent mapping is forgotten, its connection gets another port and is reset by the peer. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_CONNECTIONS);
	__type(key, struct nat_key);
	__type(value, struct nat_value);
} nat SEC(".maps");

struct fragment_key {
	struct ip_addr src;
	struct ip_addr dst;
	__u32 id; /* as on the wire */
	__u8 family;
	__u8 protocol;
	__u8 hook; /* enum observation_point: masquerading changes addresses on the way */
	__u8 pad;
};

struct fragment_ports {
	__be16 sport;
	__be16 dport;
};

/* Fragmented datagram -> the ports in its first fragment. Writer: first fragments. Reader: the later ones. Small, since an
 * entry is needed for milliseconds. Full: the oldest is forgotten, the rest of that datagram dropped. Kernel only. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct fragment_key);
	__type(value, struct fragment_ports);
} fragments SEC(".maps");

/* Verdicts, drops and connection ends, as struct verdict_event. Writers: every program. Reader: observer, polling. Full:
 * the event is lost and counted in events_lost; the verdict stands. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, EVENTS_BYTES);
} events SEC(".maps");

/* 0 -> events that found no room, per CPU. Writers: every program. Reader: observer. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} events_lost SEC(".maps");

/* drop reason * 2 + direction -> packets and bytes, per CPU; reason 0 = forwarded. Writers: endpoint and network programs.
 * Reader: agent. Room for every reason of one byte. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 512);
	__type(key, __u32);
	__type(value, struct metric);
} metrics SEC(".maps");

/* enum helper_site -> how often that helper failed, per CPU. Writers: every program. Reader: agent. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} helper_errors SEC(".maps");
