"""The process that forks workers: it has no threads, no engine and no packets, and is done when the daemon is."""

import contextlib
import gc
import logging
import os
import select
import signal
import socket
from collections.abc import Callable

import prctl

from tcpcryptd.netio.errors import DaemonError
from tcpcryptd.netio.workers.channel import Channel, Closed, Json, socket_pair

WorkerMain = Callable[[int, socket.socket], None]
"""Runs in a worker: its number, and its end of the channel to the daemon."""

_EXIT_SECONDS = 2.0
_SIGNALS_OF_THE_DAEMON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_log = logging.getLogger(__name__)


class ForkServer:
    """The daemon's side.

    It forks at once: to be made before threads are started, and before anything is opened that workers should not have.
    """

    def __init__(self, prepare: Callable[[], None], main: WorkerMain) -> None:
        """`prepare` runs once, in the new process, and gives up privileges."""
        ours, theirs = socket_pair()
        daemon = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            ours.close()
            _run_and_exit(lambda: _ForkServerProcess(Channel(theirs), main).run(daemon, prepare))
        theirs.close()
        self._channel = Channel(ours)

    def fileno(self) -> int:
        """Readable when `receive` has something to tell, or the process is gone."""
        return self._channel.fileno()

    def spawn(self, index: int) -> socket.socket | None:
        """Has a worker forked; this side's end of the channel to it, None when it cannot be had."""
        ours, theirs = socket_pair()
        with theirs, contextlib.suppress(Closed):
            if self._channel.send(["spawn", index], [theirs.fileno()]):
                return ours
        ours.close()
        return None

    def kill(self, index: int) -> None:
        """Ends a worker without giving it a chance (SIGKILL)."""
        with contextlib.suppress(Closed):
            self._channel.send(["kill", index])

    def receive(self) -> list[Json] | None:
        """["started", index, process ID], ["ended", index, exit status], or None; raises Closed."""
        return self._channel.receive()

    def close(self) -> None:
        """Ends the process, and with it all workers that are left."""
        self._channel.close()
        descriptor = os.pidfd_open(self._pid)
        try:
            if not select.select([descriptor], [], [], _EXIT_SECONDS)[0]:
                # It was stopped, or has not got the processor. Workers are killed with it.
                os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        finally:
            os.close(descriptor)


class _ForkServerProcess:
    def __init__(self, channel: Channel, main: WorkerMain) -> None:
        self._channel = channel
        self._main = main
        self._workers: dict[int, tuple[int, int]] = {}
        """Index -> process ID and descriptor."""

    def run(self, daemon: int, prepare: Callable[[], None]) -> None:
        for number in _SIGNALS_OF_THE_DAEMON:
            # A terminal sends them to all processes, a service manager too; the daemon says what they mean.
            signal.signal(number, signal.SIG_IGN)
        prepare()
        # What is there already is no garbage. A collection in a worker would write to all of it, and so copy its pages.
        gc.freeze()
        _die_with(daemon)
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            for index, (_, descriptor) in list(self._workers.items()):
                if descriptor in ready:
                    poll.unregister(descriptor)
                    self._reap(index)
            if self._channel.fileno() in ready:
                try:
                    self._serve(poll)
                except Closed:
                    break
        for index in list(self._workers):
            self._kill(index)
            self._reap(index)

    def _serve(self, poll: select.poll) -> None:
        received = self._channel.receive_with_descriptors()
        if received is None:
            return
        (command, index), descriptors = received
        if command == "spawn":
            poll.register(self._spawn(index, descriptors[0]), select.POLLIN)
        else:
            self._kill(index)

    def _spawn(self, index: int, descriptor: int) -> int:
        end = socket.socket(fileno=descriptor)
        fork_server = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._channel.close()
            for _, other in self._workers.values():
                os.close(other)
            _die_with(fork_server)
            _run_and_exit(lambda: self._main(index, end))
        end.close()
        watched = os.pidfd_open(pid)
        self._workers[index] = pid, watched
        with contextlib.suppress(Closed):
            self._channel.send(["started", index, pid])
        return watched

    def _kill(self, index: int) -> None:
        if index in self._workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._workers[index][0], signal.SIGKILL)

    def _reap(self, index: int) -> None:
        pid, descriptor = self._workers.pop(index)
        _, status = os.waitpid(pid, 0)
        os.close(descriptor)
        with contextlib.suppress(Closed):
            self._channel.send(["ended", index, os.waitstatus_to_exitcode(status)])


def _die_with(parent: int) -> None:
    """Whatever ends the parent ends this process. After the last change of users, which would undo it."""
    prctl.set_pdeathsig(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _run_and_exit(action: Callable[[], None]) -> None:
    """In a forked process, which must not return into what its parent was doing."""
    code = 1
    try:
        action()
        code = 0
    except DaemonError as error:
        _log.error("%s", error.message)
    except Exception as error:
        # The message may quote a secret.
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "?"
        _log.error("bug in tcpcryptd: %s at %s", type(error).__name__, place)
    finally:
        os._exit(code)
