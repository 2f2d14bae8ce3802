"""Looks at descriptors that clients pass, in a thread of its own.

To look at a socket that another process has locked can block, and so can closing one that lingers (SO_LINGER), or a
file of a file system in user space. Clients choose what they pass: it may keep other clients waiting, not the packets.
"""

import contextlib
import os
import queue
import socket
import threading
from typing import Protocol

from tcpcryptd.netio.clients.refusal import Refused
from tcpcryptd.netio.clients.socket_identity import SocketIdentity, identify, namespace_cookie

MAX_WAITING = 256
"""Descriptors that wait for the thread; beyond it none is looked at."""

Result = SocketIdentity | Refused


class Owner(Protocol):
    """The client that waits for the result."""

    def fileno(self) -> int:
        """Its own descriptor, -1 when it is closed."""

    def examined(self, result: Result) -> None:
        """Takes the result."""


class DescriptorExaminer:
    """Takes over descriptors and closes them soon. Its own descriptor is readable when there are results.

    Sockets must be of the network namespace in which this was made. The thread starts with the first descriptor, so
    that it has the privileges of that moment.
    """

    def __init__(self) -> None:
        self._namespace: bytes | None = None
        with socket.socket() as own, contextlib.suppress(OSError):
            self._namespace = namespace_cookie(own)
        self._jobs: queue.SimpleQueue[tuple[int, Owner | None] | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[Owner, Result]] = queue.SimpleQueue()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread: threading.Thread | None = None

    def fileno(self) -> int:
        """An eventfd."""
        return self._wake

    def examine(self, descriptor: int, owner: Owner) -> None:
        """The result is handed over by `deliver`."""
        if self._jobs.qsize() < MAX_WAITING:
            self._submit(descriptor, owner)
        else:
            self.discard(descriptor)
            self._answer(owner, Refused("EAGAIN", "too many descriptors are waiting"))

    def discard(self, descriptor: int) -> None:
        """Closes a descriptor that is not wanted."""
        self._submit(descriptor, None)

    def deliver(self) -> list[Owner]:
        """Hands over the results so far; returns the clients that got one."""
        os.eventfd_read(self._wake)
        served = []
        while not self._results.empty():
            owner, result = self._results.get()
            owner.examined(result)
            served.append(owner)
        return served

    def close(self) -> None:
        """Ends the thread when it has nothing left to do; waits only a moment for it."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join(1)
            if self._thread.is_alive():
                # It may still write to the eventfd, whose number must not be another file's then.
                return
        os.close(self._wake)

    def _submit(self, descriptor: int, owner: Owner | None) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="descriptors", daemon=True)
            self._thread.start()
        self._jobs.put((descriptor, owner))

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            descriptor, owner = job
            if owner is not None:
                self._answer(owner, self._look_at(descriptor))
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _answer(self, owner: Owner, result: Result) -> None:
        self._results.put((owner, result))
        os.eventfd_write(self._wake, 1)

    def _look_at(self, descriptor: int) -> Result:
        if self._namespace is None:
            return Refused(
                "EOPNOTSUPP", "this kernel does not tell the network namespace of a socket (Linux 5.14 does)"
            )
        try:
            return identify(descriptor, self._namespace)
        except Refused as refused:
            return refused
