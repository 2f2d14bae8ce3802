"""Raw sockets for the packets that the daemon makes itself.

A packet for the local kernel is sent to a local address, so it takes the loopback interface. It is not lost there
although its source is a remote host: it keeps the route that was found on the way out, and neither the reverse path
filter nor the check for martian sources looks at packets that have a route.
"""

import errno
import logging
import socket
import time
from collections import Counter

from tcpcryptd.core.verdict import Direction
from tcpcryptd.netio.errors import ExitCode, InjectorError
from tcpcryptd.netio.forwarded import fitting
from tcpcryptd.netio.marks import MarkScheme

_SEND_BUFFER = 4 << 20
_IPV4_DESTINATION = slice(16, 20)
_IPV6_DESTINATION = slice(24, 40)

_log = logging.getLogger(__name__)


class Injector:
    """Sends whole IP packets in either direction, marked so that the firewall does not divert them.

    Raises InjectorError when raw sockets cannot be had.
    """

    def __init__(self, marks: MarkScheme) -> None:
        self.sent = 0
        self.errors: Counter[str] = Counter()
        """By name of the error."""
        self._sockets: dict[tuple[int, Direction], socket.socket] = {}
        try:
            for direction in Direction:
                mark = marks.of_injection(direction)
                self._sockets[4, direction] = _open(socket.AF_INET, mark)
                try:
                    self._sockets[6, direction] = _open(socket.AF_INET6, mark)
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

    def inject(self, direction: Direction, packet: bytes) -> None:
        """Sends a packet, which begins with its IP header; a failure is counted, never raised."""
        try:
            version = packet[0] >> 4
            if version == 4:
                destination = socket.inet_ntop(socket.AF_INET, packet[_IPV4_DESTINATION])
            else:
                destination = socket.inet_ntop(socket.AF_INET6, packet[_IPV6_DESTINATION])
            try:
                self._sockets[version, direction].sendto(packet, (destination, 0))
                self.sent += 1
            except OSError as error:
                # To a host behind this one; to the local kernel there is no such limit.
                if error.errno != errno.EMSGSIZE or direction is not Direction.IN:
                    raise
                for piece in fitting(packet, time.monotonic()):
                    self._sockets[version, direction].sendto(piece, (destination, 0))
                    self.sent += 1
        except (OSError, KeyError, IndexError, ValueError) as error:
            self._count(error)

    def _count(self, error: Exception) -> None:
        number = error.errno if isinstance(error, OSError) else None
        name = errno.errorcode.get(number, "OSError") if number is not None else type(error).__name__
        self.errors[name] += 1
        if self.errors[name] == 1:
            _log.warning("a packet could not be injected (%s); further ones are only counted", name)

    def counters(self) -> dict[str, int]:
        """Packets sent, and failures."""
        return {"injected": self.sent, "injection_errors": self.errors.total()}

    def close(self) -> None:
        """Closes the sockets."""
        for each in self._sockets.values():
            each.close()
        self._sockets.clear()


def _open(family: socket.AddressFamily, mark: int) -> socket.socket:
    # IPPROTO_RAW implies that the caller writes the IP header, with IPv6 as well (raw(7)).
    raw = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW)
    try:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    except OSError:
        raw.close()
        raise
    return raw
