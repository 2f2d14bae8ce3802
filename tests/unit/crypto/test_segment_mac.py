import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.crypto.segment_mac import SegmentMac
from tests.unit.crypto.vectors import Segment, load_connections, segments

RECORDED = [
    (bytes.fromhex(connection["keys"]["C_MAC" if segment.from_client else "S_MAC"]), segment)
    for connection in load_connections()
    for segment in segments(connection)
]


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize(("key", "segment"), RECORDED)
def test_recorded_segment(key: bytes, segment: Segment) -> None:
    mac = SegmentMac(key).compute(segment.header, segment.acknowledgment, segment.options, segment.ciphertext)
    assert mac == segment.tag
    assert mac == _xor(segment.hmac_header, segment.hmac_acknowledgment)


@given(
    key=st.binary(min_size=40, max_size=40),
    header=st.binary(min_size=16, max_size=16),
    acknowledgments=st.lists(st.binary(min_size=8, max_size=8), min_size=1, max_size=4),
    options=st.binary(max_size=40),
    payload=st.binary(max_size=300),
)
def test_agrees_with_the_definition(
    key: bytes, header: bytes, acknowledgments: list[bytes], options: bytes, payload: bytes
) -> None:
    mac = SegmentMac(key)
    for acknowledgment in (*acknowledgments, *acknowledgments):
        expected = _xor(
            hmac.digest(key, header + options + payload, "sha1"),
            hmac.digest(key, acknowledgment, "sha1"),
        )
        assert mac.compute(header, acknowledgment, options, payload) == expected
