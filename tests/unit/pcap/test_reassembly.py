from random import Random

from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.pcap.reassembly import Reassembly


@given(st.binary(min_size=1, max_size=60), st.integers(), st.integers(1, 12))
def test_any_order_with_overlaps_gives_the_stream(data: bytes, seed: int, size: int) -> None:
    pieces = [(at, data[at : at + size + 2]) for at in range(0, len(data), size)]
    Random(seed).shuffle(pieces)
    stream, taken = Reassembly(), b""
    for at, payload in pieces:
        stream.add(at, payload)
        taken += stream.take(len(stream.head) // 2)
    assert taken + bytes(stream.head) == data
    assert not stream.has_hole
    assert stream.end == len(data)


def test_a_hole() -> None:
    stream = Reassembly()
    stream.add(0, b"ab")
    stream.add(4, b"ef")
    stream.add(9, b"")
    assert (bytes(stream.head), stream.has_hole) == (b"ab", True)


def test_what_waits_is_bounded() -> None:
    stream = Reassembly()
    for at in range(1, 40):
        stream.add(at << 20, bytes(1 << 20))
    assert sum(map(len, stream._pending.values())) == 16 << 20
