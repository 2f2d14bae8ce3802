"""Data in SYNs with an ENO option (RFC 8547 section 4.7)."""

import pytest

from tcpcryptd.eno.handshake.syn_data import discards_data

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
