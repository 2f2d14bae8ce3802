"""The incoming direction, case by case; tests/unit/eno/stream/test_stream.py has the generated ones."""

import pytest

from tcpcryptd.eno.limits import FRAME_COST, Limits
from tcpcryptd.eno.stream.frame import HEADER, seal_frame
from tcpcryptd.eno.stream.inbound_stream import InboundStream, Outcome, Received
from tests.unit.eno.stream.fakes import FakeKeys

START = 100


class Peer:
    """Seals frames in order."""

    def __init__(self) -> None:
        self.keys = FakeKeys()
        self.generation = 0
        self.wire = START

    def frame(self, data: bytes, *, rekey: bool = False, fin: bool = False, urgent: int | None = None) -> bytes:
        self.generation += rekey
        frame = seal_frame(self.keys(self.generation), self.wire, data, rekey=rekey, fin=fin, urgent=urgent)
        self.wire += len(frame)
        return bytes(frame)


def make(limits: Limits | None = None) -> tuple[InboundStream, Peer]:
    peer = Peer()
    return InboundStream(peer.keys, START, limits or Limits()), peer


def read(received: Received) -> tuple[Outcome, list[tuple[int, bytes, bool]]]:
    return received[0], [(each.start, bytes(each.data), each.fin) for each in received[1]]


def positions(received: Received) -> list[tuple[int, bytes, int | None]]:
    return [(each.start, bytes(each.data), each.urgent) for each in received[1]]


def test_a_frame_is_delivered() -> None:
    inbound, peer = make()
    assert read(inbound.receive(START, peer.frame(b"ab"))) == (Outcome.DELIVERED, [(0, b"ab", False)])
    assert read(inbound.receive(START + 22, peer.frame(b"cd"))) == (Outcome.DELIVERED, [(2, b"cd", False)])
    assert (inbound.end, inbound.next_wire) == (4, START + 44)


def test_frames_come_together_and_apart() -> None:
    inbound, peer = make()
    wire = peer.frame(b"ab") + peer.frame(b"cd") + peer.frame(b"ef")
    assert read(inbound.receive(START, wire[:50])) == (Outcome.DELIVERED, [(0, b"abcd", False)])
    for at in range(50, 65):
        assert read(inbound.receive(START + at, wire[at : at + 1])) == (Outcome.HELD, [])
        # Joined once, when the frame is complete.
        assert inbound._held.segments == at - 48
    assert read(inbound.receive(START + 65, wire[65:])) == (Outcome.DELIVERED, [(4, b"ef", False)])


def test_what_is_behind_a_hole_is_held_and_reported() -> None:
    inbound, peer = make()
    wire = peer.frame(b"abcd") + peer.frame(b"efgh")
    assert read(inbound.receive(START + 30, wire[30:])) == (Outcome.OUT_OF_ORDER, [])
    assert (inbound.has_gap, inbound.sack_blocks(START)) == (True, [(130, 148)])
    third = peer.frame(b"ij")
    assert read(inbound.receive(START + 48, third)) == (Outcome.OUT_OF_ORDER, [])
    assert inbound.sack_blocks(START) == [(130, 170)]
    assert read(inbound.receive(START, wire[:10])) == (Outcome.OUT_OF_ORDER, [])
    assert inbound.sack_blocks(START) == [(130, 170), (101, 110)]
    assert read(inbound.receive(START + 10, wire[10:30])) == (Outcome.DELIVERED, [(0, b"abcdefghij", False)])
    assert (inbound.has_gap, inbound.sack_blocks(START)) == (False, [])


