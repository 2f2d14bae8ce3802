"""Encryption frames, with the real AEAD algorithms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.crypto.frame_aead import FRAME_AEADS, FrameProtection
from tcpcryptd.eno.constants import OVERHEAD
from tcpcryptd.eno.stream.frame import (
    HEADER,
    MAX_CIPHERTEXT,
    MAX_DATA,
    MIN_CIPHERTEXT,
    URGENT_LENGTH,
    MalformedFrame,
    open_frame,
    seal_frame,
)

AEADS = st.sampled_from(FRAME_AEADS)
OFFSETS = st.integers(0, 2**64 - 1)


def protections() -> list[FrameProtection]:
    return [aead.protection(bytes(range(aead.traffic_key_length))) for aead in FRAME_AEADS]


@pytest.mark.parametrize("protection", protections())
@given(OFFSETS, st.binary(max_size=100), st.booleans(), st.booleans(), st.none() | st.integers(0, 0xFFFF))
def test_what_is_sealed_opens(
    protection: FrameProtection, offset: int, data: bytes, rekey: bool, fin: bool, urgent: int | None
) -> None:
    frame = seal_frame(protection, offset, data, rekey=rekey, fin=fin, urgent=urgent)
    assert HEADER.unpack_from(frame) == (rekey, len(frame) - 3)
    assert len(frame) == len(data) + OVERHEAD + (0 if urgent is None else URGENT_LENGTH)
    opened = open_frame(protection, offset, memoryview(frame))
    assert opened is not None
    assert (opened.data, opened.fin, opened.urgent) == (data, fin, urgent)


@pytest.mark.parametrize("protection", protections())
@given(st.data())
def test_one_wrong_bit_closes_it(protection: FrameProtection, data: st.DataObject) -> None:
    frame = bytearray(seal_frame(protection, 7, b"data", rekey=False, fin=False, urgent=None))
    # A wrong clen would change where the frame ends, which is the reader's affair; here the whole frame is known.
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert open_frame(protection, 7, memoryview(frame)) is None


@given(OFFSETS, OFFSETS)
def test_a_frame_belongs_to_its_offset(first: int, second: int) -> None:
    protection = protections()[0]
    frame = seal_frame(protection, first, b"data", rekey=False, fin=False, urgent=None)
    assert (open_frame(protection, second, memoryview(frame)) is None) == (first != second)


@pytest.mark.parametrize("protection", protections())
@pytest.mark.parametrize("size", [4094, 4095, 4096, 60_000])
def test_a_large_frame_is_sealed_like_a_small_one(protection: FrameProtection, size: int) -> None:
    header = HEADER.pack(0, size + 17)
    frame = seal_frame(protection, 7, b"x" * size, rekey=False, fin=True, urgent=None)
    assert frame == header + protection.seal(7, header, b"\x01" + b"x" * size)


@pytest.mark.parametrize("urgent", [None, 0, 0xFFFF])
def test_the_largest_frame(urgent: int | None) -> None:
    protection = protections()[0]
    frame = seal_frame(protection, 0, bytes(MAX_DATA), rekey=True, fin=True, urgent=urgent)
    assert len(frame) - 3 <= MAX_CIPHERTEXT < len(frame) - 3 + (3 if urgent is None else 1)
    opened = open_frame(protection, 0, memoryview(frame))
    assert opened is not None
    assert (len(opened.data), opened.fin, opened.urgent) == (MAX_DATA, True, urgent)


def frame_with(plaintext: bytes, control: int = 0) -> memoryview:
    header = HEADER.pack(control, len(plaintext) + 16)
    return memoryview(header + protections()[0].seal(0, header, plaintext))


def test_reserved_bits_are_ignored() -> None:
    opened = open_frame(protections()[0], 0, frame_with(b"\xfcdata", 0xFE))
    assert opened is not None
    assert (opened.data, opened.fin, opened.urgent) == (b"data", False, None)
    opened = open_frame(protections()[0], 0, frame_with(b"\xff\x01\x02data", 0xFF))
    assert opened is not None
    assert (opened.data, opened.fin, opened.urgent) == (b"data", True, 0x0102)


@pytest.mark.parametrize("plaintext", [b"\x02", b"\x02\0", b"\x03", b"\xff\0"])
def test_urgent_without_its_field(plaintext: bytes) -> None:
    with pytest.raises(MalformedFrame):
        open_frame(protections()[0], 0, frame_with(plaintext))


def test_layout() -> None:
    """RFC 8548, section 4.2: control, clen, ciphertext; flags, urgent, data."""

    class Transparent:
        def seal(self, offset: int, header: bytes, plaintext: bytes) -> bytes:
            return plaintext + b"t" * 16

        def open(self, offset: int, header: bytes, ciphertext: bytes) -> bytes | None:
            raise NotImplementedError

    sealer = Transparent()
    assert seal_frame(sealer, 0, b"ab", rekey=False, fin=False, urgent=None) == b"\0\0\x13\0ab" + b"t" * 16  # type: ignore[arg-type]
    assert seal_frame(sealer, 0, b"", rekey=True, fin=True, urgent=None) == b"\x01\0\x11\x01" + b"t" * 16  # type: ignore[arg-type]
    assert seal_frame(sealer, 0, b"ab", rekey=False, fin=True, urgent=0x102) == b"\0\0\x15\x03\x01\x02ab" + b"t" * 16  # type: ignore[arg-type]
    assert (OVERHEAD, MIN_CIPHERTEXT) == (20, 17)
