"""One client of the control socket: requests in, replies out, with bounded memory and bounded work for each turn."""

import contextlib
import enum
import select
import socket
import struct
from collections.abc import Callable

from tcpcryptd.control.codec import Refusal, Reply, Request, Result, decode_request, encode_reply
from tcpcryptd.control.errors import BadMessage, MessageTooLong
from tcpcryptd.control.line_buffer import LineBuffer
from tcpcryptd.netio.clients.control_handlers import Caller, Page, Pages
from tcpcryptd.netio.clients.descriptor_examiner import DescriptorExaminer
from tcpcryptd.netio.clients.refusal import Refused
from tcpcryptd.netio.clients.socket_identity import SocketIdentity

RequestHandler = Callable[[Request, Caller], Pages]

_RECEIVE_BYTES = 16_384
_HANG_UP_ONLY = select.EPOLLONESHOT
"""No event but EPOLLHUP and EPOLLERR, which are always waited for."""
_MAX_DESCRIPTORS = 253
"""SCM_MAX_FD (net/scm.h)."""
_CREDENTIALS = struct.Struct("=iII")
"""struct ucred: process, user, group."""


class _Input(enum.Enum):
    OPEN = enum.auto()
    ENDED = enum.auto()
    """The client sends nothing more; it gets the answers to what it sent."""
    REFUSED = enum.auto()
    """What comes is not lines: the client gets a reply that says so, and is dropped."""


class ControlConnection:
    """A connected client. It is not read from while it has requests or replies pending, so neither can pile up."""

    def __init__(self, client: socket.socket, handle: RequestHandler, examiner: DescriptorExaminer, now: float) -> None:
        client.setblocking(False)
        self._socket = client
        self._handle = handle
        self._examiner = examiner
        self._examining = False
        self._passed: SocketIdentity | Refused | None = None
        credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        self.user_id: int = _CREDENTIALS.unpack(credentials)[1]
        self.last_active = now
        """Monotonic seconds at which bytes last moved."""
        self._input = _Input.OPEN
        self._lines = LineBuffer()
        self._output = b""
        self._pages: Pages | None = None
        self._next_page: Page | None = None
        self._request_id = 0

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Hangs up."""
        self._pages = None
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        # Descriptors that were not read are closed with the socket, which can block.
        self._examiner.discard(self._socket.detach())

    def interest(self) -> int:
        """The epoll events to wait for; 0: there is nothing left to do and the client can be dropped."""
        if self._examining:
            return _HANG_UP_ONLY
        if self._busy:
            return select.EPOLLOUT
        return select.EPOLLIN if self._input is _Input.OPEN else 0

    def serve(self, events: int, now: float) -> None:
        """Does a little of the pending work; raises OSError when the client is gone."""
        if not self._busy and events & (select.EPOLLIN | select.EPOLLHUP):
            self._receive(now)
        elif events & (select.EPOLLHUP | select.EPOLLERR):
            raise ConnectionResetError
        if not self._output and not self._examining:
            self._work(now)
        if self._output:
            self._send(now)

    @property
    def _busy(self) -> bool:
        return bool(self._output or self._pages or self._examining) or (
            self._input is not _Input.REFUSED and self._lines.has_line()
        )

    def _receive(self, now: float) -> None:
        with contextlib.suppress(BlockingIOError):
            # With less room than the kernel passes at most, it would close some itself, at once.
            data, descriptors, _, _ = socket.recv_fds(
                self._socket, _RECEIVE_BYTES, _MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
            )
            if descriptors:
                self._take(descriptors)
            if data:
                self._lines.feed(data)
                self.last_active = now
            else:
                self._input = _Input.ENDED

    def _take(self, descriptors: list[int]) -> None:
        """One descriptor belongs to the next request that wants one. More make no sense."""
        if len(descriptors) == 1:
            self._examining = True
            self._examiner.examine(descriptors[0], self)
            return
        for descriptor in descriptors:
            self._examiner.discard(descriptor)
        self._passed = Refused("EBADF", "more than one descriptor came with a request")

    def examined(self, result: SocketIdentity | Refused) -> None:
        """Takes the result of a descriptor's examination."""
        self._passed = result
        self._examining = False

    def _send(self, now: float) -> None:
        with contextlib.suppress(BlockingIOError):
            sent = self._socket.send(self._output)
            self._output = self._output[sent:]
            self.last_active = now

    def _work(self, now: float) -> None:
        if self._pages is not None:
            self._take_page()
            return
        try:
            line = self._lines.next_line() if self._input is not _Input.REFUSED else None
            if line is not None:
                self._begin(decode_request(line), now)
        except MessageTooLong as error:
            self._input = _Input.REFUSED
            self._reply(Refusal(error.request_id, error.errno_name, str(error)))
        except BadMessage as error:
            self._reply(Refusal(error.request_id, error.errno_name, str(error)))

    def _begin(self, request: Request, now: float) -> None:
        self._request_id = request.id
        self._next_page = None
        self._pages = self._handle(request, Caller(self.user_id, now, self._passed))
        self._passed = None if not self._lines.has_line() else self._passed
        self._take_page()

    def _take_page(self) -> None:
        """Asks for one page. A page is sent when the next is there, since it says whether there is more."""
        pages, page = self._pages, self._next_page
        if pages is None:
            return
        try:
            following = next(pages)
        except StopIteration:
            self._pages = None
            self._reply(Result(self._request_id, page or {}))
        except Refused as refused:
            self._pages = None
            self._reply(Refusal(self._request_id, refused.errno, str(refused)))
        else:
            self._next_page = following
            if page is not None:
                self._reply(Result(self._request_id, page, more=True))

    def _reply(self, reply: Reply) -> None:
        try:
            self._output = encode_reply(reply)
        except MessageTooLong as error:
            self._pages = None
            self._output = encode_reply(Refusal(reply.id, error.errno_name, "the answer is too long"))
