"""Verdicts, on packets that record what is done to them."""

import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tcpcryptd.core.verdict import Action, ConnectionClass, Direction, Verdict
from tcpcryptd.netio.kernel import netlink
from tcpcryptd.netio.kernel.nfqueue import diverted_packet
from tcpcryptd.netio.kernel.route import FORWARDED
from tcpcryptd.netio.marks import MarkScheme
from tcpcryptd.netio.packets import queue as queue_module
from tcpcryptd.netio.packets.merging import Merger
from tcpcryptd.netio.packets.offload_guard import OffloadGuard
from tcpcryptd.netio.packets.queue import ANSWERS, PacketQueue, is_truncated
from tcpcryptd.netio.packets.queue_reader import Reader
from tcpcryptd.netio.packets.seen_routes import MAX_ROUTES, SeenRoutes
from tcpcryptd.netio.packets.verdicts import NF_ACCEPT, NF_DROP, NF_REPEAT, for_tracking
from tcpcryptd.wire.segment import ACK, SYN, make

MARKS = MarkScheme()
KEY = bytes((10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 0, 81))
KEY6 = bytes(31) + b"\x01" + bytes(4)
OTHER_BITS = 0x80000005
ROUTE = 7 << 32 | OTHER_BITS


def packet_of(payload: bytes = b"", key: bytes = KEY) -> bytes:
    return make(key, sequence=1, acknowledgment=2, flags=ACK, window=3, payload=payload)


def interfaces(hook: int) -> list[tuple[int, int]]:
    """The attributes of a packet that comes by interface 5, or leaves by interface 7, or both."""
    return [(5, 5)] * (hook in (0, 1, 2)) + [(6, 7)] * (hook in (2, 3, 4))


def message(payload: bytes, hook: int, mark: int, identifier: int = 7) -> bytes:
    """What the kernel sends for a diverted packet (linux/netfilter/nfnetlink_queue.h)."""
    attributes = [
        netlink.attribute(1, struct.pack("=IHB", identifier, 0x0008, hook)),
        *(netlink.attribute(kind, struct.pack(">I", number)) for kind, number in interfaces(hook)),
        netlink.attribute(3, struct.pack(">I", mark)) if mark else b"",
        netlink.attribute(10, payload),
    ]
    return netlink.message(3 << 8, 0, 0, bytes(4) + b"".join(attributes))


@dataclass
class FakePacket:
    """A diverted packet, and what was decided on it."""

    payload: bytes
    hook: int = 3
    mark: int = OTHER_BITS
    given_mark: int | None = None
    given_payload: bytes | None = None
    verdict: str | None = None
    tracking: bytes = b""


class FakeQueue:
    """The library's queue, with a socket pair whose other end acknowledges."""

    def __init__(self) -> None:
        self.ours, self.kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def get_fd(self) -> int:
        return self.ours.fileno()

    def unbind(self) -> None:
        self.ours.close()
        self.kernel.close()


class FakeVerdicts:
    """Gives the verdict to the packet at hand; `fails` once, after it was given."""

    errors = 0
    fails = False

    def __init__(self) -> None:
        self.packet: FakePacket
        self.flushed = 0
        self.on_flush: Callable[[], None] = lambda: None
        self.on_pass: Callable[[], None] = lambda: None

    def flush(self) -> None:
        self.flushed += 1
        self.on_flush()

    def pass_on(self, packet_id: int, queue_number: int) -> None:
        assert packet_id == 7
        self.packet.verdict = f"queue {queue_number}"
        self.on_pass()

    def add(
        self, packet_id: int, verdict: int, payload: bytes | None = None, mark: int | None = None, tracking: bytes = b""
    ) -> None:
        assert packet_id == 7
        if self.packet.verdict is None:
            self.packet.given_payload, self.packet.given_mark, self.packet.tracking = payload, mark, tracking
            self.packet.verdict = {NF_REPEAT: "pass", NF_ACCEPT: "next chain", NF_DROP: "drop"}[verdict]
        if self.fails:
            self.fails = False
            raise ValueError


