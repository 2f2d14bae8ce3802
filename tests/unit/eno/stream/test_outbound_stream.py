"""The outgoing direction, case by case; tests/unit/eno/stream/test_stream.py has the generated ones."""

from itertools import pairwise
from typing import NamedTuple

import pytest

from tcpcryptd.eno.constants import OVERHEAD
from tcpcryptd.eno.limits import Limits
from tcpcryptd.eno.stream.frame import HEADER, MAX_DATA, open_frame
from tcpcryptd.eno.stream.outbound_stream import OutboundStream, Piece
from tests.unit.eno.stream.fakes import FakeKeys, NonceReused

START = 100


class Sent(NamedTuple):
    wire: int
    payload: bytes
    fin: bool


def make(limits: Limits | None = None) -> OutboundStream:
    return OutboundStream(FakeKeys(), START, limits or Limits())


def sent(piece: Piece | None) -> Sent:
    assert piece is not None
    return Sent(piece.wire, bytes(piece.payload), piece.fin)


def opened(piece: Sent, generation: int = 0) -> tuple[bytes, bool, int | None]:
    frame = open_frame(FakeKeys()(generation), piece.wire, memoryview(piece.payload))
    assert frame is not None
    return bytes(frame.data), frame.fin, frame.urgent


def test_a_segment_becomes_a_frame() -> None:
    piece = sent(make().send(0, b"data"))
    assert (piece.wire, len(piece.payload), piece.fin) == (START, 4 + OVERHEAD, False)
    assert opened(piece) == (b"data", False, None)


def test_a_long_segment_becomes_several_frames() -> None:
    outbound = make()
    payload = bytes(MAX_DATA) + b"rest"
    piece = sent(outbound.send(0, payload, fin=True))
    assert len(piece.payload) == len(payload) + 2 * OVERHEAD
    first = MAX_DATA + OVERHEAD
    assert opened(Sent(START, piece.payload[:first], False))[1] is False
    assert opened(Sent(START + first, piece.payload[first:], True)) == (b"rest", True, None)
    assert sent(outbound.send(0, payload, fin=True)) == piece


def test_what_was_sealed_stays_as_it_is_whatever_comes() -> None:
    outbound = make()
    first, second = sent(outbound.send(0, b"abcd")), sent(outbound.send(4, b"efgh"))
    assert sent(outbound.send(0, b"????????")) == Sent(START, first.payload + second.payload, False)
    assert sent(outbound.send(2, b"????")) == Sent(START + 2, first.payload[2:] + second.payload[:2], False)
    longer = sent(outbound.send(6, b"??ij"))
    assert longer.payload[:22] == second.payload[2:]
    assert opened(Sent(second.wire + 24, longer.payload[22:], False))[0] == b"ij"


def test_a_hole_cannot_be() -> None:
    outbound = make()
    outbound.send(0, b"ab")
    assert outbound.send(3, b"d") is None
    assert outbound.send(3, b"", fin=True) is None
    assert outbound.end == 2


def test_fin_alone_makes_a_frame_without_data() -> None:
    outbound = make()
    outbound.send(0, b"ab")
    piece = sent(outbound.send(2, b"", fin=True))
    assert (piece.wire, piece.fin) == (START + 22, True)
    assert opened(piece) == (b"", True, None)
    assert sent(outbound.send(2, b"", fin=True)) == piece
    assert outbound.unacknowledged_empty() is None
    assert sent(outbound.send(1, b"?", fin=True)).payload[-20:] == piece.payload
    assert sent(outbound.send(1, b"?")).wire == START + 1
    outbound.acknowledge(START + 42)
    assert sent(outbound.send(2, b"", fin=True)) == Sent(START + 42, b"", True)
    assert outbound.plain_acknowledgment(START + 42) == 2
    outbound.acknowledge(START + 43)
    assert outbound.plain_acknowledgment(START + 43) == 3
    assert outbound.wire_position(3) == START + 43


def test_fin_with_data_can_be_sent_again_apart_from_it() -> None:
    outbound = make()
    piece = sent(outbound.send(0, b"ab", fin=True))
    assert opened(piece)[1]
    assert sent(outbound.send(0, b"ab")) == piece._replace(fin=False)
    assert sent(outbound.send(2, b"", fin=True)) == Sent(START + 22, b"", True)


def test_nothing_follows_the_fin() -> None:
    outbound = make()
    outbound.send(0, b"ab", fin=True)
    for start, payload, fin in [(2, b"c", False), (1, b"bc", False), (0, b"a", True), (3, b"", True)]:
        assert outbound.send(start, payload, fin) is None
    outbound.rekey()
    assert outbound.empty_frame() is None
    assert outbound.follow(3) is None
    assert (outbound.generation, outbound.wire_end) == (0, START + 22)


