"""What mypyc turns into machine arithmetic, which the unit tests see interpreted only."""

import random
import struct

import pytest

from tcpcryptd.wire.checksum import ones_complement_sum
from tcpcryptd.wire.words import uint16, uint32


def words_added(data: bytes) -> int:
    """RFC 1071, section 1, literally."""
    padded = data + bytes(len(data) % 2)
    words: list[tuple[int]] = list(struct.iter_unpack(">H", padded))
    return sum(word for (word,) in words) % 65535


# On both sides of each border between ways of adding.
@pytest.mark.parametrize(
    "size", [0, 1, 2, 3, 20, 1023, 1024, 1025, 1428, 4095, 4096, 4097, 4099, 16_384, 16_385, 60_001, 65_535]
)
def test_sums(size: int) -> None:
    for data in (random.Random(size).randbytes(size), b"\xff" * size, bytes(size)):
        assert ones_complement_sum(data) == words_added(data)
        assert ones_complement_sum(bytearray(data)) == words_added(data)
        assert ones_complement_sum(memoryview(data)) == words_added(data)


def test_numbers() -> None:
    data = random.Random(1).randbytes(64) + b"\xff" * 8
    for offset in range(len(data) - 3):
        assert (uint16(data, offset),) == struct.unpack_from(">H", data, offset)
        assert (uint32(data, offset),) == struct.unpack_from(">I", data, offset)


@pytest.mark.parametrize("size", range(4))
def test_numbers_past_the_end(size: int) -> None:
    with pytest.raises(IndexError):
        uint32(b"\xff" * size, 0)
    with pytest.raises(IndexError):
        uint16(b"\xff" * size, max(size - 1, 0))
