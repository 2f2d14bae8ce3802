"""What a worker answers, with an engine that knows a few connections and without packets."""

import select
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import cast

import pytest

from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.engine import Engine
from tcpcryptd.core.event import Closed as ConnectionClosed
from tcpcryptd.core.event import ConnectionInfo, ConnectionState, Disabled, Event, Negotiated
from tcpcryptd.core.hosts import HostInfo
from tcpcryptd.core.options import ConnectionOptions
from tcpcryptd.core.verdict import Direction
from tcpcryptd.netio.errors import DaemonError
from tcpcryptd.netio.loop import EventLoop
from tcpcryptd.netio.marks import MarkScheme
from tcpcryptd.netio.queue_numbers import QueueNumbers
from tcpcryptd.netio.workers import worker as module
from tcpcryptd.netio.workers.channel import Channel, Json, socket_pair
from tcpcryptd.netio.workers.worker import MAX_LISTINGS, ROWS_PER_PAGE, EngineParts, Worker, WorkerConfig
from tcpcryptd.records.connection_info import PeerInfo
from tcpcryptd.records.json_codec import decode, encode

LOCAL, REMOTE = Endpoint("192.0.2.1", 1), Endpoint("192.0.2.2", 2)
HOST = HostInfo("192.0.2.2", PeerInfo("absent"), 2.5)
INFOS = [
    ConnectionInfo(Endpoint("192.0.2.1", port), REMOTE, ConnectionState.ENCRYPTED)
    for port in range(1, 2 * ROWS_PER_PAGE + 2)
]


class PlayedEngine:
    def __init__(self) -> None:
        self.options: list[tuple[ConnectionOptions, Endpoint, Endpoint | None]] = []

    def connections(self) -> Iterator[ConnectionInfo]:
        yield from INFOS

    def hosts(self) -> Iterator[HostInfo]:
        yield HOST

    def connection(self, local: Endpoint, remote: Endpoint) -> ConnectionInfo | None:
        return next((info for info in INFOS if (info.local, info.remote) == (local, remote)), None)

    def set_options(self, options: ConnectionOptions, local: Endpoint, remote: Endpoint | None = None) -> bool:
        self.options.append((options, local, remote))
        return remote is None

    def rekey(self, local: Endpoint, remote: Endpoint) -> bool:
        return (local, remote) == (LOCAL, REMOTE)

    def flush_sessions(self) -> int:
        return 3

    def next_timeout(self) -> float | None:
        return None

    def handle_timeout(self, now: float) -> None:
        raise AssertionError

    def packets_to_inject(self) -> list[tuple[Direction, bytes, int]]:
        return []

    def handle_undeliverable(self, packet: bytes, direction: Direction, now: float) -> None:
        raise AssertionError

    def waiting_events(self) -> int:
        return 0

    def next_event(self) -> Event | None:
        return None


class PlayedPath:
    """In the place of PacketPath."""

    refusal: DaemonError | None = None
    calls: list[str]

    def __init__(self, engine: PlayedEngine, numbers: QueueNumbers, *_: object) -> None:
        self._engine = engine
        self.numbers = numbers
        PlayedPath.calls = []

    def open(self, stack: ExitStack) -> EventLoop:
        if self.refusal is not None:
            raise self.refusal
        loop = EventLoop(self._engine)
        stack.callback(loop.close)
        return loop

    def start(self, stack: ExitStack) -> None:
        self.calls.append("start")

    def reset(self) -> None:
        self.calls.append("reset")

    def stop(self) -> None:
        self.calls.append("stop")

    def counters(self, _: object) -> dict[str, int]:
        return {"negotiated": 5, "queues": sum(self.numbers.all)}


class Rig:
    def __init__(self) -> None:
        self.engine = PlayedEngine()
        self.events: list[Event] = []
        ours, theirs = socket_pair()
        self.daemon = Channel(ours)
        config = WorkerConfig(QueueNumbers.starting_at(10, 4), MarkScheme(), self._build, tells_decisions=True)
        self.worker = Worker(3, Channel(theirs), config)

    def _build(self, _index: int) -> EngineParts:
        def adjust(_: Json) -> None:
            raise ValueError("a secret")

        return EngineParts(cast(Engine, self.engine), (), self.events.append, adjust, lambda: {"keylog_lines": 1})

    def ask(self, name: str, *arguments: Json) -> list[Json]:
        assert self.daemon.send([7, name, *arguments])
        self.worker.handle_ready()
        answer = self.daemon.receive()
        assert answer is not None
        assert answer[0] == 7
        return answer[1:]


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setattr(module, "PacketPath", PlayedPath)
    monkeypatch.setattr(PlayedPath, "refusal", None)
    rig = Rig()
    yield rig
    rig.daemon.close()


