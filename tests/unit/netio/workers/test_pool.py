"""The pool and the engine in front of it, with real processes that play workers without packets."""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.event import ConnectionInfo, ConnectionState
from tcpcryptd.core.hosts import HostInfo
from tcpcryptd.core.options import ConnectionOptions
from tcpcryptd.netio.clients.refusal import Refused
from tcpcryptd.netio.errors import DaemonError
from tcpcryptd.netio.kernel.queue_statistics import QueueStatistics
from tcpcryptd.netio.loop import EventLoop
from tcpcryptd.netio.queue_numbers import QueueNumbers
from tcpcryptd.netio.workers import pool as pool_module
from tcpcryptd.netio.workers.channel import Channel, Closed, Json
from tcpcryptd.netio.workers.engine import SharedEngine
from tcpcryptd.netio.workers.fork_server import ForkServer
from tcpcryptd.netio.workers.link import UNANSWERED
from tcpcryptd.netio.workers.pool import WorkerPool
from tcpcryptd.netio.workers.worker_state import WorkerState
from tcpcryptd.records.connection_info import PeerInfo
from tcpcryptd.records.json_codec import encode

WORKERS = 2
LOCAL, REMOTE = [Endpoint("192.0.2.1", 1000 + index) for index in range(WORKERS)], Endpoint("192.0.2.9", 80)
UNKNOWN = Endpoint("192.0.2.1", 9)
PAGES = 3
DEADLINE = 10.0


class PlayedWorker:
    """Knows one connection, by its number, and remembers what it was told."""

    def __init__(self, index: int, channel: Channel, release: int) -> None:
        self._index = index
        self._channel = channel
        self._release = release
        self._told: list[list[Json]] = []

    def run(self) -> None:
        self._channel.send([0, True, [LOCAL[self._index], REMOTE]])
        while True:
            try:
                message = self._channel.receive()
            except Closed:
                return
            if message is None:
                continue
            number, name, *arguments = message
            if name in ("adjust", "set_options", "reset"):
                self._told.append([name, *arguments])
            if name == "hang":
                os.eventfd_read(self._release)
            if name == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            self._channel.send([number, name != "fail", self._answer(name, arguments)])

    def _answer(self, name: str, arguments: list[Json]) -> Json:
        info = ConnectionInfo(LOCAL[self._index], REMOTE, ConnectionState.ENCRYPTED)
        match name:
            case "connection":
                return encode(info) if arguments == [[*LOCAL[self._index]], [*REMOTE]] else None
            case "rekey":
                return arguments == [[*LOCAL[self._index]], [*REMOTE]]
            case "hosts":
                return [[encode(HostInfo(REMOTE.address, PeerInfo("absent"), float(self._index)))], None]
            case "connections":
                return [[encode(info)], 1]
            case "more":
                (page,) = arguments
                return [[encode(info)], page + 1 if page + 1 < PAGES else None]
            case "flush_sessions":
                return 10 + self._index
            case "counters":
                return {"negotiated": 100 + self._index, "connections": 1}
            case "options":
                last = {tuple(local): row["enabled"] for _, row, local, _ in self._told}
                return [[*last.values()].count(enabled) for enabled in (True, False)]
            case "told":
                return self._told
        return None


class Rig:
    def __init__(self, stack: ExitStack) -> None:
        self.release = os.eventfd(0)
        stack.callback(os.close, self.release)
        self.worker_state = WorkerState()
        self.decided: list[tuple[Endpoint, Endpoint]] = []
        self.pool = WorkerPool(
            lambda: ForkServer(lambda: None, self._play),
            QueueNumbers.starting_at(10, WORKERS),
            self.worker_state,
            lambda local, remote: self.decided.append((local, remote)),
        )
        self.engine = SharedEngine(self.pool, self.worker_state)
        self.loop: EventLoop = self.pool.open(stack)

    def _play(self, index: int, end: socket.socket) -> None:
        end.setblocking(True)
        PlayedWorker(index, Channel(end), self.release).run()

    def turn_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < deadline
            due = self.pool.next_timeout() or 0.0
            self.loop.turn(max(0.0, due - time.monotonic()))

    def turn_until_replaced(self, restarts: int) -> None:
        self.turn_until(lambda: self.pool.restarts == restarts and self.pool.is_open())

    def hang(self, index: int) -> None:
        self.pool.ask("hang", only=index, seconds=0.0)


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setattr(pool_module, "HUNG_SECONDS", 0.5)
    with ExitStack() as stack:
        yield Rig(stack)


def test_the_one_that_knows_a_connection_answers(rig: Rig) -> None:
    for index in range(WORKERS):
        info = rig.engine.connection(LOCAL[index], REMOTE)
        assert info is not None
        assert info.local == LOCAL[index]
        assert rig.engine.options(LOCAL[index], REMOTE) == ConnectionOptions()
        assert rig.engine.rekey(LOCAL[index], REMOTE)
    assert rig.engine.connection(UNKNOWN, REMOTE) is None
    assert not rig.engine.rekey(UNKNOWN, REMOTE)


def test_lists_are_joined_page_by_page(rig: Rig) -> None:
    assert [info.local for info in rig.engine.connections()] == [LOCAL[0]] * PAGES + [LOCAL[1]] * PAGES
    assert [host.last_seen for host in rig.engine.hosts()] == [0.0, 1.0]


def test_sums(rig: Rig) -> None:
    assert rig.engine.flush_sessions() == 21
    dropped = {number: QueueStatistics(number, 1, 0, 65531, 2, 1, 50) for number in (10, 15)}
    assert rig.pool.counters(dropped) == {
        "negotiated": 201,
        "connections": 2,
        "queue_dropped": 6,
        "worker_restarts": 0,
    }