def test_what_was_acknowledged_of_a_frame_is_kept_and_its_forgery_is_fatal() -> None:
    inbound, peer = make()
    wire = peer.frame(b"ab") + peer.frame(b"cd")
    inbound.receive(START, wire[:22])
    inbound.receive(START + 22, wire[22:30])
    inbound.commit(1)
    assert inbound.wire_acknowledgment(2) == START + 22
    inbound.commit(2)
    assert inbound.wire_acknowledgment(2) == START + 30
    assert read(inbound.receive(START + 22, b"?" * 10)) == (Outcome.HELD, [])
    assert inbound.wire_acknowledgment(2) == START + 30
    assert read(inbound.receive(START + 30, wire[30:])) == (Outcome.DELIVERED, [(2, b"cd", False)])
    assert inbound.wire_acknowledgment(2) == START + 30
    third = peer.frame(b"ef")
    inbound.receive(START + 44, third[:10])
    inbound.commit(4)
    assert inbound.receive(START + 54, bytes(12))[0] is Outcome.DAMAGED


def test_a_part_of_a_frame_that_comes_again_is_answered() -> None:
    inbound, peer = make()
    frame = peer.frame(b"abcd")
    assert inbound.receive(START, frame[:10])[0] is Outcome.HELD
    assert inbound.receive(START, frame[:10])[0] is Outcome.OUT_OF_ORDER
    inbound.commit(0)
    assert inbound.receive(START, frame[:10])[0] is Outcome.OUT_OF_ORDER
    assert inbound.receive(START + 20, frame[20:22])[0] is Outcome.OUT_OF_ORDER
    assert inbound.receive(START + 10, frame[10:20])[0] is Outcome.OUT_OF_ORDER


def test_what_the_peer_may_have_forgotten_is_delivered_again() -> None:
    """The local kernel did not take the frame, and the peer knows that its beginning has come."""
    inbound, peer = make()
    frame = peer.frame(b"abcd")
    inbound.receive(START, frame[:10])
    inbound.commit(0)
    assert inbound.receive(START + 10, frame[10:])[0] is Outcome.DELIVERED
    assert read(inbound.receive(START + 10, frame[10:])) == (Outcome.REPEATED, [(0, b"abcd", False)])


def test_large_plaintext_is_cut_for_packets() -> None:
    inbound, peer = make(Limits(delivery=10))
    wire = peer.frame(b"a" * 25) + peer.frame(b"b" * 4) + peer.frame(b"c" * 4) + peer.frame(b"d" * 4)
    assert read(inbound.receive(START, wire))[1] == [
        (0, b"a" * 10, False),
        (10, b"a" * 10, False),
        (20, b"aaaaabbbb", False),
        (29, b"ccccdddd", False),
    ]


def test_urgent_frames_begin_a_delivery() -> None:
    inbound, peer = make()
    wire = peer.frame(b"ab") + peer.frame(b"cd", urgent=5) + peer.frame(b"ef") + peer.frame(b"gh", urgent=0)
    assert positions(inbound.receive(START, wire)) == [
        (0, b"ab", None),
        (2, b"cdef", 7),
        (6, b"gh", 6),
    ]
    assert inbound.receive(peer.wire, peer.frame(b"ij", urgent=1))[1][0].urgent == 9


def test_what_is_delivered_again_is_urgent_as_before() -> None:
    """Else the byte would be delivered among the others."""
    inbound, peer = make()
    frame = peer.frame(b"ab") + peer.frame(b"cdef", urgent=1)
    assert positions(inbound.receive(START, frame))[-1] == (2, b"cdef", 3)
    assert [urgent for _, _, urgent in positions(inbound.receive(START, frame))] == [3]
    inbound.acknowledge(2)
    assert positions(inbound.receive(START + 22, frame[22:])) == [(2, b"cdef", 3)]
    inbound.receive(peer.wire, peer.frame(b"gh"))
    inbound.acknowledge(6)
    assert positions(inbound.receive(peer.wire - 22, frame[:22])) == [(6, b"gh", None)]


def test_an_urgent_position_that_is_past_is_not_repeated() -> None:
    inbound, peer = make(Limits(delivery=4))
    received = inbound.receive(START, peer.frame(b"abcdefgh", urgent=2))
    assert [urgent for _, _, urgent in positions(received)] == [2, None]


