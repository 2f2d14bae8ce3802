"""A worker: one engine with its queues, in a process of its own, that does what the daemon's own process asks."""

import logging
import os
import select
import socket
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count, islice

import prctl

from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.engine import Engine
from tcpcryptd.core.event import Disabled, Event, Negotiated, PeerRefused
from tcpcryptd.core.options import ConnectionOptions
from tcpcryptd.netio.errors import DaemonError, ExitCode
from tcpcryptd.netio.loop import EventLoop
from tcpcryptd.netio.marks import MarkScheme
from tcpcryptd.netio.packets.packet_path import PacketPath
from tcpcryptd.netio.process.allocator import keep_freed_memory
from tcpcryptd.netio.process.keygen import KeyJob
from tcpcryptd.netio.process.memory import protect_memory
from tcpcryptd.netio.process.memory_shortage import MemoryShortage
from tcpcryptd.netio.queue_numbers import QueueNumbers
from tcpcryptd.netio.workers.channel import Channel, Closed, Json
from tcpcryptd.records.json_codec import decode, encode

ROWS_PER_PAGE = 16
"""So that they fit a message with the largest keys and the most options."""
MAX_LISTINGS = 16
"""Lists that are being read; the oldest is given up."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineParts:
    """What the command, which knows the protocols, gives a worker."""

    engine: Engine
    jobs: Sequence[KeyJob]
    on_event: Callable[[Event], None]
    adjust: Callable[[Json], None]
    """Changes settings, see `SharedEngine.adjust`."""
    counters: Callable[[], dict[str, int]]
    """Its own besides the engine's."""


@dataclass(frozen=True)
class WorkerConfig:
    """What all workers have in common."""

    queues: QueueNumbers
    marks: MarkScheme
    build: Callable[[int], EngineParts]
    """Called in the worker, with its number. Workers share no key and no random number, except secrets of sessions that
    can be resumed."""
    tells_decisions: bool
    """Whether the daemon wants to know of each handshake that is over."""
    forwards: bool | None = None
    """See `PacketPath`."""
    busy_poll: int = 0
    """The same."""


