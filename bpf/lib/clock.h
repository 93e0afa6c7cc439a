/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* Seconds of CLOCK_MONOTONIC. The coarse clock is a load; the exact one reads the TSC, which is a trap on some VMs. */
static __always_inline __u32 clock_seconds(void)
{
	return bpf_ktime_get_coarse_ns() / 1000000000ULL;
}
