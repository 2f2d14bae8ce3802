"""TCP options."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.wire import options
from tcpcryptd.wire.options import OptionError

OPTION = st.tuples(st.integers(2, 255), st.binary(max_size=10))
AREA = st.binary(max_size=40)


@given(st.lists(OPTION, max_size=4), st.integers(0, 3))
def test_round_trip(entries: list[options.Option], nops: int) -> None:
    area = options.pad(b"\1" * nops + b"".join(options.encode(*entry) for entry in entries))
    assert len(area) % 4 == 0
    assert options.parse(area) == entries


@given(AREA)
def test_any_bytes_parse_or_raise_the_typed_error(area: bytes) -> None:
    try:
        entries = options.parse(area)
    except OptionError:
        return
    assert sum(len(value) + 2 for _, value in entries) <= len(area)


@given(AREA, st.dictionaries(st.integers(0, 255), st.none() | st.binary(max_size=8), max_size=3))
def test_replace_keeps_the_length(area: bytes, edits: dict[int, bytes | None]) -> None:
    try:
        edited = options.replace(area, edits)
    except OptionError:
        return
    assert len(edited) == len(area)
    expected = []
    for kind, value in options.parse(area):
        new = edits.get(kind, value)
        if new is not None:
            expected.append((kind, new if len(new) == len(value) else value))
    assert options.parse(edited) == expected


def test_options_behind_the_padding_are_found() -> None:
    """As the original daemon writes them (docs/crypt-option.md section 1)."""
    area = bytes.fromhex("4503070046160102030405060708090a0b0c0d0e0f101112131415160000")
    assert [kind for kind, _ in options.parse(area)] == [69, 70]


def test_padding_that_is_no_option_is_skipped() -> None:
    assert options.parse(b"\x08\x02\x00\xff") == [(8, b"")]


@pytest.mark.parametrize("area", [b"\x02", b"\x02\x00", b"\x02\x01", b"\x02\x05\x01\x01", b"\x01\x45"])
def test_bad_lengths(area: bytes) -> None:
    with pytest.raises(OptionError):
        options.parse(area)


def test_replace_leaves_what_has_another_length() -> None:
    assert options.replace(b"\x02\x04\x05\xb4", {2: b"\x01"}) == b"\x02\x04\x05\xb4"


def test_find_takes_the_first() -> None:
    assert options.find([(3, b"a"), (5, b"b"), (5, b"c")], 5) == b"b"
    assert options.find([], 5) is None
