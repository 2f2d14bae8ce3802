"""The network interfaces of this host."""

import socket


def interface_names() -> list[str]:
    """Those of this network namespace; raises OSError."""
    return [name for _, name in socket.if_nameindex()]
