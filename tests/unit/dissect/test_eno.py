"""The scapy layers of the ENO option (RFC 8547 section 4)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP
from scapy.packet import Packet

from tcpcryptd.dissect import (
    CryptOption,
    EnoGlobal,
    EnoOption,
    EnoSynOption,
    EnoTep,
    EnoTepWithData,
    EnoTepWithLength,
    Malformed,
    dissect,
    read_options,
    summary,
)
from tcpcryptd.eno.handshake import option
from tcpcryptd.eno.handshake.option import EnoOptionError, Suboption
from tcpcryptd.wire import options
from tcpcryptd.wire.segment import ACK, SYN, make

KEY = bytes.fromhex("0a4d00010a4d00029c411e61")
RESUMPTION = bytes(range(17))


def packet(area: bytes, flags: int) -> Packet:
    area = options.pad(area)
    return IP(make(KEY, sequence=7, acknowledgment=0, flags=flags, window=9, option_area=area))


def one(value: bytes, *, in_syn: bool = True) -> Packet:
    (layer,) = read_options(options.encode(69, value), in_syn=in_syn)
    return layer


@pytest.mark.parametrize(
    ("value", "suboptions", "shown"),
    [
        ("2324", [EnoTep(tep_byte=0x23), EnoTep(tep_byte=0x24)], "ENO Curve25519, Curve448"),
        ("0723", [EnoGlobal(bits=7), EnoTep(tep_byte=0x23)], "ENO b=1 a=1 z=0x07, Curve25519"),
        (
            "01a3" + RESUMPTION.hex(),
            [EnoGlobal(bits=1), EnoTepWithData(tep_byte=0xA3, data=RESUMPTION)],
            f"ENO b=1 a=0, Curve25519 session {RESUMPTION[:9].hex()} nonce {RESUMPTION[9:].hex()}",
        ),
        (
            "88a2" + RESUMPTION[:9].hex() + "21",
            [EnoTepWithLength(tep_byte=0xA2, data=RESUMPTION[:9]), EnoTep(tep_byte=0x21)],
            f"ENO P-521 session {RESUMPTION[:9].hex()} nonce empty, P-256",
        ),
        ("82a0616263", [EnoTepWithLength(tep_byte=0xA0, data=b"abc")], "ENO experimental data 616263"),
        (
            "a0" + RESUMPTION.hex(),
            [EnoTepWithData(tep_byte=0xA0, data=RESUMPTION)],
            f"ENO experimental data {RESUMPTION.hex()}",
        ),
        (
            "2383a05f7b4100",
            [EnoTep(tep_byte=0x23), EnoTepWithLength(tep_byte=0xA0, data=b"\x5f\x7b\x41\0")],
            "ENO Curve25519, MLKEM768-X25519",
        ),
        (
            "23a05f7b412342",
            [EnoTep(tep_byte=0x23), EnoTepWithData(tep_byte=0xA0, data=b"\x5f\x7b\x41\x23\x42")],
            "ENO Curve25519, MLKEM768-X25519 or Curve25519 or 0x42",
        ),
        (
            "01a05f7bc1" + RESUMPTION[:14].hex(),
            [EnoGlobal(bits=1), EnoTepWithData(tep_byte=0xA0, data=b"\x5f\x7b\xc1" + RESUMPTION[:14])],
            f"ENO b=1 a=0, MLKEM768-X25519 session {RESUMPTION[:6].hex()} nonce {RESUMPTION[6:14].hex()}",
        ),
        ("a05f7bc1aa", [EnoTepWithData(tep_byte=0xA0, data=b"\x5f\x7b\xc1\xaa")], "ENO MLKEM768-X25519 data aa"),
        ("a05f7b", [EnoTepWithData(tep_byte=0xA0, data=b"\x5f\x7b")], "ENO experimental data 5f7b"),
        ("a05f7b00", [EnoTepWithData(tep_byte=0xA0, data=b"\x5f\x7b\0")], "ENO experimental data 5f7b00"),
    ],
)
def test_syn_form(value: str, suboptions: list[Packet], shown: str) -> None:
    layer = one(bytes.fromhex(value))
    assert isinstance(layer, EnoSynOption)
    assert [bytes(entry) for entry in layer.suboptions] == [bytes(entry) for entry in suboptions]
    assert [type(entry) for entry in layer.suboptions] == [type(entry) for entry in suboptions]
    assert bytes(EnoSynOption(suboptions=suboptions)) == bytes(layer)
    assert layer.mysummary() == shown


def test_a_handshake() -> None:
    lines = [
        summary(packet(bytes.fromhex(area), flags))
        for area, flags in (("45042324", SYN), ("45040124", SYN | ACK), ("4502", ACK))
    ]
    assert [line.split("; ")[1] for line in lines] == ["ENO Curve25519, Curve448", "ENO b=1 a=0, Curve448", "ENO"]


def test_other_form() -> None:
    assert isinstance(one(b"", in_syn=False), EnoOption)
    assert EnoOption(contents=b"ab").mysummary() == "ENO 6162"
    assert isinstance(EnoOption(b"\x45\x03"), Malformed)
    assert isinstance(EnoSynOption(b"\x45\x03"), Malformed)


@pytest.mark.parametrize(
    "value", ["", "01", "02", "84" + "23" * 9, "85" + "24" * 9, "04", "410502 0404", "4108020404f00101", "80a3"]
)
def test_options_of_the_crypt_protocol(value: str) -> None:
    assert isinstance(one(bytes.fromhex(value)), CryptOption)


def test_crypt_options_outside_of_syns() -> None:
    assert isinstance(one(b"\x06", in_syn=False), CryptOption)


@given(st.binary(max_size=38))
def test_like_the_packages_own_reader(value: bytes) -> None:
    layer = one(value)
    assert bytes(layer) == options.encode(69, value)
    if not isinstance(layer, EnoSynOption):
        return
    try:
        found = option.parse(value)
    except EnoOptionError:
        pytest.fail("not an ENO option")
    offers = [entry for entry in layer.suboptions if not isinstance(entry, EnoGlobal)]
    data = [None if isinstance(entry, EnoTep) else entry.data for entry in offers]
    teps = [entry.tep_byte & 0x7F for entry in offers]
    assert found.suboptions == tuple(map(Suboption, teps, data))


@given(st.binary(max_size=36), st.sampled_from((SYN, SYN | ACK, ACK)))
def test_any_bytes(area: bytes, flags: int) -> None:
    found = dissect(packet(options.pad(area), flags))
    assert found is not None
    assert str(found)