def test_fin_before_what_was_sent_is_not_believed() -> None:
    outbound = make()
    outbound.send(0, b"abcd")
    assert sent(outbound.send(0, b"ab", fin=True)).fin is False
    assert not outbound.finished


@pytest.mark.parametrize(("urgent", "carried"), [(4, 0), (6, 2), (4 + 0xFFFF, 0xFFFF), (3, None), (5 + 0xFFFF, None)])
def test_urgent(urgent: int, carried: int | None) -> None:
    outbound = make()
    outbound.send(0, b"abcd")
    assert opened(sent(outbound.send(4, b"efgh", urgent=urgent))) == (b"efgh", False, carried)
    assert outbound.wire_position(5) == START + 24 + 1


def test_positions_of_segments_without_payload() -> None:
    outbound = make()
    assert sent(outbound.send(0, b"")) == Sent(START, b"", False)
    assert outbound.wire_position(-1) == START - 1
    outbound.send(0, b"abcd")
    assert [outbound.wire_position(start) for start in range(6)] == [100, 101, 102, 103, 124, 124]
    outbound.acknowledge(START + 24)
    assert sent(outbound.send(3, b"")) == Sent(START + 23, b"", False)
    assert sent(outbound.send(3, b"d")) == Sent(START + 23, b"", False)


def test_acknowledgments() -> None:
    outbound = make()
    outbound.send(0, b"abcd")
    outbound.send(4, b"efgh")
    plain = [outbound.plain_acknowledgment(START + wire) for wire in (-50, 0, 4, 5, 8, 23, 24, 28, 47, 48, 49)]
    assert plain == [0, 0, 3, 3, 3, 3, 4, 7, 7, 8, 8]
    outbound.acknowledge(START + 24)
    assert outbound.plain_acknowledgment(START) == 3
    assert sent(outbound.send(0, b"abcdefgh")).wire == START + 24
    outbound.acknowledge(START + 49)
    assert (outbound.acknowledged, outbound.plain_acknowledgment(START + 24)) == (START + 24, 4)
    outbound.acknowledge(START + 30)
    assert sent(outbound.send(4, b"efgh")).wire == START + 30


def test_selective_acknowledgments() -> None:
    outbound = make()
    for start in (0, 4, 8):
        outbound.send(start, b"abcd")
    blocks = [(124, 148), (125, 148), (124, 147), (128, 132), (145, 160), (148, 172), (0, 100), (172, 180), (150, 140)]
    assert outbound.plain_sack(blocks) == [(4, 8), (5, 8), (4, 7), (8, 11), (8, 12)]


def test_what_came_twice_and_is_acknowledged() -> None:
    """RFC 2883: of 4 bytes of data each in 24 bytes of frame, as far back as is remembered."""
    outbound = make(Limits(acknowledged_frames=2))
    for start in (0, 4, 8, 12):
        outbound.send(start, b"abcd")
    outbound.empty_frame()
    outbound.acknowledge(START + 72)
    assert outbound.plain_sack([(124, 148), (148, 172), (124, 172), (150, 172)]) == [(4, 8), (8, 12), (4, 12), (10, 12)]
    assert outbound.plain_sack([(148, 150), (152, 172)]) == [(8, 10)]
    assert outbound.plain_sack([(0, 100), (100, 124)]) == []
    outbound.acknowledge(outbound.wire_end)
    assert outbound.plain_sack([(172, 196), (196, 196 + OVERHEAD)]) == [(12, 16)]


@pytest.mark.parametrize("length", [6, 7, 8])
def test_segments_of_a_frame_that_is_cut(length: int) -> None:
    """Each stands for a segment of plaintext: sent again, acknowledged, selectively, and when it has come twice."""
    outbound = make()
    outbound.send(0, b"before")
    start, stop = 6, 6 + length
    piece = sent(outbound.send(start, b"abcdefgh"[:length], segment=2))
    cuts = [piece.wire, *outbound.cuts(start, stop, 2), outbound.wire_end]
    assert [end - begin for begin, end in pairwise(cuts)][:3] == [2 + OVERHEAD, 2, 2]
    segments = [(at, min(at + 2, stop)) for at in range(start, stop, 2)]
    blocks = [*pairwise(cuts)]
    for (begin, end), (at, until) in zip(blocks, segments, strict=True):
        assert outbound.plain_acknowledgment(end) == until
        assert outbound.plain_sack([(begin, end)]) == [(at, until)]
        again = sent(outbound.send(at, bytes(until - at)))
        assert (again.wire, again.payload) == (begin, piece.payload[begin - piece.wire : end - piece.wire])
    outbound.acknowledge(outbound.wire_end)
    assert outbound.plain_sack(blocks) == segments


