"""The way out for what the engine has cut into packets: in order, and no faster than the interface takes it.

A packet that was cut gets its verdict when its pieces have found room in a socket's buffer. Until then the kernel's TCP
knows that it has not left (TCP small queues), and sends no more of its connection. Without that it fills the queue of
an interface that is slower than the sender, whose length the connection's round trips and losses then depend on.
"""

import contextlib
import errno
import logging
import select
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from tcpcryptd.core.verdict import Direction
from tcpcryptd.netio.errors import ExitCode, InjectorError
from tcpcryptd.netio.kernel.raw_socket import blamed_for, open_raw
from tcpcryptd.netio.kernel.route import interface_of
from tcpcryptd.netio.kernel.routing_tables import KernelRoutes
from tcpcryptd.netio.kernel.sendmmsg import ManySender
from tcpcryptd.netio.marks import MarkScheme

SEND_BUFFER = 64 << 10
"""Bytes as the kernel counts them, some 28 full segments: below that it asks for more, and refuses above the double."""
LANES = 4
"""Sockets for each IP version: interfaces whose numbers differ modulo this do not wait for each other."""
PATIENCE = 1.0
"""Seconds for which a firewall may refuse all of a flow: rules that are loaded anew can do that for a moment."""
MAX_REFUSED = 1024

_log = logging.getLogger(__name__)


@dataclass
class _Waiting:
    """Packets that wait for room, and what is called when they have found it."""

    packets: bytes
    route: int
    flow: bytes
    done: Callable[[], None]


@dataclass
class _Lane:
    sender: ManySender
    waiting: deque[_Waiting]


class Outlet:
    """Raw sockets towards the wire; a source of the event loop, ready when there is room for what waits.

    Raises InjectorError when raw sockets cannot be had.
    """

    def __init__(self, marks: MarkScheme) -> None:
        self.errors: Counter[str] = Counter()
        """By name of the error."""
        self.waiting = 0
        """How many calls of `send` are not finished."""
        self.on_refused: Callable[[bytes], None] = lambda _packet: None
        """Given a packet of a flow of which the firewall lets nothing out."""
        self._refused: dict[bytes, float] = {}
        """Since when, by flow."""
        self._waits = 0
        self._sockets = contextlib.ExitStack()
        self._epoll = self._sockets.enter_context(select.epoll())
        self._lanes: dict[tuple[int, int], _Lane] = {}
        self._by_descriptor: dict[int, _Lane] = {}
        try:
            routes = KernelRoutes()
            self._sockets.callback(routes.close)
            for version in (4, 6):
                for number in range(LANES):
                    self._open_lane(version, number, marks.of_injection(Direction.OUT), routes)
        except OSError as error:
            self.close()
            raise InjectorError(f"raw sockets cannot be opened: {error.strerror}", ExitCode.UNSUPPORTED) from error

    def _open_lane(self, version: int, number: int, mark: int, routes: KernelRoutes) -> None:
        try:
            raw = open_raw(version, mark, SEND_BUFFER, routes)
        except OSError as error:
            # A kernel without IPv6 has no such packets either.
            if version == 6 and error.errno == errno.EAFNOSUPPORT:
                return
            raise
        self._sockets.enter_context(raw.socket)
        lane = _Lane(ManySender(raw, self._count), deque())
        self._lanes[version, number] = self._by_descriptor[raw.socket.fileno()] = lane

    def send(self, packets: bytes, route: int, done: Callable[[], None]) -> bool:
        """Sends adjacent IP packets of one flow by its way (see ManySender.send), after those that wait for that.

        Whether all of them have found room; otherwise `done` is called when they have.
        """
        lane = self._lanes.get((packets[0] >> 4, interface_of(route) % LANES))
        if lane is None:
            return True
        if not lane.waiting:
            packets = self._send_some(lane, packets, route)
            if not packets:
                return True
            self._epoll.register(lane.sender.fileno(), select.EPOLLOUT)
        lane.waiting.append(_Waiting(packets, route, _flow(packets), done))
        self.waiting += 1
        self._waits += 1
        return False

    def is_waiting(self, packet: bytes, route: int) -> bool:
        """Whether packets of the same flow wait, so that this one would overtake them."""
        lane = self._lanes.get((packet[0] >> 4, interface_of(route) % LANES))
        flow = _flow(packet)
        return lane is not None and any(entry.flow == flow for entry in lane.waiting)

    def fileno(self) -> int:
        """Readable when there is room for what waits."""
        return self._epoll.fileno()

    def handle_ready(self) -> None:
        """Sends what there is room for."""
        for descriptor, _ in self._epoll.poll(0.0):
            lane = self._by_descriptor[descriptor]
            while lane.waiting:
                first = lane.waiting[0]
                first.packets = self._send_some(lane, first.packets, first.route)
                if first.packets:
                    break
                lane.waiting.popleft()
                self.waiting -= 1
                first.done()
            if not lane.waiting:
                self._epoll.unregister(descriptor)

    def _send_some(self, lane: _Lane, packets: bytes, route: int) -> bytes:
        """See ManySender.send."""
        before = lane.sender.sent
        rest = lane.sender.send(packets, route)
        if self._refused and lane.sender.sent > before:
            self._refused.pop(_flow(packets), None)
        return rest

    def _count(self, error: OSError, packet: bytes) -> None:
        name = errno.errorcode.get(error.errno or 0, "OSError")
        self.errors[name] += 1
        if self.errors[name] == 1:
            reason = blamed_for(error.errno)
            _log.warning("a segment could not be sent (%s%s); further ones are only counted", name, reason)
        if error.errno == errno.EPERM:
            self._note_refusal(packet)

    def _note_refusal(self, packet: bytes) -> None:
        flow, now = _flow(packet), time.monotonic()
        since = self._refused.get(flow)
        if since is None:
            if len(self._refused) >= MAX_REFUSED:
                del self._refused[next(iter(self._refused))]
            self._refused[flow] = now
        elif now >= since + PATIENCE:
            del self._refused[flow]
            self.on_refused(packet)

    def counters(self) -> dict[str, int]:
        """Segments that were sent, and that could not be; how often there was no room at once for those of a packet."""
        sent = sum(lane.sender.sent for lane in self._lanes.values())
        return {"segments_sent": sent, "segment_errors": self.errors.total(), "segment_waits": self._waits}

    def close(self) -> None:
        """Closes the sockets; what waits is lost."""
        self._lanes.clear()
        self._by_descriptor.clear()
        self._sockets.close()


def _flow(packet: bytes) -> bytes:
    """Tells the flows of one IP version apart, those with IP options or extension headers by their addresses."""
    return packet[12:24] if packet[0] >> 4 == 4 else packet[8:44]
