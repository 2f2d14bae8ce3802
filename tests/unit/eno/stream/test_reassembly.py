"""Reassembly, compared with a table of bytes."""

from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.eno.limits import Limits
from tcpcryptd.eno.stream.reassembly import Kept, Reassembly

STREAM = bytes(index * 7 % 251 for index in range(60))
START = 100
SEGMENTS = st.lists(st.tuples(st.integers(-5, 45), st.integers(1, 15)), max_size=25)
"""Offset from START, and length."""


def ranges_of(held: set[int]) -> list[tuple[int, int]]:
    starts = sorted(byte for byte in held if byte - 1 not in held)
    ends = sorted(byte + 1 for byte in held if byte + 1 not in held)
    return list(zip(starts, ends, strict=True))


@given(SEGMENTS, st.data())
def test_like_a_table_of_bytes(segments: list[tuple[int, int]], data: st.DataObject) -> None:
    reassembly = Reassembly(START, Limits())
    held: set[int] = set()
    consumed = 0
    for offset, length in segments:
        first, last = max(offset, 0), offset + length
        if last <= consumed:
            continue
        payload = bytes(-min(offset, 0)) + STREAM[first:last]
        known = set(range(first, last)) <= held | set(range(consumed))
        assert reassembly.add(START + offset, payload) is (Kept.KNOWN if known else Kept.YES)
        held |= {byte for byte in range(first, last) if byte >= consumed}
        contiguous = next(byte for byte in range(consumed, 100) if byte not in held) - consumed
        assert reassembly.contiguous == contiguous
        assert bytes(reassembly.head()) == STREAM[consumed : consumed + contiguous]
        ranges = ranges_of(held)
        assert reassembly.has_gap == any(start != consumed for start, _ in ranges)
        assert bool(reassembly) == bool(held)
        blocks = reassembly.sack_blocks()
        expected = [(START + start, START + end) for start, end in ranges if start != consumed]
        assert set(blocks) <= set(expected)
        assert len(blocks) >= min(3, len(expected))
        latest = [block for block in expected if block[0] <= START + last - 1 < block[1]]
        assert blocks[:1] == latest or not latest
        count = data.draw(st.integers(0, contiguous))
        if count:
            reassembly.consume(count)
            consumed += count
            held -= set(range(consumed))
    assert reassembly.next == START + consumed
    reassembly.discard()
    assert (bool(reassembly), reassembly.segments, reassembly.contiguous) == (False, 0, 0)


@given(SEGMENTS)
def test_the_count_of_segments_is_right_and_bounded(segments: list[tuple[int, int]]) -> None:
    limits = Limits(reach=40, ranges=3, segments=6)
    reassembly = Reassembly(START, limits)
    before: list[tuple[int, int]] = []
    for offset, length in segments:
        if offset + length <= 0:
            continue
        fills = max(offset, 0) == reassembly.contiguous
        kept = reassembly.add(START + offset, bytes(-min(offset, 0)) + STREAM[max(offset, 0) : offset + length])
        ranges = [(held.start, held.end) for held in reassembly._ranges]
        assert reassembly.segments == sum(len(held.chunks) for held in reassembly._ranges)
        assert all(end - START <= limits.reach for _, end in ranges)
        assert len(ranges) <= limits.ranges + 1
        if kept is Kept.REFUSED:
            assert ranges == before
            assert not fills or offset + length > limits.reach
        elif not fills:
            # One segment that spans several holes makes several pieces.
            assert reassembly.segments <= limits.segments + len(before) + 1
        before = ranges


def test_what_closes_the_first_hole_is_let_in_at_the_bound() -> None:
    reassembly = Reassembly(0, Limits(segments=2, ranges=2))
    assert reassembly.add(10, b"a") is Kept.YES
    assert reassembly.add(12, b"b") is Kept.YES
    assert reassembly.add(14, b"c") is Kept.REFUSED
    assert reassembly.add(13, b"c") is Kept.REFUSED
    assert reassembly.add(0, b"0123456789") is Kept.YES
    assert reassembly.contiguous == 11


def test_other_bytes_at_the_same_offset_discard_what_was_held() -> None:
    reassembly = Reassembly(0, Limits())
    reassembly.add(0, b"abcdef")
    reassembly.add(10, b"klm")
    assert reassembly.add(4, b"eX") is Kept.CONFLICT
    assert [(held.start, held.end) for held in reassembly._ranges] == [(4, 6)]
    assert reassembly.segments == 1
    assert reassembly.add(0, b"abcde") is Kept.YES
    assert bytes(reassembly.head()) == b"abcdeX"


def test_a_byte_does_not_keep_a_packet() -> None:
    reassembly = Reassembly(0, Limits())
    payload = bytes(1000)
    reassembly.add(2000, payload)
    reassembly.add(1001, payload)
    assert [len(chunk) for held in reassembly._ranges for chunk in held.chunks] == [999, 1000]
    assert all(isinstance(chunk, bytes) for held in reassembly._ranges for chunk in held.chunks)


def test_the_latest_ranges_are_reported() -> None:
    reassembly = Reassembly(0, Limits())
    for start in (10, 30, 50, 20, 70, 40):
        reassembly.add(start, b"x")
    assert reassembly.sack_blocks() == [(40, 41), (70, 71), (20, 21), (50, 51)]
    reassembly.add(11, b"y")
    assert reassembly.sack_blocks()[0] == (10, 12)
