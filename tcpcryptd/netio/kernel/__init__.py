"""What the kernel is asked and told: netlink, connection tracking, routes, sockets, queues, capabilities."""
