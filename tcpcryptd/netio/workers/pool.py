"""The workers as the daemon's own process sees them: asked together, replaced when they die, stopped in the end."""

import logging
import select
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Final

from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.netio.errors import DaemonError, ExitCode
from tcpcryptd.netio.kernel.queue_statistics import QueueStatistics
from tcpcryptd.netio.loop import EventLoop
from tcpcryptd.netio.packets.packet_path import kernel_drops
from tcpcryptd.netio.queue_numbers import QueueNumbers
from tcpcryptd.netio.workers.channel import Channel, Closed, Json
from tcpcryptd.netio.workers.fork_server import ForkServer
from tcpcryptd.netio.workers.link import DEADLINE, OPEN_DEADLINE, UNANSWERED, Answer, WorkerLink
from tcpcryptd.netio.workers.respawn import MAX_DEATHS, WINDOW, RespawnLimit
from tcpcryptd.netio.workers.worker_state import WorkerState
from tcpcryptd.records.json_codec import encode

HEARTBEAT = 1.0
"""Seconds between two questions for counters, which show that a worker lives and what it has counted when it dies."""
HUNG_SECONDS = 5.0
"""Without an answer for so long, a worker does not just have much to do."""
STOP_DEADLINE = 5.0
"""Seconds that workers have to reset their connections."""
_GAUGES: Final = (
    *("connections", "encrypted", "closed", "sessions", "keylog_on"),
    *("black_hole_hosts", "black_hole_networks"),
)
"""What is there now, unlike what was counted."""

_log = logging.getLogger(__name__)