def test_lists_come_in_pages(rig: Rig) -> None:
    (_, (rows, listing)) = rig.ask("connections")
    found = rows
    while listing is not None:
        assert len(rows) == ROWS_PER_PAGE
        (_, (rows, listing)) = rig.ask("more", listing)
        found += rows
    assert [decode(ConnectionInfo, row) for row in found] == INFOS


def test_hosts_are_listed(rig: Rig) -> None:
    (_, (rows, listing)) = rig.ask("hosts")
    assert [decode(HostInfo, row) for row in rows] == [HOST]
    assert listing is None


def test_a_list_that_was_given_up_is_not_taken_for_its_end(rig: Rig) -> None:
    (_, (_, first)) = rig.ask("connections")
    for _ in range(MAX_LISTINGS):
        rig.ask("connections")
    assert rig.ask("more", first) == [False, None]


def test_one_connection(rig: Rig) -> None:
    assert decode(ConnectionInfo, rig.ask("connection", LOCAL, REMOTE)[1]) == INFOS[0]
    assert rig.ask("connection", REMOTE, LOCAL) == [True, None]
    assert (rig.ask("rekey", LOCAL, REMOTE), rig.ask("rekey", REMOTE, LOCAL)) == ([True, True], [True, False])
    assert rig.ask("flush_sessions") == [True, 3]


def test_options(rig: Rig) -> None:
    options = ConnectionOptions(enabled=False)
    assert rig.ask("set_options", encode(options), LOCAL, None) == [True, True]
    assert rig.ask("set_options", encode(options), LOCAL, REMOTE) == [True, False]
    assert rig.engine.options == [(options, LOCAL, None), (options, LOCAL, REMOTE)]


def test_counters_are_of_its_own_queues(rig: Rig) -> None:
    expected = {"negotiated": 5, "queues": 13 + 17 + 21, "keylog_lines": 1, "memory_shortages": 0}
    assert rig.ask("counters") == [True, expected]


def test_what_fails_is_said_and_logged_without_its_message(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        assert rig.ask("adjust", {}) == [False, None]
    (record,) = caplog.records
    assert "ValueError" in record.getMessage()
    assert "secret" not in record.getMessage()


def test_handshakes_that_are_over_are_told(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Event] = [
        Negotiated(LOCAL, REMOTE, "crypt", None, None, None),
        Disabled(REMOTE, LOCAL, "why"),
        ConnectionClosed(LOCAL, REMOTE),
    ]
    for event in taken:
        rig.worker.on_event(event)
    ends = [[[*LOCAL], [*REMOTE]], [[*REMOTE], [*LOCAL]]]
    assert [rig.daemon.receive() for _ in range(3)] == [*([0, True, each] for each in ends), None]
    assert rig.events == taken


def test_it_stops_when_it_is_told_and_ends_with_the_daemon(rig: Rig) -> None:
    thread = threading.Thread(target=rig.worker.run)
    thread.start()
    for number, name in enumerate(("open", "reset", "stop")):
        assert rig.daemon.send([number, name])
    answers: list[Json] = []
    while len(answers) < 3:
        assert select.select([rig.daemon], [], [], 10)[0]
        answers.append(rig.daemon.receive())
    assert answers == [[0, True, None], [1, True, None], [2, True, None]]
    assert PlayedPath.calls == ["start", "reset", "stop"]
    assert thread.is_alive()
    rig.daemon.close()
    thread.join(10)
    assert not thread.is_alive()


def test_it_ends_when_its_queues_are_taken(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PlayedPath, "refusal", DaemonError("queue 13 is taken", 5))
    assert rig.daemon.send([1, "open"])
    rig.worker.run()
    assert rig.daemon.receive() == [1, True, ["queue 13 is taken", 5]]


def test_it_can_be_stopped_before_it_has_queues(rig: Rig) -> None:
    assert rig.daemon.send([1, "stop"])
    rig.worker.run()
    assert PlayedPath.calls == []


def test_it_does_nothing_in_order_when_the_daemon_is_gone(rig: Rig) -> None:
    assert rig.daemon.send([1, "open"])
    rig.daemon.close()
    rig.worker.run()
    assert PlayedPath.calls == ["start"]