def test_a_frame_that_is_not_authentic_takes_everything_held_with_it() -> None:
    inbound, peer = make()
    wire = peer.frame(b"ab") + peer.frame(b"cd") + peer.frame(b"ef")
    inbound.receive(START + 56, wire[56:])
    wrong = wire[:30] + b"\0" + wire[31:50]
    assert read(inbound.receive(START, wrong)) == (Outcome.FAILED, [(0, b"ab", False)])
    assert (inbound.failures, inbound.has_gap, inbound.next_wire) == (1, False, START + 22)
    assert read(inbound.receive(START + 22, wire[22:])) == (Outcome.DELIVERED, [(2, b"cdef", False)])


@pytest.mark.parametrize("length", [0, 16])
def test_a_ciphertext_that_is_too_short(length: int) -> None:
    inbound, _ = make()
    assert inbound.receive(START, HEADER.pack(0, length) + bytes(40))[0] is Outcome.FAILED


def test_a_wrong_length_does_not_stop_the_stream() -> None:
    inbound, peer = make()
    frame = peer.frame(b"abcd")
    assert inbound.receive(START, b"\0\xff\xff" + frame[3:])[0] is Outcome.HELD
    assert read(inbound.receive(START, frame)) == (Outcome.DELIVERED, [(0, b"abcd", False)])
    assert inbound.conflicts == 1


def test_what_the_kernel_has_not_acknowledged_is_delivered_again() -> None:
    inbound, peer = make()
    wire = peer.frame(b"abcd") + peer.frame(b"efgh")
    inbound.receive(START, wire)
    assert read(inbound.receive(START, wire)) == (Outcome.REPEATED, [(0, b"abcdefgh", False)])
    assert read(inbound.receive(START, wire[:2])) == (Outcome.REPEATED, [(0, b"ab", False)])
    assert read(inbound.receive(START, wire[:1])) == (Outcome.REPEATED, [(0, b"a", False)])
    assert read(inbound.receive(START + 20, wire[20:24])) == (Outcome.REPEATED, [(0, b"abcd", False)])
    inbound.acknowledge(4)
    assert read(inbound.receive(START, wire[:24])) == (Outcome.OUTDATED, [])
    assert read(inbound.receive(START, wire)) == (Outcome.REPEATED, [(4, b"efgh", False)])
    more = peer.frame(b"ij")
    assert read(inbound.receive(START, wire + more)) == (Outcome.DELIVERED, [(4, b"efgh", False), (8, b"ij", False)])
    inbound.acknowledge(10)
    assert read(inbound.receive(START, wire)) == (Outcome.OUTDATED, [])


def test_positions_and_acknowledgments() -> None:
    inbound, peer = make()
    assert (inbound.wire_acknowledgment(0), inbound.plain_position(START - 1)) == (START, -1)
    inbound.receive(START, peer.frame(b"abcd") + peer.frame(b"") + peer.frame(b"ef"))
    assert [inbound.wire_acknowledgment(plain) for plain in range(8)] == [100, 101, 102, 103, 144, 145, 166, 166]
    assert [inbound.plain_position(wire) for wire in (166, 165, 148, 124, 106, 99, 170)] == [6, 5, 5, 4, 3, -1, 6]
    inbound.acknowledge(6)
    assert [inbound.plain_position(wire) for wire in (166, 165)] == [6, 5]
    inbound.receive(peer.wire, peer.frame(b""))
    assert (inbound.wire_acknowledgment(6), inbound.plain_position(166)) == (186, 5)


def test_frames_without_data() -> None:
    inbound, peer = make()
    assert read(inbound.receive(START, peer.frame(b""))) == (Outcome.EMPTY, [])
    assert inbound.wire_acknowledgment(0) == START + 20
    assert read(inbound.receive(START, b"x" * 20)) == (Outcome.OUTDATED, [])


def test_rekeying() -> None:
    inbound, peer = make()
    inbound.receive(START, peer.frame(b"ab", rekey=True) + peer.frame(b"cd") + peer.frame(b"", rekey=True))
    assert inbound.generation == 2
    assert read(inbound.receive(peer.wire, peer.frame(b"ef"))) == (Outcome.DELIVERED, [(4, b"ef", False)])
    assert peer.keys.asked.count(1) >= 1