class WorkerPool:
    """Handles packets by others (PacketHandling). A source of the event loop, and its timers.

    A worker's death can be seen while another one is asked something, and is dealt with in the next turn.
    """

    def __init__(
        self,
        start_fork_server: Callable[[], ForkServer],
        numbers: QueueNumbers,
        worker_state: WorkerState,
        on_decided: Callable[[Endpoint, Endpoint], None],
    ) -> None:
        """`on_decided` is told of each connection whose handshake is over, by workers that tell."""
        self.restarts = 0
        self._start_fork_server = start_fork_server
        self._numbers = numbers
        self._state = worker_state
        self._on_decided = on_decided
        self._fork_server: ForkServer | None = None
        self._epoll: select.epoll
        self._links: dict[int, WorkerLink] = {}
        self._limits = [RespawnLimit() for _ in range(numbers.workers)]
        self._deaths: deque[tuple[int, int]] = deque()
        """Index and exit status."""
        self._decided: deque[Json] = deque()
        """Ends of connections whose handshake is over, for the next turn: a client that was told that it is not over
        begins to wait in this turn."""
        self._failure: DaemonError | None = None
        self._started = False
        self._counted: Counter[str] = Counter()
        """By workers that are gone."""
        self._heartbeat_due = 0.0

    # PacketHandling

    def open(self, stack: ExitStack) -> EventLoop:
        """Starts all workers; returns when they are at work. Raises DaemonError when one cannot be."""
        self._fork_server = self._start_fork_server()
        stack.callback(self._fork_server.close)
        self._epoll = select.epoll()
        stack.callback(self._epoll.close)
        self._epoll.register(self._fork_server, select.EPOLLIN)
        for index in range(self._numbers.workers):
            self._spawn(index)
        deadline = time.monotonic() + OPEN_DEADLINE
        while self._failure is None and not self.is_open():
            left = deadline - time.monotonic()
            if self._deaths or left <= 0:
                break
            self._read(left)
        # What a worker says of its end can come after its end.
        for link in self._links.values():
            self._read_link(link)
        if self._failure is not None:
            raise self._failure
        if not self.is_open():
            raise DaemonError("a worker ended before it was ready, or does not get ready: see the log")
        self._started = True
        loop = EventLoop(self)
        stack.callback(loop.close)
        loop.add(self)
        return loop

    def start(self, stack: ExitStack) -> None:
        """Workers make their keys themselves."""

    def reset(self) -> None:
        """See PacketHandling; a worker that does not answer does it when it goes on."""
        self.ask("reset", everyone=True)

    def stop(self) -> None:
        """See PacketHandling; a worker that does not answer is killed."""
        self._read(0.0)
        answers = self.ask("stop", everyone=True, patient=True, seconds=STOP_DEADLINE)
        silent = [self._links[index] for index, answer in answers.items() if answer is UNANSWERED]
        late = [link for link in silent if not link.is_closed]
        for link in late:
            self._kill(link)
        deadline = time.monotonic() + DEADLINE
        while not all(link.is_closed for link in late) and time.monotonic() < deadline:
            self._read(max(0.0, deadline - time.monotonic()))

    def was_reset(self, local: Endpoint, remote: Endpoint) -> bool:
        """See PacketHandling."""
        answers = self.ask("was_reset", local, remote, enough=bool).values()
        return any(answer for answer in answers if answer is not UNANSWERED)

    def counters(self, statistics: Mapping[int, QueueStatistics]) -> dict[str, int]:
        """The sums. What a worker counted stays when it dies, as far as it was heard of."""
        self.ask("counters")
        total = self._counted.copy()
        for index, link in self._links.items():
            link.counters |= kernel_drops(statistics, self._numbers.of_worker(index))
            total.update(link.counters)
        return dict(total) | {"worker_restarts": self.restarts}

    def is_alive(self) -> bool:
        """Whether none of the workers hangs, as far as is known; one that is being started may take longer."""
        now = time.monotonic()
        return all(
            link.silent_for(now) <= (HUNG_SECONDS if link.is_open else OPEN_DEADLINE) for link in self._links.values()
        )

    def is_open(self) -> bool:
        """Whether all workers have their queues."""
        return all(link.is_open and not link.is_closed for link in self._links.values())

    def relieve(self) -> None:
        """This process has nothing to spare; workers see to their own."""

    # Asking

    def ask(
        self,
        name: str,
        *arguments: Json,
        everyone: bool = False,
        patient: bool = False,
        only: int | None = None,
        enough: Callable[[Json], bool] = lambda _: False,
        seconds: float = DEADLINE,
    ) -> dict[int, Answer]:
        """What workers answer, by their number; returns early when an answer is `enough`.

        Workers that would not answer soon are not asked, unless `everyone` must do it sooner or later; a `patient`
        caller waits for these, too.
        """
        now = time.monotonic()
        answers: dict[int, Answer] = {}
        asked = [link for index, link in self._links.items() if only in (None, index)]
        waiting: list[WorkerLink] = []
        for link in asked:
            able = link.is_able(now)
            posted = (able or everyone) and self._post(link, name, arguments, partial(answers.__setitem__, link.index))
            if posted and (able or patient):
                waiting.append(link)
        deadline = now + seconds
        while any(link.index not in answers and not link.is_closed for link in waiting):
            left = deadline - time.monotonic()
            if left <= 0 or any(enough(answer) for answer in answers.values() if answer is not UNANSWERED):
                break
            self._read(left)
        return {link.index: answers.get(link.index, UNANSWERED) for link in asked}

    def share_options(self, local: Endpoint) -> None:
        """Tells all workers the options of a local end; one that hangs gets to it before its next packet."""
        for link in self._links.values():
            link.options_to_tell[local] = None
            self._tell_options(link)
        now = time.monotonic()
        waiting = [link for link in self._links.values() if link.is_able(now)]
        while any((link.is_telling or link.options_to_tell) and not link.is_closed for link in waiting):
            left = now + DEADLINE - time.monotonic()
            if left <= 0:
                break
            self._read(left)

    def indexes(self) -> list[int]:
        """The numbers of all workers."""
        return list(self._links)

    def _post(
        self, link: WorkerLink, name: str, arguments: Sequence[Json], on_answer: Callable[[Answer], None]
    ) -> bool:
        def answered(value: Answer) -> None:
            if name == "counters" and value is not UNANSWERED:
                link.counters |= value
            on_answer(value)

        try:
            if link.post(name, arguments, time.monotonic(), answered):
                return True
        except Closed:
            return False
        # Its channel is full, and no request that all must follow may be lost: its successor knows better.
        self._kill(link)
        return False

    # A source of the event loop, and its timers

    def fileno(self) -> int:
        """An epoll instance's descriptor."""
        return self._epoll.fileno()

    def handle_ready(self) -> None:
        """Reads what workers say."""
        self._read(0.0)

    def next_timeout(self) -> float | None:
        """When `handle_timeout` is due."""
        return 0.0 if self._deaths or self._decided or self._failure is not None else self._heartbeat_due

    def handle_timeout(self, now: float) -> None:
        """Replaces workers that have died, and asks the others how they are; raises DaemonError."""
        if self._failure is not None:
            raise self._failure
        while self._decided:
            local, remote = self._decided.popleft()
            self._on_decided(Endpoint(*local), Endpoint(*remote))
        while self._deaths:
            self._replace(*self._deaths.popleft(), now)
        if now >= self._heartbeat_due:
            self._heartbeat_due = now + HEARTBEAT
            for link in self._links.values():
                if link.is_able(now):
                    self._post(link, "counters", (), lambda _: None)
                elif not (link.is_open or link.is_closed) and link.is_late(now):
                    self._kill(link)

    # Their lives

    def _read(self, wait: float) -> None:
        for descriptor, _ in self._epoll.poll(wait):
            if self._fork_server is not None and descriptor == self._fork_server.fileno():
                self._read_fork_server(self._fork_server)
                continue
            for link in self._links.values():
                if link.channel.fileno() == descriptor:
                    self._read_link(link)

    def _read_link(self, link: WorkerLink) -> None:
        if link.is_closed:
            return
        self._decided += link.read()
        if link.is_closed:
            self._epoll.unregister(link.channel)
            link.channel.close()

    def _read_fork_server(self, fork_server: ForkServer) -> None:
        try:
            while (message := fork_server.receive()) is not None:
                event, index, number = message
                if event == "started":
                    _log.debug("worker %d is process %d", index, number)
                else:
                    self._deaths.append((index, number))
        except Closed:
            self._epoll.unregister(fork_server)
            self._failure = DaemonError("the process that starts workers has ended, and all workers with it")

    def _spawn(self, index: int) -> None:
        end = self._fork_server.spawn(index) if self._fork_server is not None else None
        if end is None:
            self._failure = DaemonError("the process that starts workers does not answer")
            return
        link = self._links[index] = WorkerLink(index, Channel(end))
        self._epoll.register(link.channel, select.EPOLLIN)
        if self._state.settings is not None:
            self._post(link, "adjust", (self._state.settings,), lambda _: None)
        link.options_to_tell = dict.fromkeys(self._state.options.endpoints())
        self._tell_options(link)

    def _tell_options(self, link: WorkerLink) -> None:
        """Goes on when the last one was taken: there can be more of them than a channel holds."""
        if link.is_telling or link.is_closed:
            return
        local = next(iter(link.options_to_tell), None)
        if local is not None:
            del link.options_to_tell[local]
            link.is_telling = True
            row = encode(self._state.options.get(local))
            self._post(link, "set_options", (row, local, None), partial(self._told_options, link))
        elif not link.is_open:
            link.is_telling = True
            self._post(link, "open", (), partial(self._opened, link))

    def _told_options(self, link: WorkerLink, _answer: Answer) -> None:
        link.is_telling = False
        self._tell_options(link)

    def _opened(self, link: WorkerLink, error: Answer) -> None:
        if error is None:
            link.is_open = True
            self._told_options(link, None)
            return
        # It ends by itself.
        message, code = ("its queues cannot be opened", ExitCode.FAILURE) if error is UNANSWERED else error
        if self._started:
            _log.error("worker %d: %s", link.index, message)
        else:
            self._failure = DaemonError(message, code)

    def _replace(self, index: int, status: int, now: float) -> None:
        link = self._links[index]
        self._read_link(link)
        self._counted.update({name: count for name, count in link.counters.items() if name not in _GAUGES})
        how = f"was killed by signal {-status}" if status < 0 else f"ended with exit code {status}"
        if not self._limits[index].allows(now):
            raise DaemonError(
                f"worker {index} {how}, the last of {MAX_DEATHS} times within {WINDOW:g} seconds: giving up"
            )
        _log.error("worker %d %s: its encrypted connections are closed; it is replaced", index, how)
        self.restarts += 1
        self._spawn(index)

    def _kill(self, link: WorkerLink) -> None:
        _log.error("worker %d does not answer and is killed", link.index)
        if self._fork_server is not None:
            self._fork_server.kill(link.index)