def test_a_lost_frame_without_data_is_sent_with_the_byte_behind_it() -> None:
    outbound = make()
    outbound.send(0, b"ab")
    empty = sent(outbound.empty_frame())
    after = sent(outbound.send(2, b"cd"))
    outbound.acknowledge(empty.wire)
    assert outbound.unacknowledged_empty() is None
    assert outbound.plain_sack([(after.wire, after.wire + 22)]) == [(3, 4)]
    assert sent(outbound.send(2, b"c")).payload == empty.payload + after.payload[:1]
    outbound.acknowledge(after.wire)
    assert sent(outbound.send(2, b"cd")) == after


def test_rekeying_begins_with_the_next_frame() -> None:
    keys = FakeKeys()
    outbound = OutboundStream(keys, START, Limits())
    outbound.send(0, b"ab")
    outbound.rekey()
    outbound.rekey()
    again = sent(outbound.send(0, b"ab"))
    assert (outbound.generation, outbound.generation_start) == (0, START)
    first, second = sent(outbound.send(2, b"cd")), sent(outbound.send(4, b"ef"))
    assert [HEADER.unpack_from(piece.payload)[0] for piece in (again, first, second)] == [0, 1, 0]
    assert opened(first, 1)[0] == b"cd"
    assert opened(second, 1)[0] == b"ef"
    assert (outbound.generation, outbound.generation_start) == (1, first.wire)
    assert keys.asked == [0, 1]


def test_frames_without_data_initiate_one_rekeying_at_a_time() -> None:
    outbound = make()
    outbound.rekey()
    assert sent(outbound.empty_frame()).payload[0] == 1
    outbound.rekey()
    assert outbound.empty_frame() is None
    assert outbound.follow(1) is None
    assert sent(outbound.empty_frame()).payload[0] == 1
    assert outbound.generation == 2


def test_a_rekeying_of_the_peer_is_answered() -> None:
    outbound = make()
    piece = sent(outbound.follow(2))
    assert len(piece.payload) == 40
    assert (piece.payload[0], piece.payload[20], outbound.generation) == (1, 1, 2)
    assert sent(outbound.unacknowledged_empty()) == piece
    outbound.acknowledge(START + 20)
    assert sent(outbound.unacknowledged_empty()) == Sent(START + 20, piece.payload[20:], False)
    outbound.acknowledge(START + 40)
    assert outbound.unacknowledged_empty() is None
    assert outbound.follow(2) is None


def test_a_rekeying_that_waits_answers_one_of_the_peer() -> None:
    outbound = make()
    outbound.rekey()
    assert len(sent(outbound.follow(1)).payload) == 20
    assert sent(outbound.send(0, b"a")).payload[0] == 0
    assert outbound.generation == 1


def test_a_peer_that_only_rekeys_is_answered_up_to_a_bound() -> None:
    outbound = make(Limits(empty_frames=3))
    assert len(sent(outbound.follow(10)).payload) == 60
    assert outbound.follow(11) is None
    outbound.acknowledge(outbound.wire_end)
    assert len(sent(outbound.follow(11)).payload) == 60
    assert outbound.generation == 6


def test_at_the_bound_new_bytes_are_refused_and_old_ones_are_not() -> None:
    outbound = make(Limits(unacknowledged=2 * (10 + 22 + 256)))
    first = sent(outbound.send(0, bytes(10)))
    assert sent(outbound.send(10, bytes(10))).wire == START + 30
    assert outbound.send(20, bytes(1)) is None
    assert outbound.send(20, b"", fin=True) is None
    assert outbound.empty_frame() is None
    assert sent(outbound.send(0, bytes(10))) == first
    assert len(sent(outbound.send(10, bytes(20), fin=True)).payload) == 30
    assert not outbound.finished
    assert sent(outbound.send(25, b"")).wire == outbound.wire_end
    outbound.acknowledge(START + 30)
    assert sent(outbound.send(20, bytes(1))).wire == START + 60


def test_the_fakes_see_a_nonce_that_is_used_twice() -> None:
    protection = FakeKeys()(0)
    protection.seal(3, b"", b"a")
    with pytest.raises(NonceReused):
        protection.seal(3, b"", b"a")
