"""Interfaces of the kernel: netlink, connection tracking, routes, sockets, queues, capabilities."""
