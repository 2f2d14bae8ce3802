"""What every suite's protection has to do, and the recorded segments through the original's."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tcpcryptd.crypto.segment import PayloadTooLong, SegmentProtection
from tcpcryptd.crypto.suites import (
    AES128_CTR_SEQIV_HMAC_SHA1,
    AES_256_GCM_SIV,
    AES_SIV_CMAC_256,
    SYMMETRIC_SUITES,
    SymmetricSuite,
)
from tests.unit.crypto.vectors import Segment, load_connections, segments

ENCRYPTION_KEY = bytes(range(40))
MAC_KEY = bytes(range(40, 80))
HEADER = bytes.fromhex("800005d40818000000000000fffffff0")
ACKNOWLEDGMENT = bytes.fromhex("0000000012345678")

RECORDED = [(connection["keys"], segment) for connection in load_connections() for segment in segments(connection)]

each_suite = pytest.mark.parametrize("suite", SYMMETRIC_SUITES, ids=lambda suite: suite.name)
each_recorded_segment = pytest.mark.parametrize(("keys", "segment"), RECORDED)


def _protection(suite: SymmetricSuite) -> SegmentProtection:
    return suite.protection(ENCRYPTION_KEY, MAC_KEY)


def _recorded_protection(keys: dict[str, str], segment: Segment) -> SegmentProtection:
    role = "C" if segment.from_client else "S"
    return AES128_CTR_SEQIV_HMAC_SHA1.protection(bytes.fromhex(keys[f"{role}_ENC"]), bytes.fromhex(keys[f"{role}_MAC"]))


def _open(protection: SegmentProtection, segment: Segment) -> bytes | None:
    return protection.open(
        segment.sequence, segment.header, segment.acknowledgment, segment.options, segment.ciphertext, segment.tag
    )


def _flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8 % len(changed)] ^= 1 << bit % 8
    return bytes(changed)


def test_all_recorded_segments_are_there() -> None:
    assert len(RECORDED) == 54


@each_recorded_segment
def test_recorded_segment_is_sealed(keys: dict[str, str], segment: Segment) -> None:
    sealed = _recorded_protection(keys, segment).seal(
        segment.sequence, segment.header, segment.acknowledgment, segment.options, segment.plaintext
    )
    assert sealed == (segment.ciphertext, segment.tag)


@each_recorded_segment
def test_recorded_segment_is_opened(keys: dict[str, str], segment: Segment) -> None:
    assert _open(_recorded_protection(keys, segment), segment) == segment.plaintext


@each_recorded_segment
def test_recorded_segment_with_any_bit_changed_is_refused(keys: dict[str, str], segment: Segment) -> None:
    protection = _recorded_protection(keys, segment)
    parts = [segment.header, segment.acknowledgment, segment.options, segment.ciphertext, segment.tag]
    for index, part in enumerate(parts):
        for bit in range(0, len(part) * 8, 7):
            changed = [*parts]
            changed[index] = _flipped(part, bit)
            assert protection.open(segment.sequence, *changed) is None


@each_suite
@given(
    sequence=st.integers(0, 2**64 - 1),
    header=st.binary(min_size=16, max_size=16),
    acknowledgment=st.binary(min_size=8, max_size=8),
    options=st.binary(max_size=40),
    payload=st.binary(max_size=2000),
)
@example(sequence=2**32 - 5, header=HEADER, acknowledgment=ACKNOWLEDGMENT, options=b"", payload=bytes(65535))
@example(sequence=0, header=HEADER, acknowledgment=ACKNOWLEDGMENT, options=b"", payload=b"")
def test_round_trip(
    suite: SymmetricSuite, sequence: int, header: bytes, acknowledgment: bytes, options: bytes, payload: bytes
) -> None:
    sender, receiver = _protection(suite), _protection(suite)
    ciphertext, tag = sender.seal(sequence, header, acknowledgment, options, payload)
    assert len(ciphertext) == len(payload)
    assert len(tag) == suite.tag_length
    assert receiver.open(sequence, header, acknowledgment, options, ciphertext, tag) == payload
    assert sender.seal(sequence, header, acknowledgment, options, payload) == (ciphertext, tag)


@each_suite
@given(
    options=st.binary(min_size=1, max_size=12),
    payload=st.binary(min_size=1, max_size=64),
    field=st.integers(0, 4),
    bit=st.integers(0, 8 * 64 - 1),
)
def test_any_changed_bit_is_refused(
    suite: SymmetricSuite, options: bytes, payload: bytes, field: int, bit: int
) -> None:
    protection = _protection(suite)
    ciphertext, tag = protection.seal(7, HEADER, ACKNOWLEDGMENT, options, payload)
    parts = [HEADER, ACKNOWLEDGMENT, options, ciphertext, tag]
    assert protection.open(7, *parts) == payload
    parts[field] = _flipped(parts[field], bit)
    assert protection.open(7, *parts) is None


@each_suite
@pytest.mark.parametrize("payload", [b"", b"data"])
def test_tag_of_another_length_is_refused(suite: SymmetricSuite, payload: bytes) -> None:
    protection = _protection(suite)
    ciphertext, tag = protection.seal(7, HEADER, ACKNOWLEDGMENT, b"", payload)
    for other in (b"", tag[:-1], tag[1:], tag + b"\x00"):
        assert protection.open(7, HEADER, ACKNOWLEDGMENT, b"", ciphertext, other) is None


@each_suite
def test_ciphertext_and_tag_cannot_be_cut_elsewhere(suite: SymmetricSuite) -> None:
    protection = _protection(suite)
    ciphertext, tag = protection.seal(7, HEADER, ACKNOWLEDGMENT, b"", b"some data")
    assert protection.open(7, HEADER, ACKNOWLEDGMENT, b"", ciphertext + tag[:1], tag[1:]) is None
    assert protection.open(7, HEADER, ACKNOWLEDGMENT, b"", ciphertext[:-1], ciphertext[-1:] + tag) is None


@each_suite
def test_another_key_is_refused(suite: SymmetricSuite) -> None:
    sealed = _protection(suite).seal(7, HEADER, ACKNOWLEDGMENT, b"", b"data")
    other = suite.protection(ENCRYPTION_KEY[::-1], MAC_KEY[::-1])
    assert other.open(7, HEADER, ACKNOWLEDGMENT, b"", *sealed) is None


@each_suite
def test_payload_that_fits_no_packet_is_refused(suite: SymmetricSuite) -> None:
    with pytest.raises(PayloadTooLong):
        _protection(suite).seal(0, HEADER, ACKNOWLEDGMENT, b"", bytes(65536))


@pytest.mark.parametrize("suite", [AES_SIV_CMAC_256, AES_256_GCM_SIV], ids=lambda suite: suite.name)
def test_received_payload_that_fits_no_packet_is_refused_by_ours(suite: SymmetricSuite) -> None:
    with pytest.raises(PayloadTooLong):
        _protection(suite).open(0, HEADER, ACKNOWLEDGMENT, b"", bytes(65536), bytes(16))


@each_suite
def test_protection_shows_no_key(suite: SymmetricSuite) -> None:
    protection = _protection(suite)
    shown = f"{protection!r} {protection}"
    for key in (ENCRYPTION_KEY, MAC_KEY):
        assert key[:16].hex() not in shown
        assert repr(key[:16])[2:-1] not in shown


def test_recorded_payload_is_not_deciphered_without_its_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    deciphered: list[int] = []

    def record(_cipher: object, sequence: int, data: bytes) -> bytes:
        deciphered.append(sequence)
        return data

    monkeypatch.setattr("tcpcryptd.crypto.aes_ctr_seqiv.AesCtrSeqIv.apply", record)
    protection = _protection(AES128_CTR_SEQIV_HMAC_SHA1)
    ciphertext, tag = protection.seal(7, HEADER, ACKNOWLEDGMENT, b"", b"data")
    assert deciphered == [7]
    assert protection.open(7, HEADER, ACKNOWLEDGMENT, b"", ciphertext, _flipped(tag, 0)) is None
    assert deciphered == [7]
    assert protection.open(7, HEADER, ACKNOWLEDGMENT, b"", ciphertext, tag) is not None
    assert deciphered == [7, 7]


@each_suite
def test_rest_changes_nothing_that_comes_out(suite: SymmetricSuite) -> None:
    protection = _protection(suite)
    sealed = protection.seal(7, HEADER, ACKNOWLEDGMENT, b"", b"data")
    for _ in range(2):
        protection.rest()
        assert protection.open(7, HEADER, ACKNOWLEDGMENT, b"", *sealed) == b"data"
        protection.rest()
        assert protection.seal(7, HEADER, ACKNOWLEDGMENT, b"", b"data") == sealed