@pytest.mark.parametrize("rekey", [0, 1])
def test_reserved_control_bits_are_ignored(rekey: int) -> None:
    """They are authenticated as they came, and have no meaning (RFC 8548 section 4.2)."""
    inbound, peer = make()
    header = HEADER.pack(0xFE | rekey, 19)
    frame = header + peer.keys(rekey).seal(START, header, b"\0ab")
    assert read(inbound.receive(START, frame)) == (Outcome.DELIVERED, [(0, b"ab", False)])
    assert inbound.generation == rekey


def test_a_forged_rekey_bit_changes_nothing() -> None:
    inbound, peer = make()
    frame = peer.frame(b"ab")
    for _ in range(3):
        assert inbound.receive(START, b"\x01" + frame[1:])[0] is Outcome.FAILED
    assert inbound.generation == 0
    assert peer.keys.asked.count(1) == 1
    assert read(inbound.receive(START, frame)) == (Outcome.DELIVERED, [(0, b"ab", False)])


@pytest.mark.parametrize("apart", [False, True])
def test_a_frame_with_finp_ends_the_stream(apart: bool) -> None:
    """Also when the TCP header does not say so yet; the FIN is acknowledged when it does (RFC 8548 section 3.7)."""
    inbound, peer = make()
    frame = peer.frame(b"ab", fin=True)
    if apart:
        assert read(inbound.receive(START, frame)) == (Outcome.DELIVERED, [(0, b"ab", True)])
        assert inbound.finished
        assert [inbound.wire_acknowledgment(plain) for plain in (1, 2, 3)] == [101, 122, 122]
        assert read(inbound.receive(peer.wire, b"", fin=True)) == (Outcome.REPEATED, [(2, b"", True)])
    else:
        assert read(inbound.receive(START, frame, fin=True)) == (Outcome.DELIVERED, [(0, b"ab", True)])
    assert inbound.finished
    assert [inbound.wire_acknowledgment(plain) for plain in (1, 2, 3)] == [101, 122, 123]
    assert (inbound.plain_position(123), inbound.plain_position(122)) == (3, 2)
    assert read(inbound.receive(START, frame, fin=True)) == (Outcome.REPEATED, [(0, b"ab", True)])
    inbound.acknowledge(3)
    assert read(inbound.receive(START, frame, fin=True)) == (Outcome.REPEATED, [(2, b"", True)])


def test_fin_can_come_before_what_it_ends() -> None:
    inbound, peer = make()
    frame = peer.frame(b"ab", fin=True)
    assert read(inbound.receive(peer.wire, b"", fin=True)) == (Outcome.OUT_OF_ORDER, [])
    assert read(inbound.receive(START, frame)) == (Outcome.DELIVERED, [(0, b"ab", True)])


def test_fin_where_no_frame_says_so_is_a_truncation() -> None:
    inbound, peer = make()
    frame = peer.frame(b"ab")
    assert read(inbound.receive(START, frame, fin=True)) == (Outcome.TRUNCATED, [(0, b"ab", False)])
    assert not inbound.finished
    assert read(inbound.receive(peer.wire, b"", fin=True)) == (Outcome.TRUNCATED, [])


@pytest.mark.parametrize("cut", [0, 10])
def test_fin_inside_a_frame_is_a_truncation_when_it_comes_again(cut: int) -> None:
    inbound, peer = make()
    first, second = peer.frame(b"ab"), peer.frame(b"cd")

    def receive(wire: int, frame: bytes) -> Outcome:
        if cut:
            inbound.receive(wire, frame[:cut])
        return inbound.receive(wire + cut, frame[cut:-1], fin=True)[0]

    assert receive(START, first) is Outcome.FAILED
    assert inbound.receive(START, first)[0] is Outcome.DELIVERED
    assert receive(START + 22, second) is Outcome.FAILED
    assert receive(START + 22, second) is Outcome.TRUNCATED


