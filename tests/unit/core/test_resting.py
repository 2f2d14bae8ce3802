"""Connections that rest while they are not in use."""

from tcpcryptd.core.protocol import DROP, Handler, ProtocolState, Verdict, modify
from tcpcryptd.core.resting import Ready


class State(ProtocolState):
    rests = 0

    def rest(self) -> None:
        self.rests += 1


class Connection:
    def __init__(self, now: float = 0.0) -> None:
        self.is_open = State()
        self.state: ProtocolState | None = self.is_open
        self.last_seen = now
        self.passed: list[tuple[str, bytes, int, float]] = []
        self.outbound: Handler = self.out
        self.inbound: Handler = self.in_

    def out(self, packet: bytes, offset: int, now: float) -> Verdict:
        self.passed.append(("out", packet, offset, now))
        return modify(b"sealed")

    def in_(self, packet: bytes, offset: int, now: float) -> Verdict:
        self.passed.append(("in", packet, offset, now))
        return DROP

    @property
    def rests(self) -> bool:
        return self.outbound != self.out and self.inbound != self.in_


def test_the_oldest_rests_when_there_are_too_many() -> None:
    ready = Ready(2)
    connections = [Connection() for _ in range(5)]
    for connection in connections:
        ready.add(connection, 0.0)
    assert [connection.rests for connection in connections] == [True, True, True, False, False]
    assert [connection.is_open.rests for connection in connections] == [1, 1, 1, 0, 0]
    assert len(ready) == 2


def test_a_segment_of_either_side_wakes_it_and_gets_its_verdict() -> None:
    for direction in ("out", "in"):
        ready = Ready(1)
        connection = Connection()
        for each in (connection, Connection()):
            ready.add(each, 0.0)
        handler = connection.outbound if direction == "out" else connection.inbound
        assert handler(b"packet", 20, 7.0) == (modify(b"sealed") if direction == "out" else DROP)
        assert connection.passed == [(direction, b"packet", 20, 7.0)]
        assert not connection.rests
        # It is one of those that are ready, and rests again in its turn.
        ready.add(Connection(), 7.0)
        assert connection.rests
        assert connection.is_open.rests == 2


def test_what_is_in_use_does_not_rest() -> None:
    ready = Ready(2)
    used, idle = Connection(), Connection()
    ready.add(used, 0.0)
    ready.add(idle, 0.0)
    for second in range(1, 20):
        used.last_seen = float(second)
        ready.add(Connection(float(second)), float(second))
        assert not used.rests
    assert idle.rests
    assert len(ready) <= 4


def test_with_no_room_each_rests_between_two_segments() -> None:
    ready = Ready(0)
    connection = Connection()
    ready.add(connection, 0.0)
    for count in range(1, 4):
        assert connection.rests
        assert connection.is_open.rests == count
        assert connection.outbound(b"", 20, float(count)) == modify(b"sealed")
    assert len(connection.passed) == 3
    assert len(ready) == 0


def test_one_that_is_over_is_dropped_and_not_touched() -> None:
    ready = Ready(1)
    over = Connection()
    ready.add(over, 0.0)
    over.state = None
    ready.add(Connection(), 0.0)
    assert not over.rests
    assert over.is_open.rests == 0
    assert len(ready) == 1
