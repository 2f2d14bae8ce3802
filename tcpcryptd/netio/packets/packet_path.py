"""The way of the packets through one process: its queues, raw sockets and event loop, around one engine."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Protocol

from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.engine import Engine
from tcpcryptd.core.event import Event
from tcpcryptd.core.verdict import ConnectionClass
from tcpcryptd.netio.busy_polling import BusyPolling
from tcpcryptd.netio.engine_output import MAX_EVENTS_PER_TURN, EngineOutput
from tcpcryptd.netio.kernel.queue_statistics import QueueStatistics
from tcpcryptd.netio.loop import EventLoop
from tcpcryptd.netio.marks import MarkScheme
from tcpcryptd.netio.packets.injector import Injector
from tcpcryptd.netio.packets.offload_guard import OffloadGuard
from tcpcryptd.netio.packets.outlet import Outlet
from tcpcryptd.netio.packets.queue import Delivery, PacketQueue
from tcpcryptd.netio.packets.seen_routes import SeenRoutes
from tcpcryptd.netio.process.keygen import KeyGenerator, KeyJob
from tcpcryptd.netio.queue_numbers import QueueNumbers


class PacketHandling(Protocol):
    """What the daemon asks of whoever handles the packets: its own process, or its workers."""

    def open(self, stack: ExitStack) -> EventLoop:
        """As root, before the first packet is diverted: all that is needed, to be closed with `stack`.

        The loop is the daemon's own. Raises DaemonError.
        """

    def start(self, stack: ExitStack) -> None:
        """What must wait until privileges were given up."""

    def reset(self) -> None:
        """Resets all connections that cannot go on without the rules."""

    def stop(self) -> None:
        """The same, and handles no packet afterwards."""

    def was_reset(self, local: Endpoint, remote: Endpoint) -> bool:
        """Whether such a connection is known to have been, and no new one took its place."""

    def counters(self, statistics: Mapping[int, QueueStatistics]) -> dict[str, int]:
        """Of all packets; `statistics` has what the kernel counts."""

    def is_alive(self) -> bool:
        """Whether packets are being handled."""

    def relieve(self) -> None:
        """Gives memory back."""


class PacketPath:
    """The packets of one worker's queues, handled in this process."""

    def __init__(
        self,
        engine: Engine,
        numbers: QueueNumbers,
        marks: MarkScheme,
        on_event: Callable[[Event], None],
        jobs: Sequence[KeyJob] = (),
        forwards: bool | None = None,
        is_last: bool = True,
        busy_poll: int = 0,
    ) -> None:
        """Get ready.

        Args:
            engine: Handles the packets.
            numbers: Of this worker's queues.
            marks: Where the marks are.
            on_event: Takes the engine's events.
            jobs: Keys to make.
            forwards: Whether connections of hosts behind this one are diverted. None: as the administrator's rules say.
            is_last: No worker has the queues behind these.
            busy_poll: How long to wait awake at most, in microseconds.
        """
        self._engine = engine
        self._numbers = numbers
        self._marks = marks
        self._on_event = on_event
        self._jobs = jobs
        self._forwards = forwards
        self._is_last = is_last
        self._polling = BusyPolling(busy_poll / 1e6)
        self._guard = OffloadGuard()
        self._injector: Injector | None = None
        self._outlet: Outlet | None = None
        self._queues: list[PacketQueue] = []
        self._loop: EventLoop | None = None
        self._output: EngineOutput | None = None

    def open(self, stack: ExitStack) -> EventLoop:
        """See PacketHandling."""
        seen = SeenRoutes()
        injector = self._injector = Injector(self._marks, seen)
        stack.callback(injector.close)
        outlet = self._outlet = Outlet(self._marks)
        stack.callback(outlet.close)
        outlet.on_refused = self._handle_refusal
        handler, on_batch = self._engine.handle, self._engine.admission.handled
        delivery = Delivery(injector.inject, self._guard if self._forwards else None)
        # In the order that a connection goes through them: what waits in an earlier queue came before.
        for number, diverted_as in (
            (self._numbers.undecided, ConnectionClass.UNDECIDED),
            (self._numbers.encrypted, ConnectionClass.ENCRYPTED),
            (self._numbers.stream, ConnectionClass.STREAM),
        ):
            gso = diverted_as is ConnectionClass.STREAM
            queue = PacketQueue(number, diverted_as, handler, self._marks, gso, delivery, outlet, on_batch)
            queue.seen = seen
            if gso:
                queue.segmenting, queue.on_oversize = self._queues[-1], self._engine.outgrown
            queue.holds = self._engine.holds
            if self._forwards is False:
                queue.forward_nothing()
            queue.next_worker = None if self._is_last else number + 1
            stack.callback(queue.close)
            self._queues.append(queue)
        self._queues[0].answers = {queue.diverted_as: queue for queue in self._queues[1:]}
        self._output = EngineOutput(self._engine, injector.inject, self._on_event)
        loop = self._loop = EventLoop(self._engine, self._output, self._engine.stock, self._polling)
        stack.callback(loop.close)
        for queue in self._queues:
            loop.add(queue)
        loop.add(outlet)
        return loop

    def _handle_refusal(self, packet: bytes) -> None:
        self._engine.handle_cut_off(packet, time.monotonic())

    def start(self, stack: ExitStack) -> None:
        """Starts the threads that make keys."""
        keys = KeyGenerator(self._jobs)
        stack.callback(keys.close)
        if self._loop is not None:
            self._loop.add(keys)
        keys.start()

    def reset(self) -> None:
        """See PacketHandling."""
        self._engine.shut_down(time.monotonic())
        if self._output is not None:
            self._output.send()
            self._output.pass_on_events(MAX_EVENTS_PER_TURN)

    def stop(self) -> None:
        """See PacketHandling; the caller runs the loop no more."""
        self.reset()
        if self._loop is not None:
            self._loop.drain()

    def was_reset(self, local: Endpoint, remote: Endpoint) -> bool:
        """See PacketHandling."""
        return self._engine.was_reset(local, remote)

    def counters(self, statistics: Mapping[int, QueueStatistics]) -> dict[str, int]:
        """The engine's, the injector's, and the queues', together and by class."""
        counters = dict(self._engine.counters()) | kernel_drops(statistics, self._numbers)
        counters["busy_poll_nanoseconds"] = round(self._polling.seconds * 1e9)
        for queue in self._queues:
            for name, value in queue.counters().items():
                counters[f"{queue.diverted_as.name.lower()}_{name}"] = value
                counters[f"queue_{name}"] = counters.get(f"queue_{name}", 0) + value
        for part in (self._injector, self._outlet, self._guard):
            counters |= part.counters() if part is not None else {}
        return counters

    def is_alive(self) -> bool:
        """Who asks runs in the same process."""
        return True

    def relieve(self) -> None:
        """Forgets the sessions that could be resumed."""
        self._engine.flush_sessions()


def kernel_drops(statistics: Mapping[int, QueueStatistics], numbers: QueueNumbers) -> dict[str, int]:
    """The counter of what the kernel dropped in these queues; empty when it knows none of them."""
    known = [statistics[number] for number in numbers.all if number in statistics]
    return {"queue_dropped": sum(each.queue_dropped + each.user_dropped for each in known)} if known else {}