class Worker:
    """`run` returns when the daemon has told it to stop and closes the channel; also when the daemon is gone."""

    def __init__(self, index: int, channel: Channel, config: WorkerConfig) -> None:
        self._index = index
        self._channel = channel
        self._config = config
        self._parts = config.build(index)
        engine = self._parts.engine
        queues, marks, jobs = config.queues.of_worker(index), config.marks, self._parts.jobs
        is_last = index + 1 == config.queues.workers
        self._path = PacketPath(engine, queues, marks, self.on_event, jobs, config.forwards, is_last, config.busy_poll)
        self._shortage = MemoryShortage(engine.flush_sessions)
        self._loop: EventLoop | None = None
        self._stack = ExitStack()
        self._listings: OrderedDict[int, Iterator[Json]] = OrderedDict()
        # No successor takes a number for one of its own.
        self._listing_numbers = count(os.getpid() << 32)
        self._failed = False
        self._refused = False
        """Its queues cannot be had."""
        self._stop: int | None = None
        """The number of the request to stop."""
        self._handlers: dict[str, Callable[..., Json]] = {
            "open": self._open,
            "adjust": self._parts.adjust,
            "connections": self._list_connections,
            "hosts": self._list_hosts,
            "more": self._go_on,
            "connection": self._describe,
            "set_options": self._set_options,
            "was_reset": lambda *ends: engine.was_reset(*_ends(*ends)),
            "rekey": lambda *ends: engine.rekey(*_ends(*ends)),
            "reset_connection": lambda *ends: engine.reset(*_ends(*ends)),
            "flush_session": lambda *ends: engine.flush_session(*_ends(*ends)),
            "flush_sessions": engine.flush_sessions,
            "counters": self._counters,
            "reset": self._path.reset,
        }

    def run(self) -> None:
        """Serves the daemon first, then packets as well."""
        with self._stack:
            try:
                while self._loop is None:
                    self._wait()
                    self.handle_ready()
                    if self._refused or self._stop is not None:
                        return
                self._shortage.endure(self._loop.run)
                self._shortage.endure(self._path.stop)
                self._channel.send([self._stop, True, None])
                while True:
                    # The queues stay bound until the rules are gone: what comes now is dropped with them.
                    self._wait()
                    self._channel.receive()
            except Closed:
                return

    def fileno(self) -> int:
        """The channel's descriptor."""
        return self._channel.fileno()

    def handle_ready(self) -> None:
        """Does one thing that the daemon asks for; raises Closed."""
        message = self._channel.receive()
        if message is None:
            return
        number, name, *arguments = message
        if name == "stop":
            self._stop = number
            if self._loop is not None:
                self._loop.stop()
            return
        try:
            self._channel.send([number, True, self._handlers[name](*arguments)])
        except (MemoryError, Closed):
            raise
        except Exception as error:
            # A bug, which must not end the worker. The message may quote what it failed on.
            if not self._failed:
                self._failed = True
                _log.error("a request to a worker failed with %s; further ones are not reported", type(error).__name__)
            self._channel.send([number, False, None])

    def _wait(self) -> None:
        select.select([self._channel], [], [])

    def on_event(self, event: Event) -> None:
        """What the engine reports: to the log, and to the daemon if it wants to know."""
        self._parts.on_event(event)
        if self._config.tells_decisions:
            match event:
                case Negotiated() | Disabled() | PeerRefused():
                    self._channel.send([0, True, [event.local, event.remote]])

    # What is asked

    def _open(self) -> Json:
        """None, or the error's message and exit code: the daemon ends with it."""
        self._refused = True
        try:
            loop = self._path.open(self._stack)
        except DaemonError as error:
            return [error.message, error.exit_code]
        except PermissionError:
            # Only root can look who has them.
            return ["its queues are taken by another process, or may not be used", ExitCode.BUSY]
        self._refused = False
        self._path.start(self._stack)
        loop.add(self)
        self._loop = loop
        return None

    def _list_connections(self) -> Json:
        return self._list(map(encode, self._parts.engine.connections()))

    def _list_hosts(self) -> Json:
        return self._list(map(encode, self._parts.engine.hosts()))

    def _list(self, rows: Iterator[Json]) -> Json:
        number = next(self._listing_numbers)
        self._listings[number] = rows
        if len(self._listings) > MAX_LISTINGS:
            self._listings.popitem(last=False)
        return self._go_on(number)

    def _go_on(self, number: int) -> Json:
        """A page, and what to ask the next one with, None after the last one. Raises KeyError when it was given up."""
        rows = list(islice(self._listings[number], ROWS_PER_PAGE))
        if len(rows) == ROWS_PER_PAGE:
            return [rows, number]
        del self._listings[number]
        return [rows, None]

    def _describe(self, local: Json, remote: Json) -> Json:
        info = self._parts.engine.connection(*_ends(local, remote))
        return encode(info) if info is not None else None

    def _set_options(self, row: Json, local: Json, remote: Json) -> Json:
        there = Endpoint(*remote) if remote is not None else None
        return self._parts.engine.set_options(decode(ConnectionOptions, row), Endpoint(*local), there)

    def _counters(self) -> Json:
        counters = Counter(self._path.counters({}))
        for each in (self._parts.counters(), self._shortage.counters()):
            counters.update(each)
        return dict(counters)


def run_worker(index: int, end: socket.socket, config: WorkerConfig) -> None:
    """The whole life of a worker's process, which has given up privileges already."""
    prctl.set_name(f"tcpcryptd/{index}")
    # Locked memory is not inherited.
    protect_memory()
    keep_freed_memory()
    Worker(index, Channel(end), config).run()


def _ends(local: Json, remote: Json) -> tuple[Endpoint, Endpoint]:
    return Endpoint(*local), Endpoint(*remote)
