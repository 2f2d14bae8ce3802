"""Data in SYNs with an ENO option (RFC 8547 section 4.7)."""

import pytest

from tcpcryptd.eno.syn_data import discards_data, is_fast_open

OFFER = (69, b"\x23")


@pytest.mark.parametrize(
    ("options", "discarded"),
    [
        ([OFFER], True),
        ([OFFER, (34, b"cookie")], True),
        ([OFFER, OFFER], True),
        ([(69, b"\x80")], True),
        ([(69, b"")], True),
        ([(34, b"cookie")], False),
        ([(2, b"\x05\xb4")], False),
        ([], False),
    ],
)
def test_what_is_discarded(options: list[tuple[int, bytes]], discarded: bool) -> None:
    assert discards_data(options) is discarded


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ((34, b"cookie"), True),
        ((34, b""), True),
        ((254, b"\xf9\x89cookie"), True),
        ((254, b"\xf9\x89"), True),
        ((254, b"otherwise"), False),
        ((69, b"\xf9\x89"), False),
    ],
)
def test_fast_open_options(option: tuple[int, bytes], expected: bool) -> None:
    assert is_fast_open(option) is expected
