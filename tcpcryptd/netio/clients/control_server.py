"""The control socket: clients of all users, none of whom can keep the daemon from its work."""

import contextlib
import errno
import logging
import os
import select
import socket
import stat
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tcpcryptd.netio.clients.control_connection import ControlConnection, RequestHandler
from tcpcryptd.netio.clients.descriptor_examiner import DescriptorExaminer
from tcpcryptd.netio.errors import DaemonError, ExitCode

MAX_CLIENTS = 64
MAX_CLIENTS_PER_USER = 16
"""For each user except root. At a limit, the client that was silent for the longest time is dropped."""
IDLE_SECONDS = 60.0
"""A client that neither sends nor reads for so long is dropped."""

_log = logging.getLogger(__name__)

_CLIENTS_PER_TURN = 1
_ACCEPTED_PER_TURN = 16
"""Of those that wait to be accepted. All others have had their turn before the next ones are, however much they ask."""
_BACKLOG = 128
_MODE = 0o666
_ROOT = 0
_OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


class Companion(Protocol):
    """A source of events that lives and ends with the server."""

    def fileno(self) -> int:
        """A descriptor that is readable when there is work."""

    def handle_ready(self) -> None:
        """Does some of the work."""

    def close(self) -> None:
        """Ends it."""


class ControlServer:
    """A source of the event loop: its descriptor is an epoll instance that is readable when there is work.

    The socket's file is there from the start, but it answers only from the loop's first turn on: whoever can connect
    knows that the daemon is at work. A file that is left over is replaced when nobody answers on it.
    Raises DaemonError.
    """

    def __init__(self, path: Path, handle: RequestHandler, companions: Sequence[Companion] = ()) -> None:
        self._path = path
        self._companions = {companion.fileno(): companion for companion in companions}
        self._handle = handle
        self._failed = False
        self._clients: dict[int, ControlConnection] = {}
        self._examiner = DescriptorExaminer()
        self._listener = _bind(path)
        self._identity = _identity(path)
        self._epoll = select.epoll()
        for descriptor in (self._examiner.fileno(), *self._companions):
            self._epoll.register(descriptor, select.EPOLLIN)
        # Readable until the first turn.
        self._start = os.eventfd(1, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._start, select.EPOLLIN)
        # Given up for a moment to turn clients away when there are no more descriptors.
        self._spare: int | None = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def fileno(self) -> int:
        """The epoll instance's descriptor."""
        return self._epoll.fileno()

    def handle_ready(self) -> None:
        """Serves the client whose turn it is, a little."""
        now = time.monotonic()
        # The kernel gives those that are ready in turn.
        for descriptor, events in self._epoll.poll(0, _CLIENTS_PER_TURN):
            if descriptor == self._start:
                self._listen()
            elif descriptor == self._listener.fileno():
                for _ in range(_ACCEPTED_PER_TURN):
                    if not self._accept(now):
                        break
            elif descriptor == self._examiner.fileno():
                self._serve_examined(now)
            elif descriptor in self._companions:
                self._companions[descriptor].handle_ready()
            elif descriptor in self._clients:
                self._serve(self._clients[descriptor], events, now)
        self._drop_idle(now)

    def close(self) -> None:
        """Disconnects the clients and removes the socket's file, if it is still this server's."""
        for client in list(self._clients.values()):
            self._drop(client)
        for companion in self._companions.values():
            companion.close()
        self._examiner.close()
        self._listener.close()
        self._epoll.close()
        os.close(self._start)
        if self._spare is not None:
            os.close(self._spare)
        with contextlib.suppress(OSError):
            if _identity(self._path) == self._identity:
                self._path.unlink()

    def _listen(self) -> None:
        os.eventfd_read(self._start)
        if _identity(self._path) != self._identity:
            raise DaemonError(f"{self._path}: another tcpcryptd has started on it", ExitCode.BUSY)
        self._listener.listen(_BACKLOG)
        self._epoll.register(self._listener.fileno(), select.EPOLLIN)

    def _accept(self, now: float) -> bool:
        """Whether a client was accepted."""
        try:
            accepted, _ = self._listener.accept()
        except OSError as error:
            if error.errno in _OUT_OF_DESCRIPTORS:
                self._turn_away()
            return False
        try:
            client = ControlConnection(accepted, self._handle, self._examiner, now)
        except OSError:
            accepted.close()
            return False
        self._make_room(client.user_id)
        self._clients[client.fileno()] = client
        self._epoll.register(client.fileno(), client.interest())
        return True

    def _turn_away(self) -> None:
        # What cannot be accepted stays ready, and the loop would spin.
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None
        with contextlib.suppress(OSError):
            self._listener.accept()[0].close()
        with contextlib.suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _make_room(self, user_id: int) -> None:
        by_user = Counter(client.user_id for client in self._clients.values())
        if user_id != _ROOT and by_user[user_id] >= MAX_CLIENTS_PER_USER:
            self._drop_most_idle(user_id)
        elif len(self._clients) >= MAX_CLIENTS:
            self._drop_most_idle(by_user.most_common(1)[0][0])

    def _drop_most_idle(self, user_id: int) -> None:
        own = (client for client in self._clients.values() if client.user_id == user_id)
        self._drop(min(own, key=lambda client: client.last_active))

    def _drop_idle(self, now: float) -> None:
        # Only when something else happens: by itself, a silent client costs nothing.
        for client in list(self._clients.values()):
            if now - client.last_active > IDLE_SECONDS:
                self._drop(client)

    def _serve_examined(self, now: float) -> None:
        for owner in self._examiner.deliver():
            client = self._clients.get(owner.fileno())
            if client is owner:
                self._serve(client, 0, now)

    def _serve(self, client: ControlConnection, events: int, now: float) -> None:
        try:
            client.serve(events, now)
            interest = client.interest()
        except OSError:
            interest = 0
        except Exception as error:
            # A bug, which must not stop the daemon. The message may quote what it failed on.
            interest = 0
            if not self._failed:
                self._failed = True
                _log.error("a request failed with %s; further ones are not reported", type(error).__name__)
        if interest:
            self._epoll.modify(client.fileno(), interest)
        else:
            self._drop(client)

    def _drop(self, client: ControlConnection) -> None:
        del self._clients[client.fileno()]
        self._epoll.unregister(client.fileno())
        client.close()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _bind(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        listener.setblocking(False)
        listener.bind(str(path))
        path.chmod(_MODE)
    except DaemonError:
        listener.close()
        raise
    except OSError as error:
        listener.close()
        # Python's own words for a path that is too long come without a number.
        raise DaemonError(f"control socket {path}: {error.strerror or error}", ExitCode.FAILURE) from error
    return listener


def _remove_stale(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise DaemonError(f"control socket {path}: the file exists and is not a socket; remove it", ExitCode.USAGE)
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            # Somebody listens and is busy.
            pass
    raise DaemonError(
        f"tcpcryptd is already running: it answers on {path}. Stop it, or give this one another --runtime-directory",
        ExitCode.BUSY,
    )
