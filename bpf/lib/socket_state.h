/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The kernel's structures as far as the socket programs read them; the loader finds the fields' real places (CO-RE). */
#pragma once

#include <linux/types.h>
#include <bpf/bpf_core_read.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct sock_common {
	unsigned long skc_flags; /* bits of enum sock_flags */
};

struct sock {
	struct sock_common __sk_common;
	struct {
		struct {
			int counter;
		} rmem_alloc; /* bytes that wait to be read */
	} sk_backlog;
};

struct sk_msg {
	struct sock *sk_redir; /* where this message goes; holds a reference */
};

enum sock_flags {
	SOCK_ZEROCOPY,
};

#pragma clang attribute pop

extern void *bpf_cast_to_kern_ctx(void *) __ksym;
