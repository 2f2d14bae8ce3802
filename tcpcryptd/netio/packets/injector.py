"""Raw sockets for the packets that the daemon makes itself.

A packet for the local kernel is sent to a local address, so it takes the loopback interface. It is not lost there
although its source is a remote host: it keeps the route that was found on the way out, and neither the reverse path
filter nor the check for martian sources looks at packets that have a route. Sockets that are bound to the interface
with the address get it, too.
"""

import errno
import logging
import os
import time
from collections import Counter
from typing import Final

from tcpcryptd.core.verdict import Direction
from tcpcryptd.netio.errors import ExitCode, InjectorError
from tcpcryptd.netio.kernel.raw_socket import INWARD_PRIORITY, RawSocket, blamed_for, destination_of, open_raw
from tcpcryptd.netio.kernel.route import FORWARDED, INTERFACE_SHIFT, interface_of
from tcpcryptd.netio.kernel.routing_tables import KernelRoutes
from tcpcryptd.netio.marks import MarkScheme
from tcpcryptd.netio.packets.forwarded import fitting
from tcpcryptd.netio.packets.seen_routes import SeenRoutes

_SEND_BUFFER = 4 << 20
_LINK_LOCAL: Final = b"\xfe\x80"

_TRANSIENT: Final = (errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.EINTR)

_log = logging.getLogger(__name__)


class Injector:
    """Sends whole IP packets in either direction, marked so that the firewall does not divert them.

    Raises InjectorError when raw sockets cannot be had.
    """

    def __init__(self, marks: MarkScheme, seen: SeenRoutes | None = None) -> None:
        self._seen = seen
        self.sent = 0
        self.errors: Counter[str] = Counter()
        """By name of the error."""
        self._sockets: dict[tuple[int, Direction], RawSocket] = {}
        self._routes: KernelRoutes | None = None
        try:
            routes = self._routes = KernelRoutes()
            for direction in Direction:
                mark = marks.of_injection(direction)
                priority = INWARD_PRIORITY if direction is Direction.IN else 0
                self._sockets[4, direction] = open_raw(4, mark, _SEND_BUFFER, routes, priority)
                try:
                    self._sockets[6, direction] = open_raw(6, mark, _SEND_BUFFER, routes, priority)
                except OSError as error:
                    # A kernel without IPv6 has no such packets either.
                    if error.errno != errno.EAFNOSUPPORT:
                        raise
        except PermissionError as error:
            self.close()
            raise InjectorError(
                "not allowed to open raw sockets: run tcpcryptd as root", ExitCode.PERMISSION
            ) from error
        except OSError as error:
            self.close()
            raise InjectorError(f"raw sockets cannot be opened: {error.strerror}", ExitCode.UNSUPPORTED) from error

    def inject(self, direction: Direction, packet: bytes, route: int = 0) -> bool:
        """Sends a packet, which begins with its IP header, by the way of its connection (see `route`).

        False when it was refused, and the next ones will be. A failure is counted, never raised.
        """
        try:
            raw = self._sockets[packet[0] >> 4, direction]
            if direction is Direction.IN:
                self._send_inwards(raw, packet, route)
            else:
                raw.send(packet, route if self._seen is None else self._seen.of(packet, route))
                self.sent += 1
        except (OSError, KeyError, IndexError, ValueError) as error:
            self._count(error)
            return isinstance(error, OSError) and error.errno in _TRANSIENT
        return True

    def _send_inwards(self, raw: RawSocket, packet: bytes, route: int) -> None:
        if route & FORWARDED:
            # To a host behind this one; to the local kernel there is no limit to what fits.
            for piece in fitting(packet, time.monotonic()):
                raw.send(piece, FORWARDED)
                self.sent += 1
            return
        address = destination_of(packet)
        interface = interface_of(route)
        # Of a link-local address, and of one in a VRF, it depends on the interface whose it is.
        ways = (interface, 0) if address.startswith(_LINK_LOCAL) else (0, interface)
        way = next((each for each in ways if self._routes is not None and self._routes.is_local(address, each)), None)
        if way is None:
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        raw.send(packet, way << INTERFACE_SHIFT)
        self.sent += 1

    def _count(self, error: Exception) -> None:
        number = error.errno if isinstance(error, OSError) else None
        name = errno.errorcode.get(number, "OSError") if number is not None else type(error).__name__
        self.errors[name] += 1
        if self.errors[name] == 1:
            _log.warning(
                "a packet could not be injected (%s%s); further ones are only counted", name, blamed_for(number)
            )

    def counters(self) -> dict[str, int]:
        """Packets sent, and failures."""
        return {"injected": self.sent, "injection_errors": self.errors.total()}

    def close(self) -> None:
        """Closes the sockets."""
        for each in self._sockets.values():
            each.close()
        self._sockets.clear()
        if self._routes is not None:
            self._routes.close()
