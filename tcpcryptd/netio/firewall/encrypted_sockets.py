"""Ends the local sockets of connections that are marked as encrypted.

Without the rules and the daemon their kernel would go on sending in clear. Connection tracking knows these connections,
and remembers them for a while after they are over. So each is looked up in the list of sockets and ended by its cookie:
by its ends alone, the kernel would end the listening socket when the connection's own one is gone.
"""

import errno
import os
import socket
from collections.abc import Iterator

from tcpcryptd.core.verdict import ConnectionClass
from tcpcryptd.netio.kernel.conntrack import Flow, tracked_connections
from tcpcryptd.netio.kernel.sock_diag import ALL_STATES, NOT_CONNECTED, TIME_WAIT, Socket, destroy, list_sockets
from tcpcryptd.netio.marks import MarkScheme

_MAX_PASSES = 16
"""Whoever opens such connections again all the time does not keep the daemon from stopping."""
_CONNECTED = ALL_STATES & ~(NOT_CONNECTED | 1 << TIME_WAIT)


def end_encrypted_sockets(marks: MarkScheme) -> int:
    """Ends them, in both roles and at both ends on loopback; the number of sockets. Needs CAP_NET_ADMIN.

    Raises OSError: EOPNOTSUPP among others, when the kernel does not list connections or end sockets; EBUSY, when there
    are always more.
    """
    flows = set(_encrypted_flows(marks))
    total = 0
    # A list may miss a socket whose neighbours come or go at that moment: until one finds nothing more to end.
    for _ in range(_MAX_PASSES if flows else 0):
        ended = sum(map(destroy, _sockets_of(flows)))
        if not ended:
            return total
        total += ended
    if total:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
    return total


def _sockets_of(flows: set[Flow]) -> Iterator[Socket]:
    for family in (socket.AF_INET, socket.AF_INET6):
        for each in list_sockets(family, _CONNECTED):
            if each.flow in flows and not each.is_remnant:
                yield each


def _encrypted_flows(marks: MarkScheme) -> Iterator[Flow]:
    for connection_class in ConnectionClass:
        if connection_class.is_encrypted:
            for connection in tracked_connections(marks.of_class(connection_class), marks.mask):
                # The opener's socket sends the original direction, the acceptor's the reply. Those that are over count
                # as long as they have sockets: tracking believes an RST that the kernel does not obey.
                yield from connection.flows
