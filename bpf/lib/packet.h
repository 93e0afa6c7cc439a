/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What the slow path knows about a packet: both families in one form. */
#pragma once

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include <abi/types.h>

#define inline_always static __always_inline

/* Slow-path stages are functions of their own: the fast path stays short, and stack frames are given back. */
#define stage static __attribute__((noinline, unused))

/* A function that is verified by itself, once, for any arguments: pointers in its arguments have to be checked. For loops whose
 * verification would otherwise start over wherever they are reached from. */
#define verified_apart __attribute__((noinline))

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

enum {
	IP_FLAG_MF = 0x2000,
	IP_OFFSET_MASK = 0x1fff,
	ICMP_ECHOREPLY = 0, /* <linux/icmp.h> drags in the C library */
	ICMP_DEST_UNREACH = 3,
	ICMP_ECHO = 8,
	ICMP_TIME_EXCEEDED = 11,
	ICMP_PARAMETERPROB = 12,
	IPV6_NEXTHDR_HOP = 0,
	IPV6_NEXTHDR_FRAGMENT = 44,
	ICMP6_DEST_UNREACH = 1,
	ICMP6_PARAM_PROB = 4,
	ICMP6_ECHO = 128,
	ICMP6_ECHO_REPLY = 129,
	ICMP6_MLD_FIRST = 130,
	ICMP6_MLD_LAST = 132,
	ND_ROUTER_SOLICIT = 133,
	ND_NEIGHBOUR_SOLICIT = 135,
	ND_NEIGHBOUR_ADVERT = 136,
	ND_REDIRECT = 137,
	MLD2_REPORT = 143,
	TCP_CHECKSUM_OFFSET = 16,
};

enum tcp_flag {
	TCP_FIN = 0x01,
	TCP_SYN = 0x02,
	TCP_RST = 0x04,
	TCP_ACK = 0x10,
};

enum packet_kind {
	KIND_TRACKED,    /* has ports (or an echo id): belongs to a connection */
	KIND_ICMP_ERROR, /* speaks about another packet, which it quotes */
	KIND_STATELESS,  /* other ICMP: judged packet by packet */
	KIND_NEIGHBOUR,  /* neighbour discovery, multicast membership: ends at the link */
	KIND_ARP,
};

struct packet {
	struct ip_addr src;
	struct ip_addr dst;
	__be16 sport; /* ICMP echo: id in the initiator's place, 0 in the other's */
	__be16 dport;
	__u8 family;
	__u8 protocol;
	__u8 kind;           /* enum packet_kind */
	__u8 tcp_flags;
	__u8 icmp_type;
	__u8 icmp_code;
	__u8 later_fragment; /* ports are remembered, there is no L4 header in this packet */
	__u8 hook;           /* enum observation_point */
	__u16 l4_offset;
	__u16 ethertype;     /* host order */
	__u32 length;        /* without the link header */
};

inline_always int is_tcp_open(const struct packet *packet)
{
	return packet->protocol == IPPROTO_TCP && (packet->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

inline_always int address_equal(const struct ip_addr *a, const struct ip_addr *b)
{
	const __u32 *x = (const __u32 *)a->bytes, *y = (const __u32 *)b->bytes;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3];
}

inline_always __be32 address_ipv4(const struct ip_addr *address)
{
	return *(const __be32 *)address->bytes;
}

inline_always void address_set_ipv4(struct ip_addr *address, __be32 ipv4)
{
	__builtin_memset(address, 0, sizeof(*address));
	*(__be32 *)address->bytes = ipv4;
}

inline_always int address_is_multicast(const struct packet *packet)
{
	if (packet->family == FAMILY_IPV6)
		return packet->dst.bytes[0] == 0xff;
	return (packet->dst.bytes[0] & 0xf0) == 0xe0 || address_ipv4(&packet->dst) == 0xffffffff;
}
