"""Clients of the daemon: the control socket, socket options, and programs that use the original library."""