@pytest.mark.parametrize("at", [START - 1, START + 5, START + 22])
def test_a_forged_fin_before_the_end_is_nothing(at: int) -> None:
    inbound, peer = make()
    wire = peer.frame(b"ab") + peer.frame(b"cd", fin=True)
    inbound.receive(START, wire[:30])
    if at == START + 22:
        inbound.receive(START + 30, wire[30:])
    assert inbound.receive(at, b"", fin=True)[1] == []
    assert inbound.finished == (at == START + 22)
    assert inbound.wire_acknowledgment(inbound.end + 1) == inbound.next_wire
    inbound.receive(START + 30, wire[30:])
    assert inbound.receive(peer.wire, b"", fin=True)[1][-1].fin
    assert inbound.wire_acknowledgment(inbound.end + 1) == inbound.next_wire + 1


@pytest.mark.parametrize("data", [b"", b"cd"])
def test_an_authentic_frame_after_the_last_is_an_error(data: bytes) -> None:
    inbound, peer = make()
    inbound.receive(START, peer.frame(b"ab", fin=True))
    assert inbound.receive(peer.wire, peer.frame(data))[0] is Outcome.INVALID
    assert read(inbound.receive(START + 22, b"x" * 60)) == (Outcome.HELD, [])


def test_an_authentic_frame_without_its_urgent_field_is_an_error() -> None:
    inbound, peer = make()
    header = HEADER.pack(0, 17)
    assert inbound.receive(START, header + peer.keys(0).seal(START, header, b"\x02"))[0] is Outcome.INVALID


def test_at_the_bound_nothing_more_is_taken() -> None:
    inbound, peer = make(Limits(unacknowledged=2 * (21 + FRAME_COST)))
    frames = [peer.frame(b"a") for _ in range(4)]
    wires = [START + 21 * number for number in range(4)]
    for wire, frame in zip(wires[:2], frames[:2], strict=True):
        assert inbound.receive(wire, frame)[0] is Outcome.DELIVERED
    assert read(inbound.receive(wires[2], frames[2])) == (Outcome.REFUSED, [])
    assert read(inbound.receive(wires[3], frames[3])) == (Outcome.REFUSED, [])
    assert (inbound.has_gap, inbound.next_wire) == (False, wires[2])
    assert read(inbound.receive(wires[0], frames[0])) == (Outcome.REPEATED, [(0, b"a", False)])
    inbound.acknowledge(2)
    assert inbound.receive(wires[2], frames[2])[0] is Outcome.DELIVERED


def test_beyond_the_bounds_nothing_is_held() -> None:
    inbound, _ = make(Limits(reach=50, segments=2))
    assert inbound.receive(START + 45, bytes(6))[0] is Outcome.REFUSED
    assert inbound.receive(START + 45, bytes(5))[0] is Outcome.OUT_OF_ORDER
    assert inbound.receive(START + 35, bytes(5))[0] is Outcome.OUT_OF_ORDER
    assert inbound.receive(START + 25, bytes(5))[0] is Outcome.REFUSED
    assert inbound.sack_blocks(START) == [(135, 140), (145, 150)]
    inbound, _ = make(Limits(reach=50, segments=2))
    outcomes = [inbound.receive(START + at, bytes(5))[0] for at in (10, 15, 20)]
    assert outcomes == [Outcome.OUT_OF_ORDER, Outcome.OUT_OF_ORDER, Outcome.REFUSED]


def test_what_has_come_before_is_told() -> None:
    inbound, peer = make()
    frame, other = peer.frame(b"abcd"), peer.frame(b"efgh")
    inbound.receive(START, frame)
    assert inbound.duplicate is None
    inbound.receive(START, frame)
    assert inbound.duplicate == (START, START + 24)
    inbound.duplicate = None
    inbound.receive(START + 30, other[6:])
    inbound.receive(START + 40, other[16:20])
    assert inbound.duplicate == (START + 40, START + 44)
    inbound.duplicate = None
    inbound.receive(START + 24, other)
    inbound.acknowledge(8)
    assert inbound.duplicate is None
    assert inbound.receive(START + 24, other)[0] is Outcome.OUTDATED
    assert inbound.duplicate == (START + 24, START + 48)
