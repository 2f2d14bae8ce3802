"""The scapy layers of tcpcrypt's messages and frames, on the vectors and on bytes that nobody should send."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP

from tcpcryptd.dissect import Frame, FramePlaintext, Malformed, TcpcryptInit1, TcpcryptInit2, dissect
from tcpcryptd.wire.segment import ACK, make

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/tcpcrypt/vectors.json").read_text())
EXCHANGES: list[dict[str, Any]] = [chain["connections"][0] for chain in VECTORS["chains"]]
FRAMES: list[dict[str, Any]] = [frame for exchange in EXCHANGES for frame in exchange["frames"]]
KEY = bytes.fromhex("0a4d00010a4d00029c411e61")


def packet(payload: bytes) -> IP:
    return IP(make(KEY, sequence=1, acknowledgment=1, flags=ACK, window=1, payload=payload))


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange["session_id"][:8])
def test_the_messages_of_the_vectors(exchange: dict[str, Any]) -> None:
    for layer, name, side in ((TcpcryptInit1, "init1", "a"), (TcpcryptInit2, "init2", "b")):
        raw = bytes.fromhex(exchange[name])
        found = layer(raw)
        assert type(found) is layer
        # The experiment's have an empty extension field behind the key.
        extensions = "0000" if exchange["tep_byte"] == 0xA0 else ""
        key = exchange[f"pub_{side}"] + extensions
        assert (found.nonce.hex(), found.public_key.hex()) == (exchange[f"n_{side}"], key)
        assert ("extensions of 0 bytes" in found.mysummary()) == bool(extensions)
        assert bytes(layer(**found.fields | {"length": None})) == raw
        seen = dissect(packet(raw + b"more"))
        assert seen is not None
        assert type(seen.message) is layer
        assert isinstance(layer(raw[:-1]), Malformed)
        assert isinstance(layer(raw + b"\0"), Malformed)


def test_the_frames_of_the_vectors() -> None:
    assert {frame["fin"] for frame in FRAMES} == {True, False}
    for frame in FRAMES:
        raw = bytes.fromhex(frame["frame"])
        found = Frame(raw + b"next")
        assert (found.rekey, found.clen) == (frame["rekey"], len(raw) - 3)
        assert bytes(found)[: len(raw)] == raw
        plain = FramePlaintext(bytes.fromhex(frame["plaintext"]))
        assert (plain.finp, plain.data.hex()) == (frame["fin"], frame["data"])
        assert (plain.urgent if plain.urgp else None) == frame["urgent"]
        assert isinstance(Frame(raw[:-1]), Malformed)


def test_what_is_built_is_read() -> None:
    built = bytes(TcpcryptInit1(ciphers=[1, 0x10], nonce=bytes(range(32)), public_key=b"p" * 32))
    assert TcpcryptInit1(built).ciphers == [1, 0x10]
    assert "AES-128-GCM ChaCha20-Poly1305" in TcpcryptInit1(built).mysummary()
    assert bytes(Frame(rekey=1, ciphertext=b"c" * 20)) == b"\x01\0\x14" + b"c" * 20


@pytest.mark.parametrize("plaintext", [b"\x02", b"\x02\0"])
def test_urgent_without_its_field(plaintext: bytes) -> None:
    assert isinstance(FramePlaintext(plaintext), Malformed)


@given(st.sampled_from([TcpcryptInit1, TcpcryptInit2, Frame, FramePlaintext]), st.binary(min_size=1, max_size=80))
def test_any_bytes(layer: Any, data: bytes) -> None:
    for prefix in (b"", bytes.fromhex("15101a0e"), bytes.fromhex("097105e0000000")):
        layer(prefix + data).mysummary()
        assert dissect(packet(prefix + data)) is not None
