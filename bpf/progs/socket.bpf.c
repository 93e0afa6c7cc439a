// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/* Socket redirect: sockets enter a map when their connection stands, and send past TCP while nothing is left to judge. */
#include "socket.h"

SEC("sockops")
int socket_opened(struct bpf_sock_ops *socket)
{
	if (socket->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB || socket->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		socket_join(socket);
	return 1;
}

SEC("sk_msg")
int socket_send(struct sk_msg_md *message)
{
	socket_send_message(message);
	return SK_PASS;
}

char LICENSE[] SEC("license") = "GPL";
