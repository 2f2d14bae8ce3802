"""Sequence arithmetic modulo 2^32."""

from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.wire.sequence import add, difference, extend

NUMBERS = st.integers(0, 2**32 - 1)
DISTANCES = st.integers(-(2**31), 2**31 - 1)


@given(NUMBERS, DISTANCES)
def test_difference_undoes_add(number: int, distance: int) -> None:
    assert 0 <= add(number, distance) < 2**32
    assert difference(add(number, distance), number) == distance


@given(st.integers(0, 2**64), DISTANCES)
def test_extend_finds_the_nearest(reference: int, distance: int) -> None:
    assert extend((reference + distance) % 2**32, reference) == reference + distance


def test_examples() -> None:
    assert add(0xFFFFFFFF, 1) == 0
    assert difference(0, 0xFFFFFFFF) == 1
    assert difference(0xFFFFFFFF, 0) == -1
    assert extend(5, 0xFFFFFFF0) == 0x100000005
    assert extend(0xFFFFFFFF, 0x100000005) == 0xFFFFFFFF
    assert extend(0xFFFFFFFF, 0) == -1