class Rig:
    """A queue that is bound to nothing, and the engine's next verdict."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, diverted_as: ConnectionClass) -> None:
        self.verdict: Verdict = (Action.ACCEPT, None, diverted_as)
        self.error: Exception | None = None
        self.calls: list[tuple[bytes, Direction, ConnectionClass]] = []
        self.routes: list[int] = []
        self.library = FakeQueue()
        monkeypatch.setattr(queue_module, "_bind", lambda *_: self.library)
        monkeypatch.setattr(PacketQueue, "_configure", lambda *_: None)
        self.queue = PacketQueue(1, diverted_as, self._engine, MARKS)
        self.verdicts = FakeVerdicts()
        for holder in (self.queue, self.queue._passage):
            monkeypatch.setattr(holder, "_verdicts", self.verdicts)
        merger = Merger(self.queue._passage, self.verdicts)  # type: ignore[arg-type]
        monkeypatch.setattr(self.queue, "_merger", merger)

    def _engine(
        self, packet: bytes, direction: Direction, _now: float, diverted_as: ConnectionClass, route: int
    ) -> Verdict:
        self.routes.append(route)
        self.calls.append((packet, direction, diverted_as))
        if self.error is not None:
            raise self.error
        return self.verdict

    def handle(self, packet: FakePacket) -> FakePacket:
        self.verdicts.packet = packet
        data = message(packet.payload, packet.hook, packet.mark)
        diverted = diverted_packet(memoryview(data), len(data))
        assert diverted is not None
        self.queue._handle(diverted)
        return packet


@pytest.fixture
def undecided(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(monkeypatch, ConnectionClass.UNDECIDED)


@pytest.fixture
def encrypted(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(monkeypatch, ConnectionClass.ENCRYPTED)


@pytest.mark.parametrize(("hook", "direction"), [(3, Direction.OUT), (0, Direction.IN)])
def test_engine_is_told_direction_and_class(undecided: Rig, hook: int, direction: Direction) -> None:
    packet = undecided.handle(FakePacket(packet_of(), hook))
    assert undecided.calls == [(packet_of(), direction, ConnectionClass.UNDECIDED)]
    mark = OTHER_BITS | MARKS.of_verdict(ConnectionClass.UNDECIDED)
    assert (packet.verdict, packet.given_mark, packet.given_payload) == ("pass", mark, None)


@pytest.mark.parametrize(("hook", "route"), [(3, ROUTE), (0, 5 << 32 | OTHER_BITS), (2, ROUTE | FORWARDED)])
def test_engine_is_told_the_way(undecided: Rig, hook: int, route: int) -> None:
    """The interface, and the mark bits of others."""
    undecided.handle(FakePacket(packet_of(), hook, OTHER_BITS | (MARKS.outward if hook == FORWARD else 0)))
    assert undecided.routes == [route]


@pytest.mark.parametrize("decided", [ConnectionClass.PLAIN, ConnectionClass.ENCRYPTED])
def test_new_class_is_marked_and_others_bits_kept(undecided: Rig, decided: ConnectionClass) -> None:
    undecided.verdict = (Action.MODIFY, b"new", decided)
    packet = undecided.handle(FakePacket(packet_of()))
    assert packet.given_mark == OTHER_BITS | MARKS.of_verdict(decided)
    assert (packet.verdict, packet.given_payload) == ("pass", b"new")


def test_connection_that_is_plain_after_all(encrypted: Rig) -> None:
    encrypted.verdict = (Action.ACCEPT, None, ConnectionClass.PLAIN)
    packet = encrypted.handle(FakePacket(packet_of()))
    assert packet.given_mark == OTHER_BITS | MARKS.of_verdict(ConnectionClass.PLAIN)


def test_a_verdict_that_changes_nothing_names_the_class(encrypted: Rig) -> None:
    """The rules know by the mark that the packet was handled."""
    for given in (ConnectionClass.ENCRYPTED, ConnectionClass.UNDECIDED):
        encrypted.verdict = (Action.ACCEPT, None, given)
        mark = encrypted.handle(FakePacket(packet_of())).given_mark
        assert mark == OTHER_BITS | MARKS.of_verdict(ConnectionClass.ENCRYPTED)


def test_drop(undecided: Rig) -> None:
    undecided.verdict = (Action.DROP, None, ConnectionClass.ENCRYPTED)
    assert undecided.handle(FakePacket(packet_of())).verdict == "drop"


def test_exception_of_an_undecided_connection_accepts_what_came(
    undecided: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    undecided.error = ValueError("secret")
    for _ in range(3):
        packet = undecided.handle(FakePacket(packet_of()))
        assert packet.verdict == "pass"
        assert not packet.given_payload
    assert undecided.queue.counters()["exceptions"] == 3
    assert len(caplog.records) == 1
    assert "secret" not in caplog.text


def test_exception_of_an_encrypted_connection_drops(encrypted: Rig) -> None:
    encrypted.error = ValueError()
    assert encrypted.handle(FakePacket(packet_of())).verdict == "drop"


def test_exception_after_the_verdict(undecided: Rig) -> None:
    undecided.verdict = (Action.MODIFY, b"new", ConnectionClass.UNDECIDED)
    undecided.verdicts.fails = True
    packet = undecided.handle(FakePacket(packet_of()))
    assert (packet.verdict, packet.given_payload) == ("pass", b"new")
    assert undecided.queue.exceptions == 1


def test_empty_packet(undecided: Rig, encrypted: Rig) -> None:
    assert undecided.handle(FakePacket(b"")).verdict == "pass"


@pytest.mark.parametrize("key", [KEY, KEY6])
def test_cut_packets_do_not_reach_the_engine(undecided: Rig, encrypted: Rig, key: bytes) -> None:
    whole = packet_of(bytes(9000), key)
    assert undecided.handle(FakePacket(whole)).verdict == "pass"
    assert encrypted.handle(FakePacket(whole)).verdict == "pass"
    assert undecided.handle(FakePacket(whole[:4016])).verdict == "pass"
    assert encrypted.handle(FakePacket(whole[:4016])).verdict == "drop"
    assert [len(rig.calls) for rig in (undecided, encrypted)] == [1, 1]
    assert [rig.queue.counters()["truncated"] for rig in (undecided, encrypted)] == [1, 1]


def test_what_is_not_handled_does_not_pass_before_its_connection_is_decided(undecided: Rig) -> None:
    """Neither a packet that is cut nor one that an exception has met."""
    asked: list[bytes] = []

    def holds(packet: bytes) -> bool:
        asked.append(packet)
        return len(asked) % 2 == 1

    undecided.queue.holds = holds
    cut = packet_of(bytes(9000))[:4016]
    assert [undecided.handle(FakePacket(cut)).verdict for _ in range(2)] == ["drop", "pass"]
    undecided.error = RuntimeError()
    assert [undecided.handle(FakePacket(packet_of())).verdict for _ in range(2)] == ["drop", "pass"]
    assert asked == [cut, cut, packet_of(), packet_of()]


JUMBO = b"\x60" + bytes(3) + b"\0\0\0\x40" + KEY6[:32] + b"\x06\x00\xc2\x04" + (1 << 17).to_bytes(4, "big")
BEGUN = {
    "ipv4": packet_of(bytes(65_491))[:2] + bytes(2) + packet_of(bytes(65_491))[4:],
    "ipv4, up to its largest size": packet_of(bytes(65_495))[:65_531],
    "ipv6, jumbo payload option": JUMBO + bytes(65_483),
    "ipv6, without the option": JUMBO[:6] + b"\x06" + JUMBO[7:40] + bytes(65_491),
}


@pytest.mark.parametrize("packet", BEGUN.values(), ids=BEGUN)
def test_what_is_too_large_is_cut_by_the_kernel(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, packet: bytes
) -> None:
    """Its segments are handled before anything that waits behind it."""
    assert len(packet) == 65_531
    encrypted, stream = Rig(monkeypatch, ConnectionClass.ENCRYPTED), Rig(monkeypatch, ConnectionClass.STREAM)
    told: list[bytes] = []
    stream.queue.segmenting, stream.queue.on_oversize = encrypted.queue, told.append
    encrypted.verdicts.packet = FakePacket(b"")

    def cut() -> None:
        for _ in range(100):
            encrypted.library.kernel.send(message(packet_of(b"x"), 3, 0))

    stream.verdicts.on_pass = cut
    for times in (1, 2):
        assert stream.handle(FakePacket(packet)).verdict == "queue 1"
        assert len(encrypted.calls) == 100 * times
        assert encrypted.verdicts.packet.verdict == "pass"
        encrypted.verdicts.packet = FakePacket(b"")
    assert told == [packet, packet]
    assert stream.calls == []
    counters = stream.queue.counters()
    assert (counters["oversize"], counters["truncated"]) == (2, 0)
    assert len(caplog.records) == 1
    # What the kernel cannot cut comes incomplete there, too.
    assert encrypted.handle(FakePacket(packet)).verdict == "drop"
    assert encrypted.queue.counters()["truncated"] == 1


@pytest.mark.parametrize(
    ("name", "hook", "injected"),
    [
        ("ipv4", 0, False),
        ("ipv6, without the option", 0, False),
        ("ipv6, jumbo payload option", 3, False),
        ("ipv6, jumbo payload option", 0, True),
    ],
)
def test_segments_that_the_kernel_would_misread_are_injected(
    monkeypatch: pytest.MonkeyPatch, name: str, hook: int, injected: bool
) -> None:
    """It looks for the TCP header where it was behind the option."""
    encrypted, stream = Rig(monkeypatch, ConnectionClass.ENCRYPTED), Rig(monkeypatch, ConnectionClass.STREAM)
    stream.queue.segmenting = encrypted.queue
    sent: list[tuple[Direction, bytes, int]] = []
    monkeypatch.setattr(encrypted.queue, "_inject", lambda *each: sent.append(each))
    encrypted.verdict = (Action.MODIFY, b"plaintext", ConnectionClass.STREAM)
    encrypted.verdicts.packet = segment = FakePacket(b"")

    def cut() -> None:
        encrypted.library.kernel.send(message(packet_of(b"x"), hook, 0))

    stream.verdicts.on_pass = cut
    stream.handle(FakePacket(BEGUN[name], hook))
    assert segment.verdict == ("drop" if injected else "pass")
    assert sent == ([(Direction.IN, b"plaintext", 5 << 32)] if injected else [])
    encrypted.verdicts.packet = segment = FakePacket(b"")
    cut()
    encrypted.queue.handle_ready()
    assert segment.verdict == "pass"


def test_large_packets_of_a_stream_are_as_closed_as_others(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Rig(monkeypatch, ConnectionClass.STREAM)
    whole = packet_of(bytes(65_000))
    assert stream.handle(FakePacket(whole)).verdict == "pass"
    assert stream.handle(FakePacket(whole[:65_000])).verdict == "drop"
    stream.error = ValueError()
    assert stream.handle(FakePacket(whole)).verdict == "drop"


def test_is_truncated() -> None:
    for key in (KEY, KEY6):
        assert not is_truncated(packet_of(bytes(5000), key))
        assert is_truncated(packet_of(bytes(5000), key)[:-1])


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


FORWARD = 2


@pytest.mark.parametrize(("mark", "direction"), [(MARKS.outward, Direction.OUT), (0, Direction.IN)])
def test_forwarded_packets_have_marks_of_their_own(undecided: Rig, mark: int, direction: Direction) -> None:
    undecided.verdict = (Action.ACCEPT, None, ConnectionClass.UNDECIDED)
    packet = undecided.handle(FakePacket(packet_of(), FORWARD, OTHER_BITS | mark))
    assert undecided.calls[-1][1] is direction
    assert packet.given_mark == OTHER_BITS | MARKS.of_verdict(ConnectionClass.UNDECIDED, forwarded=True)
    undecided.verdict = (Action.ACCEPT, None, ConnectionClass.STREAM)
    packet = undecided.handle(FakePacket(packet_of(), FORWARD, OTHER_BITS | mark))
    assert packet.given_mark == OTHER_BITS | MARKS.of_verdict(ConnectionClass.STREAM, forwarded=True)


@pytest.mark.parametrize("hook", [0, 1, 2, 3])
def test_what_comes_back_goes_on(undecided: Rig, hook: int) -> None:
    """Rules that do not look at the marks of verdicts would bring it here for ever."""
    handled = MARKS.of_verdict(ConnectionClass.UNDECIDED, forwarded=hook == FORWARD)
    packet = undecided.handle(FakePacket(packet_of(), hook, handled))
    assert (packet.verdict, packet.given_payload) == ("next chain", None)
    assert not undecided.calls


@pytest.mark.parametrize(
    ("hook", "mark", "direction"),
    [
        (0, MARKS.diverted, Direction.IN),
        (1, MARKS.diverted, Direction.IN),
        (3, MARKS.diverted, Direction.OUT),
    ],
)
@pytest.mark.parametrize("decided", ConnectionClass)
def test_rules_of_nft(undecided: Rig, hook: int, mark: int, direction: Direction, decided: ConnectionClass) -> None:
    """The packet goes on as it is, and the class of its connection is told to connection tracking when it changes."""
    undecided.verdict = (Action.MODIFY, b"other", decided)
    packet = undecided.handle(FakePacket(packet_of(), hook, OTHER_BITS | mark))
    assert undecided.calls[-1][1] is direction
    assert (packet.verdict, packet.given_payload, packet.given_mark) == ("next chain", b"other", None)
    changed = decided is not ConnectionClass.UNDECIDED
    assert packet.tracking == (for_tracking(MARKS.of_class(decided), MARKS.mask) if changed else b"")


def test_rules_of_nft_and_a_connection_that_others_marked(undecided: Rig) -> None:
    syn = make(KEY, sequence=1, acknowledgment=0, flags=SYN, window=3)
    undecided.handle(FakePacket(syn, 4, 5))
    packet = undecided.handle(FakePacket(packet_of(), 3, MARKS.diverted))
    # To be routed by that mark, and known by ours when it comes to the chain again.
    assert (packet.verdict, packet.given_mark) == ("pass", 5 | MARKS.diverted)
    packet = undecided.handle(FakePacket(packet_of(), 3, 5 | MARKS.diverted))
    assert (packet.verdict, packet.given_mark) == ("next chain", None)


def test_what_would_not_be_forwarded_is_injected(undecided: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[Direction, bytes, int]] = []
    monkeypatch.setattr(undecided.queue, "_inject", lambda *each: sent.append(each))
    monkeypatch.setattr(queue_module, "needs_sending", lambda *_: True)
    monkeypatch.setattr(queue_module, "fitting", lambda *_: [b"one", b"two"])
    # The packet that changes the class goes on itself, with its mark.
    undecided.verdict = (Action.MODIFY, packet_of(b"x"), ConnectionClass.STREAM)
    assert undecided.handle(FakePacket(packet_of(), FORWARD)).verdict == "pass"
    undecided.verdict = (Action.MODIFY, packet_of(b"x"), ConnectionClass.UNDECIDED)
    assert undecided.handle(FakePacket(packet_of(), FORWARD)).verdict == "drop"
    assert sent == [(Direction.IN, b"one", ROUTE | FORWARDED), (Direction.IN, b"two", ROUTE | FORWARDED)]
    for packet in (FakePacket(packet_of(), FORWARD, MARKS.outward), FakePacket(packet_of(), 0)):
        assert undecided.handle(packet).verdict == "pass"


class FakeGuard(OffloadGuard):
    """Answers as it is told, and notes what it is asked."""

    def __init__(self, admits: bool) -> None:
        super().__init__()
        self.admits = admits
        self.asked: list[bool] = []

    def admit(self, tracked: bytes, packet: bytes, is_plain: bool) -> bool:
        self.asked.append(is_plain)
        return self.admits


def test_what_a_flowtable_could_take_is_dropped(undecided: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    guard = FakeGuard(admits=False)
    monkeypatch.setattr(undecided.queue, "_guard", guard)
    for each in (ConnectionClass.UNDECIDED, ConnectionClass.STREAM, ConnectionClass.PLAIN):
        undecided.verdict = (Action.ACCEPT, None, each)
        assert undecided.handle(FakePacket(packet_of(), FORWARD)).verdict == "drop"
        assert undecided.handle(FakePacket(packet_of(), 3)).verdict == "pass"
    undecided.verdict = (Action.DROP, None, ConnectionClass.UNDECIDED)
    assert undecided.handle(FakePacket(packet_of(), FORWARD)).verdict == "drop"
    assert guard.asked == [False, False, True]
    guard.admits = True
    undecided.verdict = (Action.ACCEPT, None, ConnectionClass.STREAM)
    assert undecided.handle(FakePacket(packet_of(), FORWARD)).verdict == "pass"


def test_openings_that_others_marked_show_their_way(undecided: Rig) -> None:
    """Behind our rules in OUTPUT; what follows on the connection has it, and the next SYN looks again."""
    syn, later = make(KEY, sequence=1, acknowledgment=0, flags=SYN, window=3), packet_of()
    undecided.handle(FakePacket(syn, 3, 0))
    packet = undecided.handle(FakePacket(syn, 4, 5))
    assert (packet.verdict, packet.given_mark) == ("pass", 5 | MARKS.of_verdict(ConnectionClass.UNDECIDED))
    assert len(undecided.calls) == 1
    assert undecided.queue.seen.of(later, 0) == 7 << 32 | 5
    packet = undecided.handle(FakePacket(later, 3, 0))
    assert packet.given_mark == 5 | MARKS.of_verdict(ConnectionClass.UNDECIDED)
    assert undecided.queue.seen.routes
    undecided.handle(FakePacket(syn, 3, 0))
    assert not undecided.queue.seen.routes


def test_the_routes_that_were_seen_are_bounded() -> None:
    seen = SeenRoutes()
    for number in range(MAX_ROUTES + 1):
        seen.note(packet_of(key=number.to_bytes(12, "big")), 5)
    assert len(seen.routes) == MAX_ROUTES
    assert seen.of(packet_of(key=bytes(12)), 6) == 6


class FakeOutlet:
    """Notes what it is given."""

    def __init__(self) -> None:
        self.waiting = 0
        self.sent: list[tuple[bytes, int]] = []
        self.done: list[Callable[[], None]] = []

    def send(self, packets: bytes, route: int, done: Callable[[], None]) -> bool:
        self.sent.append((packets, route))
        self.done.append(done)
        return not self.waiting

    def is_waiting(self, packet: bytes, route: int) -> bool:
        return route == ROUTE and b"behind" in packet


@pytest.fixture
def outlet(encrypted: Rig, monkeypatch: pytest.MonkeyPatch) -> FakeOutlet:
    outlet = FakeOutlet()
    monkeypatch.setattr(encrypted.queue, "_outlet", outlet)
    return outlet


def test_pieces_are_sent_in_the_place_of_the_packet(encrypted: Rig, outlet: FakeOutlet) -> None:
    encrypted.verdict = (Action.SPLIT, b"pieces", ConnectionClass.ENCRYPTED)
    assert encrypted.handle(FakePacket(packet_of())).verdict == "drop"
    assert outlet.sent == [(b"pieces", ROUTE)]


def test_pieces_come_after_what_left_before_them(encrypted: Rig, outlet: FakeOutlet) -> None:
    """Verdicts wait to be sent together; what they let go must not be overtaken, and what comes in does not matter."""
    encrypted.verdict = (Action.SPLIT, b"pieces", ConnectionClass.ENCRYPTED)
    encrypted.handle(FakePacket(packet_of()))
    assert encrypted.verdicts.flushed == 0
    for hook, flushed in ((3, 1), (0, 1)):
        encrypted.verdict = (Action.MODIFY, b"sealed", ConnectionClass.ENCRYPTED)
        encrypted.handle(FakePacket(packet_of(), hook))
        encrypted.verdict = (Action.SPLIT, b"pieces", ConnectionClass.ENCRYPTED)
        encrypted.handle(FakePacket(packet_of()))
        assert encrypted.verdicts.flushed == flushed


def test_the_kernel_hears_of_pieces_when_they_have_gone(encrypted: Rig, outlet: FakeOutlet) -> None:
    """It sends no more of a connection whose packets wait (TCP small queues)."""
    outlet.waiting = 1
    encrypted.verdict = (Action.SPLIT, b"pieces", ConnectionClass.ENCRYPTED)
    packet = encrypted.handle(FakePacket(packet_of()))
    assert packet.verdict is None
    outlet.done[0]()
    assert packet.verdict == "drop"
    assert encrypted.verdicts.flushed == 1


def test_nothing_overtakes_pieces_that_wait(encrypted: Rig, outlet: FakeOutlet) -> None:
    outlet.waiting = 1
    encrypted.verdict = (Action.MODIFY, b"behind", ConnectionClass.ENCRYPTED)
    assert encrypted.handle(FakePacket(packet_of())).verdict is None
    assert encrypted.handle(FakePacket(packet_of(), 0)).verdict == "pass"
    encrypted.verdict = (Action.MODIFY, b"another", ConnectionClass.ENCRYPTED)
    assert encrypted.handle(FakePacket(packet_of())).verdict == "pass"
    assert outlet.sent == [(b"behind", ROUTE)]


def test_pieces_without_a_way_out_are_dropped(encrypted: Rig) -> None:
    encrypted.verdict = (Action.SPLIT, b"pieces", ConnectionClass.ENCRYPTED)
    assert encrypted.handle(FakePacket(packet_of())).verdict == "drop"


def test_bytes_are_counted_by_direction(undecided: Rig) -> None:
    sizes = []
    for hook, payload in ((3, b"x" * 100), (0, b"y" * 10), (0, b"")):
        packet = packet_of(payload)
        sizes.append(len(packet))
        undecided.handle(FakePacket(packet, hook))
    counters = undecided.queue.counters()
    assert (counters["bytes_out"], counters["bytes_in"]) == (sizes[0], sizes[1] + sizes[2])
    assert counters["packets"] == 3
