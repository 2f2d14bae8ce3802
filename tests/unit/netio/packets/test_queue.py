"""Verdicts, on packets that record what is done to them."""

from collections.abc import Callable

import pytest

from tcpcryptd.core.verdict import Action, ConnectionClass, Direction
from tcpcryptd.netio.kernel.route import FORWARDED
from tcpcryptd.netio.packets import queue as queue_module
from tcpcryptd.netio.packets.offload_guard import OffloadGuard
from tcpcryptd.netio.packets.queue import is_truncated
from tcpcryptd.netio.packets.seen_routes import MAX_ROUTES, SeenRoutes
from tcpcryptd.netio.packets.verdicts import for_tracking
from tcpcryptd.wire.segment import SYN, make
from tests.unit.netio.packets.queue_rig import KEY, KEY6, MARKS, OTHER_BITS, ROUTE, FakePacket, Rig, message, packet_of


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
