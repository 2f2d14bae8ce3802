"""What is read and handled together, and in which order."""

import socket

import pytest

from tcpcryptd.core.verdict import Action, ConnectionClass
from tcpcryptd.netio.packets.queue import ANSWERS
from tcpcryptd.netio.packets.queue_reader import Reader
from tests.unit.netio.packets.queue_rig import FakePacket, Rig, message, packet_of


def test_a_few_packets_are_answered_at_once_and_many_together(undecided: Rig) -> None:
    undecided.verdicts.packet = FakePacket(packet_of())
    handled: list[int] = []
    for _ in range(2):
        for _ in range(8):
            undecided.library.kernel.send(message(packet_of(), 3, 0))
        undecided.verdicts.on_flush = lambda: handled.append(len(undecided.calls))
        undecided.queue.handle_ready()
    assert undecided.verdicts.packet.verdict == "pass"
    # At first nobody knows how many will come.
    assert handled == [1, 2, 3, 4, 8, 16]


@pytest.mark.parametrize("decided", [ConnectionClass.ENCRYPTED, ConnectionClass.STREAM])
def test_the_kernels_answer_to_another_queue_is_handled_before_what_came_later(
    monkeypatch: pytest.MonkeyPatch, undecided: Rig, decided: ConnectionClass
) -> None:
    """Else a connection that was opened later would be accepted first."""
    others = [Rig(monkeypatch, each) for each in (ConnectionClass.ENCRYPTED, ConnectionClass.STREAM)]
    undecided.queue.answers = {rig.queue.diverted_as: rig.queue for rig in others}
    answering = next(rig for rig in others if rig.queue.diverted_as is decided)
    undecided.verdict = (Action.ACCEPT, None, decided)
    undecided.verdicts.packet = FakePacket(packet_of())
    answering.verdicts.packet = FakePacket(packet_of())
    handled: list[tuple[int, int]] = []
    answering.verdicts.on_flush = lambda: handled.append((len(undecided.calls), len(answering.calls)))

    def answer() -> None:
        if len(undecided.calls) > len(answering.calls):
            answering.library.kernel.send(message(packet_of(), 3, 0))

    undecided.verdicts.on_flush = answer
    # In the second batch, several are received at once.
    for batch in (8, 8):
        for _ in range(batch):
            undecided.library.kernel.send(message(packet_of(), 0, 0))
        undecided.queue.handle_ready()
    assert sorted(set(handled)) == [(number, number) for number in range(1, 17)]
    assert undecided.queue.seconds > 0.0


def test_such_an_answer_is_not_looked_for_behind_many_packets(monkeypatch: pytest.MonkeyPatch, undecided: Rig) -> None:
    """Handshakes would wait for all that a bulk transfer has queued, each of them."""
    stream = Rig(monkeypatch, ConnectionClass.STREAM)
    undecided.queue.answers = {ConnectionClass.STREAM: stream.queue}
    undecided.verdict = (Action.ACCEPT, None, ConnectionClass.STREAM)
    for rig, count in ((undecided, 2), (stream, 3 * ANSWERS)):
        rig.verdicts.packet = FakePacket(packet_of())
        for _ in range(count):
            rig.library.kernel.send(message(packet_of(), 0, 0))
    undecided.queue.handle_ready()
    assert (len(undecided.calls), len(stream.calls)) == (2, 2 * ANSWERS)
    stream.queue.handle_ready()
    assert len(stream.calls) == 3 * ANSWERS


@pytest.mark.parametrize(
    ("hook", "decided"),
    [(3, ConnectionClass.ENCRYPTED), (0, ConnectionClass.UNDECIDED), (0, ConnectionClass.PLAIN)],
    ids=["what the kernel sends", "undecided", "plain"],
)
def test_nothing_else_is_answered_to_another_queue(
    monkeypatch: pytest.MonkeyPatch, undecided: Rig, hook: int, decided: ConnectionClass
) -> None:
    other = Rig(monkeypatch, ConnectionClass.ENCRYPTED)
    undecided.queue.answers = {ConnectionClass.ENCRYPTED: other.queue}
    other.library.kernel.send(message(packet_of(), 3, 0))
    undecided.verdict = (Action.ACCEPT, None, decided)
    undecided.verdicts.packet = FakePacket(packet_of())
    undecided.library.kernel.send(message(packet_of(), hook, 0))
    undecided.queue.handle_ready()
    assert len(undecided.calls) == 1
    assert not other.calls


def pending(reader: Reader) -> list[int]:
    """The identifiers of a batch's packets."""
    return [packet.identifier for packet in iter(reader.next, None)]


def test_reader_ends_a_batch() -> None:
    ours, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, kernel:
        reader = Reader(ours)
        early, *others = [message(b"x" * number, 3, number, number) for number in range(1, 15)]
        for each in others:
            kernel.send(each)
        reader.put_back([early])
        for expected in ([1, 2, 3], [4, 5, 6, 7, 8, 9], [10, 11, 12, 13, 14]):
            reader.begin(len(expected) if expected[-1] < 14 else 64, 1 << 20)
            assert pending(reader) == expected
        kernel.send(others[0])
        reader.begin(64, 1 << 20)
        assert pending(reader) == [2]
        reader.begin(64, 1 << 20)
        assert pending(reader) == []


def test_reader_ends_a_batch_of_large_messages() -> None:
    ours, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, kernel:
        reader = Reader(ours)
        for number in range(5):
            kernel.send(message(bytes(20_000), 3, 0, number))
        for batch in ([0, 1, 2], [3, 4]):
            reader.begin(100, 50_000)
            assert pending(reader) == batch
