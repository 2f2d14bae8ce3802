"""Answers programs that use the original library (libtcpcrypt): datagrams on loopback, with bounded work for each."""

import contextlib
import errno
import logging
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tcpcryptd.control.codec import Request
from tcpcryptd.control.errors import BadMessage
from tcpcryptd.control.libtcpcrypt import MAX_DATAGRAM, LibraryMessage, LibraryOption, LibraryRecord, encode_records
from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.event import Disabled, Event, Negotiated, PeerRefused
from tcpcryptd.netio.clients.control_handlers import Caller, Pages
from tcpcryptd.netio.clients.library_options import Ends, LibraryOptions
from tcpcryptd.netio.clients.refusal import Refused
from tcpcryptd.netio.errors import DaemonError, ExitCode
from tcpcryptd.netio.kernel.sock_diag import datagram_owner
from tcpcryptd.records.connection_info import ConnectionInfo

ADDRESS = "127.0.0.1"
MAX_WAITING = 64
"""Questions that wait for the end of a handshake; the oldest is told to ask again."""
MAX_LISTINGS = 8
"""Lists of connections that are being made; further ones are told to ask again."""

_log = logging.getLogger(__name__)


class _Question(NamedTuple):
    sender: tuple[str, int]
    user_id: int
    message: LibraryMessage


class _Listing:
    """An answer to NETSTAT that grows page by page."""

    def __init__(self, question: _Question, pages: Pages) -> None:
        self.question = question
        self._pages = pages
        self._records: list[LibraryRecord] = []

    def advance(self) -> bytes | None:
        """Takes a page; the data of the answer once it is complete. Raises Refused."""
        page = next(self._pages, None)
        room = len(self.question.message.data)
        if page is not None:
            rows = page["sessions"]
            self._records += _records(map(ConnectionInfo.from_message, rows if isinstance(rows, list) else ()))
            if len(encode_records(self._records, room)) == len(encode_records(self._records, MAX_DATAGRAM)):
                return None
        return encode_records(self._records, room)


class LibraryServer:
    """A source of the event loop. Nothing that a datagram holds makes it raise.

    A datagram tells nothing of its sender but a port: whoever owns the UDP socket there by the time it is read is taken
    for the sender. Raises DaemonError when the port cannot be had. To be made as root.
    """

    def __init__(self, port: int, options: LibraryOptions, list_sessions: Callable[[Request, Caller], Pages]) -> None:
        """`list_sessions` handles the request `sessions` of the control protocol."""
        self._options = options
        self._list_sessions = list_sessions
        self._waiting: dict[Ends, list[_Question]] = {}
        self._decided: deque[_Question] = deque()
        self._listings: deque[_Listing] = deque()
        self._failed = False
        self._socket = _bind(port)
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll = select.epoll()
        self._epoll.register(self._socket, select.EPOLLIN)
        self._epoll.register(self._wake, select.EPOLLIN)

    def fileno(self) -> int:
        """The descriptor of an epoll instance."""
        return self._epoll.fileno()

    def handle_ready(self) -> None:
        """Takes one datagram, and goes on with one of the answers that take time."""
        try:
            self._work()
        except Exception as error:
            # A bug, which must not stop the daemon. The message may quote what it failed on.
            if not self._failed:
                self._failed = True
                _log.error(
                    "a request of the library failed with %s; further ones are not reported", type(error).__name__
                )

    def close(self) -> None:
        """Closes the port."""
        self._epoll.close()
        os.close(self._wake)
        self._socket.close()

    def on_event(self, event: Event) -> None:
        """Answers clients that wait for the end of this connection's handshake, soon."""
        match event:
            case Negotiated() | Disabled() | PeerRefused():
                self.on_decided(event.local, event.remote)

    def on_decided(self, local: Endpoint, remote: Endpoint) -> None:
        """The same, for a caller that knows only the two ends."""
        self._decided += self._waiting.pop((local, remote), ())
        self._stay_ready()

    def _work(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        try:
            if self._decided:
                self._answer(self._decided.popleft())
            elif self._listings:
                self._go_on(self._listings.popleft())
            self._receive()
        finally:
            self._stay_ready()

    def _stay_ready(self) -> None:
        if self._decided or self._listings:
            os.eventfd_write(self._wake, 1)

    def _receive(self) -> None:
        try:
            datagram, sender = self._socket.recvfrom(MAX_DATAGRAM + 1)
            message = LibraryMessage.decode(datagram)
            user_id = datagram_owner(sender, (ADDRESS, self._socket.getsockname()[1]))
        except (OSError, BadMessage):
            return
        if user_id is not None:
            self._answer(_Question(sender, user_id, message))

    def _answer(self, question: _Question) -> None:
        message = question.message
        try:
            if message.option == LibraryOption.NETSTAT and not message.sets:
                self._begin_listing(question)
            elif (data := self._data(question)) is not None:
                self._send(question, message.answered(data))
        except Refused as refused:
            self._refuse(question, refused)

    def _data(self, question: _Question) -> bytes | None:
        """None when the question has to wait for the end of a handshake. Raises Refused."""
        message = question.message
        try:
            return self._options.answer(message, question.user_id)
        except Refused as refused:
            ends = LibraryOptions.ends(message)
            if refused.errno != "EAGAIN" or ends is None:
                raise
            if self._options.is_undecided(ends):
                self._wait(question, ends)
                return None
        # The handshake has ended in between: a worker does not wait for us.
        return self._options.answer(message, question.user_id)

    def _begin_listing(self, question: _Question) -> None:
        if len(self._listings) >= MAX_LISTINGS:
            raise Refused("EAGAIN", "too many lists are being made")
        caller = Caller(question.user_id, time.monotonic())
        self._listings.append(_Listing(question, self._list_sessions(Request(0, "sessions", {"all": False}), caller)))

    def _go_on(self, listing: _Listing) -> None:
        try:
            data = listing.advance()
        except Refused as refused:
            self._refuse(listing.question, refused)
            return
        if data is None:
            self._listings.append(listing)
        else:
            self._send(listing.question, listing.question.message.answered(data))

    def _wait(self, question: _Question, ends: Ends) -> None:
        if sum(map(len, self._waiting.values())) >= MAX_WAITING:
            oldest = next(iter(self._waiting))
            for late in self._waiting.pop(oldest):
                self._refuse(late, Refused("EAGAIN", "too many requests are waiting"))
        self._waiting.setdefault(ends, []).append(question)

    def _refuse(self, question: _Question, refused: Refused) -> None:
        number = getattr(errno, refused.errno, errno.EIO)
        self._send(question, question.message.answered(error=number))

    def _send(self, question: _Question, answer: LibraryMessage) -> None:
        with contextlib.suppress(OSError):
            self._socket.sendto(answer.encode(), question.sender)


def _records(sessions: Iterator[ConnectionInfo]) -> Iterator[LibraryRecord]:
    """The library knows IPv4 alone."""
    for session in sessions:
        if session.session_id is not None and ":" not in session.local.address:
            yield LibraryRecord(session.local, session.remote, session.session_id)


def _bind(port: int) -> socket.socket:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        server.setblocking(False)
        # With route_localnet, hosts on the network can reach the address.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
        server.bind((ADDRESS, port))
    except OSError as error:
        server.close()
        code = ExitCode.BUSY if error.errno == errno.EADDRINUSE else ExitCode.FAILURE
        raise DaemonError(f"UDP port {port} of {ADDRESS}, for --libtcpcrypt-port: {error.strerror}", code) from error
    return server
