"""The bounded reader."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.wire.reader import Reader, ReadError


@given(st.lists(st.binary(max_size=40)))
def test_fields_come_out_as_they_went_in(fields: list[bytes]) -> None:
    with Reader(b"".join(fields)) as reader:
        assert [reader.take(len(field)) for field in fields] == fields


@given(st.binary(max_size=20), st.integers(-5, 40))
def test_never_past_the_end(data: bytes, size: int) -> None:
    reader = Reader(data)
    if 0 <= size <= len(data):
        assert reader.take(size) == data[:size]
        assert reader.rest() == data[size:]
    else:
        with pytest.raises(ReadError):
            reader.take(size)
        assert reader.remaining == len(data)


def test_what_is_left_over_is_an_error() -> None:
    with pytest.raises(ReadError, match="2 bytes after the end"), Reader(b"abc") as reader:
        reader.take(1)


def test_an_error_in_the_block_is_not_hidden() -> None:
    with pytest.raises(KeyError), Reader(b"abc"):
        raise KeyError


def test_integers_are_big_endian() -> None:
    assert Reader(b"\x01\x02\x03").uint(3) == 0x010203