def test_what_workers_say_unasked(rig: Rig) -> None:
    """In a turn of its own: whoever has just heard that a handshake goes on must have the time to begin to wait."""
    assert rig.engine.connection(UNKNOWN, REMOTE) is None
    assert rig.decided == []
    rig.turn_until(lambda: bool(rig.decided))
    assert sorted(rig.decided) == [(local, REMOTE) for local in LOCAL]


def test_not_to_answer_is_not_the_same_as_not_to_know(rig: Rig) -> None:
    rig.hang(0)
    for ask in (
        lambda: rig.engine.connection(UNKNOWN, REMOTE),
        lambda: rig.engine.connection(LOCAL[0], REMOTE),
        lambda: rig.engine.rekey(LOCAL[0], REMOTE),
        lambda: list(rig.engine.connections()),
        lambda: list(rig.engine.hosts()),
    ):
        with pytest.raises(Refused) as refused:
            ask()
        assert refused.value.errno == "EAGAIN"
    # The other one is asked all the same, and what was counted is not forgotten.
    assert rig.engine.connection(LOCAL[1], REMOTE) is not None
    assert rig.pool.counters({})["connections"] >= 1
    assert not rig.pool.is_alive()
    os.eventfd_write(rig.release, 1)
    rig.turn_until(rig.pool.is_alive)
    assert rig.engine.connection(LOCAL[0], REMOTE) is not None


def test_a_request_that_fails_is_not_an_answer(rig: Rig) -> None:
    assert all(answer is UNANSWERED for answer in rig.pool.ask("fail").values())


def test_one_that_hangs_does_later_what_all_must_do(rig: Rig) -> None:
    options = ConnectionOptions(enabled=False)
    rig.hang(0)
    assert rig.engine.set_options(options, LOCAL[0])
    rig.engine.adjust({"verbose": True})
    assert rig.engine.flush_sessions() == 11
    os.eventfd_write(rig.release, 1)
    rig.turn_until(rig.pool.is_alive)
    told = rig.pool.ask("told")
    assert told[0] == told[1]
    assert told[0] == [["set_options", encode(options), [*LOCAL[0]], None], ["adjust", {"verbose": True}]]


def test_a_successor_is_told_what_the_others_know(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    options = ConnectionOptions(enabled=False)
    rig.engine.adjust({"verbose": True})
    rig.engine.set_options(options, LOCAL[1])
    before = rig.pool.counters({})
    rig.pool.ask("die", only=1)
    with pytest.raises(Refused):
        rig.engine.connection(UNKNOWN, REMOTE)
    rig.turn_until_replaced(1)
    assert rig.pool.ask("told")[1] == rig.pool.ask("told")[0]
    assert rig.engine.endpoints_with_options() == [LOCAL[1]]
    assert rig.engine.options(LOCAL[1]) == options
    after = rig.pool.counters({})
    assert after["negotiated"] == before["negotiated"] + 101
    assert (after["connections"], after["worker_restarts"]) == (2, 1)
    assert any(record.getMessage().startswith("worker 1 was killed by signal 9") for record in caplog.records)


def test_there_may_be_more_options_than_a_channel_holds(rig: Rig) -> None:
    options = ConnectionOptions(public_key_specs=(bytes(64),))
    ends = [Endpoint("192.0.2.1", port) for port in range(1, 2001)]
    for local in ends:
        rig.worker_state.options.set(local, options)
    rig.pool.ask("die", only=0)
    rig.turn_until_replaced(1)
    rig.hang(0)
    with contextlib.suppress(Refused):
        rig.engine.connection(UNKNOWN, REMOTE)
    for local in ends[1000:]:
        rig.engine.set_options(ConnectionOptions(enabled=False), local)
    os.eventfd_write(rig.release, 1)
    rig.turn_until(lambda: rig.pool.ask("options")[0] == [1000, 1000])
    assert rig.pool.ask("options")[1] == [0, 1000]
    assert rig.pool.restarts == 1


def test_one_that_dies_again_and_again_is_not_replaced(rig: Rig) -> None:
    for restarts in range(1, 5):
        rig.pool.ask("die", only=0)
        rig.turn_until_replaced(restarts)
    rig.pool.ask("die", only=0)
    with pytest.raises(DaemonError, match="the last of 5 times within 60 seconds: giving up"):
        rig.turn_until_replaced(5)


def test_stopping_does_not_wait_for_one_that_hangs(
    rig: Rig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "STOP_DEADLINE", 0.1)
    rig.hang(0)
    rig.pool.stop()
    assert "worker 0 does not answer and is killed" in [record.getMessage() for record in caplog.records]


def test_a_worker_that_cannot_open_its_queues_is_an_error() -> None:
    def refuse(_index: int, end: socket.socket) -> None:
        end.setblocking(True)
        channel = Channel(end)
        while (message := channel.receive()) is not None:
            channel.send([message[0], True, ["queue 69 is taken", 5]])

    pool = WorkerPool(
        lambda: ForkServer(lambda: None, refuse),
        QueueNumbers.starting_at(10, WORKERS),
        WorkerState(),
        lambda _, __: None,
    )
    with ExitStack() as stack, pytest.raises(DaemonError, match="queue 69 is taken") as raised:
        pool.open(stack)
    assert raised.value.exit_code == 5


def test_nothing_starts_when_privileges_cannot_be_given_up() -> None:
    def fail() -> None:
        raise DaemonError("no such user")

    pool = WorkerPool(
        lambda: ForkServer(fail, lambda _, __: None),
        QueueNumbers.starting_at(10, WORKERS),
        WorkerState(),
        lambda _, __: None,
    )
    with ExitStack() as stack, pytest.raises(DaemonError, match="the process that starts workers"):
        pool.open(stack)
