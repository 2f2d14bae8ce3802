"""TCP Fast Open's options (RFC 7413)."""

import pytest

from tcpcryptd.wire.fast_open import is_fast_open, without_fast_open
from tcpcryptd.wire.segment import SYN, Segment, make


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


@pytest.mark.parametrize(
    ("area", "kept"),
    [
        (b"\x02\x04\x05\xb4\x22\x06bite\x01\x01", b"\x02\x04\x05\xb4"),
        (b"\x02\x04\x05\xb4\xfe\x06\xf9\x89ab\x01\x03\x03\x07\x01\x01", b"\x02\x04\x05\xb4\x03\x03\x07"),
        (b"\x02\x04\x05\xb4\x01\x03\x03\x07", b"\x02\x04\x05\xb4\x01\x03\x03\x07"),
        (b"\xfe\x06abcd\x01\x01", b"\xfe\x06abcd\x01\x01"),
        (b"", b""),
    ],
    ids=["cookie", "experiment", "none", "another experiment", "no options"],
)
def test_what_is_kept(area: bytes, kept: bytes) -> None:
    """Room is made only where something goes."""
    syn = make(bytes(12), sequence=1, acknowledgment=0, flags=SYN, window=1, option_area=area)
    assert without_fast_open(Segment(syn, 20)) == kept
