"""The scapy layers, on the recorded connections and on bytes that nobody should send."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from tcpcryptd.crypt.handshake import messages
from tcpcryptd.dissect import (
    CryptOption,
    Init1,
    Init2,
    MacOption,
    NextKey,
    PublicKeyConfiguration,
    PublicKeySpec,
    Rekey,
    Suboption,
    SymmetricSpec,
    UnknownSuboption,
    dissect,
    summary,
)
from tcpcryptd.wire.segment import ACK, make
from tests.unit.crypto.vectors import load_connections
from tests.unit.dissect.samples import (
    CAPTURES,
    HANDSHAKE,
    INIT1,
    KEY_V4,
    KEY_V6,
    RESUMED,
    VECTORS,
    dissected,
    packet,
    packets,
    padded,
    rebuilt,
)

FIRST, CACHED = load_connections()


def exchange(file: Path) -> list[list[str]]:
    """The names of the suboptions of the packets that have a CRYPT option."""
    found = [dissected(entry) for entry in packets(file)]
    return [
        [s.mysummary().split()[0] for s in d.suboptions] for d in found if d.options and CryptOption in d.options[0]
    ]


def test_full_handshake() -> None:
    hello, pkconf, init1, init2, mac = (dissected(entry) for entry in packets(HANDSHAKE)[:5])
    assert bytes(hello.options[0]) == b"\x45\x02"
    assert hello.suboptions == []
    assert hello.message is None
    (offer,) = pkconf.suboptions
    assert isinstance(offer, PublicKeyConfiguration)
    assert b"".join(map(bytes, offer.specs)).hex() == FIRST["pub_cipher_list"]
    assert isinstance(init1.message, Init1)
    assert init1.message.nonce.hex() == FIRST["N_C"]
    assert init1.message.public_key.hex() == FIRST["K_C"]
    assert bytes(init1.message.public_key_spec).hex() == FIRST["negotiated_pkey_spec"]
    assert b"".join(map(bytes, init1.message.symmetric_specs)).hex() == FIRST["sym_cipher_list"]
    assert isinstance(init2.message, Init2)
    assert init2.message.ciphertext.hex() == FIRST["oaep_ciphertext"]
    assert bytes(init2.message.symmetric_spec).hex() == FIRST["sym_cipher"]
    assert bytes(mac.options[0]).hex() == FIRST["packets"][0]["mac_option"]


def test_resumed_session() -> None:
    syn, answer = (dissected(entry) for entry in packets(RESUMED)[:2])
    (next_key,) = syn.suboptions
    assert isinstance(next_key, NextKey)
    assert next_key.session_id.hex() == CACHED["sid"][:18]
    assert [entry.mysummary() for entry in answer.suboptions] == ["NEXTK2"]


@pytest.mark.parametrize(("file", "connection"), [(HANDSHAKE, FIRST), (RESUMED, CACHED)], ids=["first", "cached"])
def test_macs_and_ciphertext(file: Path, connection: dict[str, Any]) -> None:
    def of(entry: Packet) -> tuple[int, int, str, str]:
        found = dissected(entry)
        assert found.segment
        (mac,) = found.options
        assert isinstance(mac, MacOption)
        return found.segment.sequence, found.segment.acknowledgment, mac.mac.hex(), found.segment.payload.hex()

    recorded = connection["packets"]
    expected = [(p["seq"], p["ack"], p["mac_option"][4:], p["payload_cipher"]) for p in recorded]
    assert [of(IP(bytes.fromhex(p["wire_ip_packet"]))) for p in recorded] == expected
    captured = [entry for entry in packets(file) if "MAC " in summary(entry)]
    assert Counter(map(of, captured)) == Counter(expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("c2_fallback_plain_client", []),
        ("c_fallback_plain_server", [[]]),
        ("d_appsupport_cli0_srv1", [[], ["PKCONF_SUPPORT"], ["INIT1"], ["INIT2"], ["NEXTK1"], ["NEXTK2_SUPPORT"]]),
        (
            "d_appsupport_cli1_srv1",
            [["HELLO_SUPPORT"], ["PKCONF_SUPPORT"], ["INIT1"], ["INIT2"], ["NEXTK1_SUPPORT"], ["NEXTK2_SUPPORT"]],
        ),
        ("e_nextk1_unknown_sid_falls_to_pkconf", [["NEXTK1"], ["PKCONF"], ["INIT1"], ["INIT2"]]),
        ("f_cmode_always_role_switch", [[], ["HELLO"], ["PKCONF"], ["INIT1"], ["INIT2"]]),
    ],
)
def test_other_exchanges(name: str, expected: list[list[str]]) -> None:
    assert exchange(VECTORS / f"{name}.pcap") == expected


@pytest.mark.parametrize("file", CAPTURES, ids=lambda file: file.stem)
def test_what_was_recorded_is_well_formed_and_builds_again(file: Path) -> None:
    for entry in packets(file):
        found = dissected(entry)
        assert found.segment
        assert "malformed" not in str(found)
        assert "\n" not in str(found)
        for layer in found.options:
            assert rebuilt(layer) in found.segment.option_area
        if found.message is not None:
            assert rebuilt(found.message) == found.segment.payload


@pytest.mark.parametrize(
    ("built", "encoded"),
    [
        (CryptOption(), "4502"),
        (CryptOption(suboptions=[Suboption(opcode="HELLO_SUPPORT")]), "450302"),
        (CryptOption(suboptions=[PublicKeyConfiguration(specs=[PublicKeySpec()])]), "45074105020404"),
        (
            CryptOption(
                suboptions=[
                    PublicKeyConfiguration(
                        opcode="PKCONF_SUPPORT",
                        specs=[PublicKeySpec(), PublicKeySpec(algorithm="X25519-HPKE", key_min=1, key_max=1)],
                    )
                ]
            ),
            "450a4208020404f00101",
        ),
        (
            CryptOption(
                suboptions=[
                    PublicKeyConfiguration(
                        specs=[PublicKeySpec(algorithm="MLKEM768-X25519-HPKE", key_min=19, key_max=19)]
                    )
                ]
            ),
            "45074105f11313",
        ),
        (CryptOption(suboptions=[Rekey(generation=3, sequence=0xFFFFFFF0)]), "45088303fffffff0"),
        (CryptOption(suboptions=[NextKey(session_id=b"123456789")]), "450c84313233343536373839"),
        (
            CryptOption(suboptions=[Suboption(opcode=6), UnknownSuboption(opcode=0x50, data=b"ab"), Suboption()]),
            "4508065004616201",
        ),
        (MacOption(mac=bytes(20)), "4616" + "00" * 20),
        (Init2(ciphertext=b"abc"), "0002000300010001616263"),
    ],
)
def test_build(built: Packet, encoded: str) -> None:
    assert bytes(built).hex() == encoded
    read = type(built)(bytes.fromhex(encoded))
    assert type(read) is type(built)
    assert rebuilt(read).hex() == encoded


def test_built_messages_are_the_daemons() -> None:
    assert messages.Init1.decode(bytes(INIT1)) == messages.Init1(
        bytes.fromhex("00010001"), bytes(range(16)), bytes.fromhex("020404"), b"\xd7" * 256
    )
    assert messages.Init2.decode(bytes(Init2(ciphertext=b"abc"))) == messages.Init2(bytes.fromhex("00010001"), b"abc")
    extended = Init2(ciphertext=b"abc", extension_field=b"\0\4abcd")
    assert messages.Init2.decode(bytes(extended)).extension_field == Init2(bytes(extended)).extension_field
    assert PublicKeySpec(b"\xff\0\x67").mysummary() == "extensions of 103 bytes"


@pytest.mark.parametrize("key", [KEY_V4, KEY_V6], ids=["IPv4", "IPv6"])
def test_options_behind_padding(key: bytes) -> None:
    area = (
        bytes(CryptOption(suboptions=[Suboption(opcode="INIT1")]))
        + b"\0"
        + bytes(MacOption(mac=b"\xaa" * 20))
        + b"\0\0"
    )
    found = dissected(packet(area, bytes(INIT1), key))
    assert [type(layer) for layer in found.options] == [CryptOption, MacOption]
    assert found.options[1].mac == b"\xaa" * 20
    assert isinstance(found.message, Init1)
    assert found.message.nonce == bytes(range(16))
    assert str(found).startswith(
        "10.77.0.1:40001 > " if key is KEY_V4 else "[::1]:40001 > [::2]:7777 SYN seq 7 len 288; "
    )


def test_a_packet_that_scapy_built() -> None:
    crypt = CryptOption(suboptions=[Rekey(generation=1, sequence=2)])
    built = Ether() / IP(dst="10.0.0.2") / TCP(dport=80, options=[("MSS", 1460), (69, bytes(crypt)[2:])])
    (layer,) = dissected(built).suboptions
    assert (layer.generation, layer.sequence) == (1, 2)


def test_one_line_says_what_is_in_each_suboption() -> None:
    crypt = CryptOption(
        suboptions=[
            Rekey(generation=3, sequence=9),
            UnknownSuboption(opcode=0x50, data=b"abcdefghi"),
            Suboption(opcode=0x10),
            PublicKeyConfiguration(specs=[PublicKeySpec(key_max=8), PublicKeySpec(algorithm=9, key_max=4)]),
        ]
    )
    line = summary(packet(padded(bytes(crypt))))
    assert line.split("; ")[1:] == [
        "CRYPT REKEY generation 3 from 9, 0x50 6162636465666768..., 0x10, PKCONF RSA/2048-4096 0x09/2048"
    ]


def test_a_capture_that_cut_the_payload() -> None:
    whole = packet(padded(bytes(CryptOption(suboptions=[Suboption(opcode="INIT1")]))), bytes(INIT1))
    found = dissected(IP(bytes(whole)[:-100]))
    assert found.missing == 100
    assert found.message is None
    assert str(found).endswith("len 288 (100 not captured); CRYPT INIT1")


def test_link_layer_padding_is_not_payload() -> None:
    frame = Ether(bytes(Ether() / packet()) + bytes(6))
    assert str(dissected(frame)).endswith("SYN seq 7 len 0")


def test_innermost_header_counts_and_quoted_ones_do_not() -> None:
    assert str(dissected(IPv6(dst="::9") / packet())).startswith("10.77.0.1:40001")
    quoted = IP(bytes(IP(dst="10.0.0.1") / ICMP(type=3) / bytes(packet())))
    assert dissect(quoted) is None


@pytest.mark.parametrize("other", [Ether() / ARP(), IP() / UDP(), Raw(b"\x45"), IPv6() / UDP()])
def test_not_tcp(other: Packet) -> None:
    assert dissect(other) is None
    assert summary(other) == "not TCP"


def test_many_specs_stay_one_short_line() -> None:
    message = Init1(bytes(Init1(symmetric_specs=[SymmetricSpec()] * 2000, public_key=b"k")))
    assert len(message.symmetric_specs) == 2000
    assert len(message.mysummary()) < 500


JUMBO = b"\x06\x00\xc2\x04" + (1 << 17).to_bytes(4, "big")


@pytest.mark.parametrize("version", [4, 6])
def test_packets_of_more_than_64_kib(version: int) -> None:
    """As a capture has what the kernel sends and receives with BIG TCP: the length is 0."""
    key = bytes(range(8 if version == 4 else 32)) + bytes((0, 80, 0, 81))
    whole = make(key, sequence=1, acknowledgment=2, flags=ACK, window=3)
    payload = bytes(131_064)
    forms: list[Packet]
    if version == 4:
        forms = [IP(whole[:2] + bytes(2) + whole[4:] + payload)]
    else:
        head = whole[:4] + bytes(2)
        # With the jumbo payload option, and without, as later kernels have it.
        forms = [IPv6(head + b"\0" + whole[7:40] + JUMBO + whole[40:] + payload), IPv6(head + whole[6:] + payload)]
    for form in forms:
        found = dissect(form)
        assert found is not None
        assert found.malformed is None
        assert found.segment is not None
        assert (found.segment.sequence, found.segment.payload_length, found.missing) == (1, len(payload), 0)
