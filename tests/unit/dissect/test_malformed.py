"""The layers of the CRYPT and MAC options on bytes that nobody should send."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from tcpcryptd.crypt import option
from tcpcryptd.crypt.handshake import messages
from tcpcryptd.dissect import (
    CryptOption,
    Init1,
    Init2,
    MacOption,
    Malformed,
    Suboption,
    SymmetricSpec,
    summary,
)
from tests.unit.dissect.samples import INIT1, KEY_V4, KEY_V6, dissected, packet, padded, rebuilt


@pytest.mark.parametrize(
    "area", ["8301000000", "84" + "00" * 8, "86", "ff00", "41", "4101", "4106020404", "410402ff", "7f0a00"]
)
def test_malformed_suboptions(area: str) -> None:
    value = bytes.fromhex("02" + area)
    first, second = dissected(packet(padded(bytes((69, len(value) + 2)) + value))).suboptions
    assert first.mysummary() == "HELLO_SUPPORT"
    assert type(second) is Malformed
    assert second.data.hex() == area


@pytest.mark.parametrize(
    ("opcode", "payload"),
    [
        ("INIT1", b""),
        ("INIT1", bytes(INIT1)[:-1]),
        ("INIT1", bytes(INIT1) + b"\0"),
        ("INIT1", bytes(INIT1) + b"\0\1"),
        ("INIT2", bytes(Init2(ciphertext=b"abc")) + b"\0\0\0"),
        ("INIT1", bytes(Init2())),
        ("INIT1", bytes(Init1(nonce=bytes(15), symmetric_specs=[SymmetricSpec()], public_key=b"k"))),
        ("INIT2", b""),
        ("INIT2", b"\0"),
        ("INIT2", bytes(Init2(ciphertext=b"abc"))[:-1]),
        ("INIT2", bytes(INIT1)),
    ],
)
def test_malformed_messages(opcode: str, payload: bytes) -> None:
    found = dissected(packet(padded(bytes(CryptOption(suboptions=[Suboption(opcode=opcode)]))), payload))
    assert type(found.message) is Malformed
    assert found.message.data == payload
    assert f"CRYPT {opcode}; malformed {len(payload)} bytes" in str(found)


def test_an_option_area_that_cannot_be_read() -> None:
    found = dissected(packet(b"\x02\x04\x05\xb4\x45\x09\x01\x01"))
    assert found.options == ()
    assert "malformed: option 69 of length 9" in str(found)


@pytest.mark.parametrize(
    ("layer", "data"),
    [(CryptOption, b"\x45"), (CryptOption, b"\x45\x09\x01"), (CryptOption, b"\x46\x02"), (MacOption, b"\x45\x02")],
)
def test_bytes_that_are_no_option(layer: type[Packet], data: bytes) -> None:
    found = layer(data)
    assert type(found) is Malformed
    assert found.data == data


def cut_in_header(whole: bytes) -> bytes:
    return whole[:50]


def fragment(whole: bytes) -> bytes:
    return whole[:6] + b"\x20\x00" + whole[8:]


def bad_data_offset(whole: bytes) -> bytes:
    return whole[:32] + b"\x40" + whole[33:]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut_in_header, "the capture ends in the header"),
        (fragment, "fragment"),
        (bad_data_offset, "TCP data offset 4"),
        (lambda whole: whole[:30], "30 bytes are too few for TCP over IP"),
    ],
)
def test_malformed_headers(damage: Callable[[bytes], bytes], reason: str) -> None:
    found = dissected(IP(damage(bytes(packet(bytes(MacOption(mac=bytes(18))), b"data")))))
    assert found.segment is None
    assert str(found) == f"10.77.0.1 > 10.77.0.2 malformed: {reason}"


@given(st.binary(max_size=38))
def test_options_are_malformed_when_the_daemon_says_so(value: bytes) -> None:
    layer = CryptOption(bytes((69, len(value) + 2)) + value)
    malformed = any(isinstance(entry, Malformed) for entry in layer.suboptions)
    try:
        known = option.parse(value)
    except option.CryptOptionError:
        assert malformed
        return
    uneven = any(entry.opcode in (0x41, 0x42) and len(entry.body) % 3 for entry in known)
    assert malformed == uneven
    assert malformed or rebuilt(layer)[2:] == value


@given(
    st.sampled_from([bytes(INIT1), bytes(Init2(ciphertext=bytes(30)))]),
    st.sampled_from([b"", b"\0\0", b"\0\2ab"]),
    st.data(),
)
def test_messages_are_malformed_when_the_daemon_says_so(message: bytes, field: bytes, data: st.DataObject) -> None:
    changed = bytearray(message + field)
    changed[data.draw(st.integers(0, 11))] = data.draw(st.integers(0, 255))
    cut = bytes(changed[: data.draw(st.sampled_from([len(changed), len(changed) - 1]))])
    layers: tuple[type[Packet], ...] = (Init1, Init2)
    decoders: tuple[Callable[[bytes], object], ...] = (messages.Init1.decode, messages.Init2.decode)
    for layer, decode in zip(layers, decoders, strict=True):
        try:
            decode(cut)
        except messages.MessageError:
            assert type(layer(cut)) is Malformed
        else:
            assert type(layer(cut)) is layer


@settings(max_examples=200)
@given(st.binary(max_size=40).map(padded), st.binary(max_size=60), st.sampled_from([KEY_V4, KEY_V6]))
def test_any_option_area_and_payload(area: bytes, payload: bytes, key: bytes) -> None:
    found = dissected(packet(area, payload, key))
    assert found.segment
    assert found.segment.option_area == area
    assert len(str(found).splitlines()) == 1


@settings(max_examples=200)
@given(st.sampled_from([KEY_V4, KEY_V6]), st.data())
def test_any_damage(key: bytes, data: st.DataObject) -> None:
    area = padded(bytes(CryptOption(suboptions=[Suboption(opcode="INIT1")])) + b"\0" + bytes(MacOption(mac=bytes(20))))
    damaged = bytearray(bytes(packet(area, bytes(INIT1), key)))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, 120))] = data.draw(st.integers(0, 255))
    cut = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    frame = bytes(Ether(type=0x0800 if key is KEY_V4 else 0x86DD)) + cut
    assert len(summary(Ether(frame)).splitlines()) == 1
