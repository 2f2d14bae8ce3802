import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import example, given
from hypothesis import strategies as st

from tcpcryptd.crypto.aes_ctr_seqiv import AesCtrSeqIv
from tcpcryptd.crypto.segment import PayloadTooLong
from tests.unit.crypto.vectors import Segment, load_connections, segments

KEY = bytes(range(16))


def _counter_blocks(sequence: int, length: int) -> bytes:
    base = sequence & ~15
    count = ((sequence & 15) + length + 15) // 16
    return b"".join(bytes(8) + (base + block * 2**24).to_bytes(8, "little") for block in range(count))


def _reference(key: bytes, sequence: int, data: bytes) -> bytes:
    """docs/crypt-option.md section 5 with big integers instead of arrays."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305
    skip = sequence & 15
    stream = encryptor.update(_counter_blocks(sequence, len(data)))[skip : skip + len(data)]
    return (int.from_bytes(stream, "big") ^ int.from_bytes(data, "big")).to_bytes(len(data), "big")


def _recorded() -> list[tuple[bytes, Segment]]:
    return [
        (bytes.fromhex(connection["keys"]["C_ENC" if segment.from_client else "S_ENC"])[:16], segment)
        for connection in load_connections()
        for segment in segments(connection)
        if segment.plaintext
    ]


@pytest.mark.parametrize(("key", "segment"), _recorded())
def test_recorded_segment(key: bytes, segment: Segment) -> None:
    cipher = AesCtrSeqIv(key)
    assert cipher.apply(segment.sequence, segment.plaintext) == segment.ciphertext
    assert cipher.apply(segment.sequence, segment.ciphertext) == segment.plaintext
    assert _counter_blocks(segment.sequence, len(segment.plaintext)) == segment.counter_blocks
    aligned = segment.sequence & ~15
    assert cipher.apply(aligned, bytes(len(segment.keystream))) == segment.keystream


@given(sequence=st.integers(0, 2**32 - 1), data=st.binary(max_size=3000))
@example(sequence=2**32 - 1, data=bytes(65535))
@example(sequence=2**32 - 16, data=b"\xff" * 1460)
@example(sequence=0, data=bytes(65535))
@example(sequence=15, data=b"\x01")
def test_agrees_with_the_definition(sequence: int, data: bytes) -> None:
    assert AesCtrSeqIv(KEY).apply(sequence, data) == _reference(KEY, sequence, data)


@given(sequence=st.integers(0, 2**32 - 1), data=st.binary(min_size=1, max_size=200), cut=st.integers(0, 199))
def test_one_block_of_sequence_space_has_one_keystream(sequence: int, data: bytes, cut: int) -> None:
    # A retransmission that begins later in the same block must not meet another keystream there.
    cut = min(cut, 15 - (sequence & 15), len(data) - 1)
    cipher = AesCtrSeqIv(KEY)
    assert cipher.apply(sequence + cut, data[cut:]) == cipher.apply(sequence, data)[cut:]


def test_results_are_independent_of_what_was_enciphered_before() -> None:
    first, second = AesCtrSeqIv(KEY), AesCtrSeqIv(KEY[::-1])
    alone = first.apply(1000, bytes(100))
    second.apply(77, b"\xff" * 5000)
    assert first.apply(1000, bytes(100)) == alone
    assert alone == _reference(KEY, 1000, bytes(100))


def test_nothing_becomes_nothing() -> None:
    assert AesCtrSeqIv(KEY).apply(5, b"") == b""


def test_payload_that_fits_no_packet_is_refused() -> None:
    with pytest.raises(PayloadTooLong):
        AesCtrSeqIv(KEY).apply(0, bytes(65536))


@pytest.mark.parametrize("length", [0, 15, 17, 32])
def test_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="AES-128"):
        AesCtrSeqIv(bytes(length))
