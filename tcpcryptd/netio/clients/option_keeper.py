"""Forgets the options for sockets that are gone, so that the next owner of a port does not inherit them."""

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from typing import Protocol

from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.limits import MAX_OPTIONS
from tcpcryptd.core.options import ConnectionOptions
from tcpcryptd.netio.kernel.sock_diag import TcpSockets, list_tcp_sockets, reports_bound_sockets

INTERVAL = 10.0
"""Seconds between two readings of the kernel's list of sockets."""
UNSEEN_ROUNDS = 30
"""How often a socket may be missing on a kernel that does not list all (before Linux 6.8)."""

_log = logging.getLogger(__name__)


class OptionEngine(Protocol):
    """What is needed of the engine."""

    def endpoints_with_options(self) -> list[Endpoint]:
        """The local ends that options are kept for."""

    def set_options(self, options: ConnectionOptions, local: Endpoint, remote: Endpoint | None = None) -> bool:
        """Replaces the options."""


class OptionKeeper:
    """A source of the event loop. A thread asks the kernel, which takes time when there are many sockets.

    It starts with the first option, and only looks when there are any.
    """

    def __init__(
        self,
        engine: OptionEngine,
        interval: float = INTERVAL,
        list_sockets: Callable[[], TcpSockets] = list_tcp_sockets,
    ) -> None:
        self._engine = engine
        self._interval = interval
        self._list_sockets = list_sockets
        self._cookies: dict[Endpoint, int | None] = {}
        self._unseen: dict[Endpoint, int] = {}
        self._seen: TcpSockets | None = None
        self._asked_for: dict[Endpoint, int | None] = {}
        self._asking = False
        self._patience = 0
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._wanted, self._stopping = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def keep(self, local: Endpoint, cookie: int | None) -> None:
        """Notes that the socket with this cookie sets options for a local end; forgets those of another socket."""
        previous = self._cookies.get(local)
        if previous is not None and previous != cookie:
            self._engine.set_options(ConnectionOptions(), local)
        self._cookies[local] = cookie
        self._unseen.pop(local, None)
        if len(self._cookies) > 2 * MAX_OPTIONS:
            self._forget_unknown()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="sockets", daemon=True)
            self._thread.start()
        self._begin()

    def fileno(self) -> int:
        """An eventfd."""
        return self._wake

    def handle_ready(self) -> None:
        """Takes what the thread has found."""
        os.eventfd_read(self._wake)
        self._asking = False
        seen, self._seen = self._seen, None
        if seen is not None:
            self._sweep(seen)
        self._forget_unknown()
        self._begin()

    def close(self) -> None:
        """Ends the thread."""
        self._stopping.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()
        os.close(self._wake)

    def _forget_unknown(self) -> None:
        """Ends for which the engine keeps no options need no cookie; some options come without one."""
        self._cookies = {local: self._cookies.get(local) for local in self._engine.endpoints_with_options()}
        self._unseen = {local: count for local, count in self._unseen.items() if local in self._cookies}

    def _begin(self) -> None:
        if self._cookies and not self._asking:
            self._asking = True
            # What is set from now on is none of the next round's business: its socket may be younger than the list.
            self._asked_for = dict(self._cookies)
            self._wanted.set()

    def _sweep(self, seen: TcpSockets) -> None:
        for local, cookie in self._asked_for.items():
            if self._cookies.get(local, -1) != cookie:
                continue
            if cookie in seen.cookies if cookie is not None else local.port in seen.ports:
                self._unseen.pop(local, None)
                continue
            self._unseen[local] = self._unseen.get(local, 0) + 1
            if self._unseen[local] > self._patience:
                self._engine.set_options(ConnectionOptions(), local)

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            self._patience = 0 if reports_bound_sockets() else UNSEEN_ROUNDS
        while self._wanted.wait() and not self._stopping.wait(self._interval):
            try:
                self._seen = self._list_sockets()
            except OSError as error:
                _log.warning("the kernel does not list its TCP sockets: %s", error.strerror)
            self._wanted.clear()
            if self._stopping.is_set():
                return
            os.eventfd_write(self._wake, 1)
