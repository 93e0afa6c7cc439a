// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/* No program: carries the type information of everything userspace shares with the kernel. A type reaches BTF only if
 * a variable of this object leads to it. */
#include <abi/types.h>
#include <abi/codes.h>
#include <abi/maps.h>
#include <abi/events.h>
#include <abi/http.h>
#include <abi/proxy.h>
#include <abi/http_rules.h>

#define CARRY(kind, name) const kind name *carry_##name __attribute__((unused))

CARRY(struct, ip_addr);
CARRY(struct, node_config);
CARRY(struct, endpoint);
CARRY(struct, ipcache_key);
CARRY(struct, ipcache_value);
CARRY(struct, policy_key);
CARRY(struct, policy_entry);
CARRY(struct, ct4_key);
CARRY(struct, ct6_key);
CARRY(struct, ct_entry);
CARRY(struct, nat_key);
CARRY(struct, nat_value);
CARRY(struct, metric);
CARRY(struct, verdict_event);
CARRY(struct, http_event);
CARRY(struct, http_program_head);
CARRY(struct, http_slot);
CARRY(struct, http_port_key);
CARRY(struct, http_port_value);
CARRY(struct, proxy_datagram_tail);

CARRY(enum, ip_family);
CARRY(enum, direction);
CARRY(enum, skb_mark);
CARRY(enum, node_flags);
CARRY(enum, endpoint_flags);
CARRY(enum, policy_prefix);
CARRY(enum, policy_flags);
CARRY(enum, ct_leg);
CARRY(enum, ct_flags);
CARRY(enum, verdict);
CARRY(enum, helper_site);
CARRY(enum, drop_reason);
CARRY(enum, policy_match);
CARRY(enum, event_type);
CARRY(enum, observation_point);
CARRY(enum, event_flags);
CARRY(enum, http_text_limit);
CARRY(enum, http_stage);
CARRY(enum, http_program_number);
CARRY(enum, http_event_kind);
CARRY(enum, http_fault);
CARRY(enum, http_count);
CARRY(enum, http_limit);
CARRY(enum, http_foreign);
CARRY(enum, proxy_limit);

char LICENSE[] __attribute__((section("license"), used)) = "GPL";
