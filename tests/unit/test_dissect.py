"""The scapy layers, on the recorded connections and on bytes that nobody should send."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw
from scapy.utils import PcapNgWriter, PcapReader, wrpcap

from tcpcryptd.crypt import option
from tcpcryptd.crypt.handshake import messages
from tcpcryptd.dissect import (
    CryptOption,
    Dissection,
    Init1,
    Init2,
    MacOption,
    Malformed,
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
from tcpcryptd.dissect.__main__ import main
from tcpcryptd.wire.segment import ACK, SYN, make
from tests.unit.crypto.vectors import PATH, load_connections

VECTORS = PATH.parent
CAPTURES = sorted(VECTORS.glob("*.pcap"))
HANDSHAKE = VECTORS / "a_first_full_handshake.pcap"
RESUMED = VECTORS / "b_second_cached_nextk.pcap"
FIRST, CACHED = load_connections()

KEY_V4 = bytes.fromhex("0a4d00010a4d00029c411e61")
KEY_V6 = bytes(15) + b"\1" + bytes(15) + b"\2" + KEY_V4[-4:]
INIT1 = Init1(symmetric_specs=[SymmetricSpec()], nonce=bytes(range(16)), public_key=b"\xd7" * 256)


def packets(file: Path) -> list[Packet]:
    with PcapReader(str(file)) as reader:
        return list(reader)


def dissected(packet: Packet) -> Dissection:
    found = dissect(packet)
    assert found
    return found


def packet(option_area: bytes = b"", payload: bytes = b"", key: bytes = KEY_V4) -> Packet:
    layer = IP if len(key) == 12 else IPv6
    return layer(make(key, sequence=7, acknowledgment=0, flags=SYN, window=9, option_area=option_area, payload=payload))


def padded(area: bytes) -> bytes:
    return area + bytes(-len(area) % 4)


def rebuilt(layer: Packet) -> bytes:
    """Built from the fields alone, lengths computed."""
    lengths = {"length", "spec_count", "nonce_length", "key_length", "ciphertext_length"}
    return bytes(type(layer)(**{name: value for name, value in layer.fields.items() if name not in lengths}))


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


def test_many_specs_stay_one_short_line() -> None:
    message = Init1(bytes(Init1(symmetric_specs=[SymmetricSpec()] * 2000, public_key=b"k")))
    assert len(message.symmetric_specs) == 2000
    assert len(message.mysummary()) < 500


@pytest.mark.parametrize("file", CAPTURES, ids=lambda file: file.stem)
def test_command_prints_a_line_per_packet(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[11:] for line in lines] == [summary(entry) for entry in packets(file)]
    assert lines[0].startswith("  0.000000 10.77.0.1:")


def test_command_reads_pcapng_and_what_is_not_tcp(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(tmp_path / "capture.pcapng")
    with PcapNgWriter(file) as writer:
        writer.write([Ether() / packet(), Ether() / ARP()])
    assert main([file]) == 0
    assert [line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines()] == [
        "10.77.0.1:40001 > 10.77.0.2:7777 SYN seq 7 len 0",
        "not TCP",
    ]


def test_command_reads_a_pipe_and_shows_a_file_up_to_where_it_is_cut() -> None:
    whole = HANDSHAKE.read_bytes()
    command = [sys.executable, "-m", "tcpcryptd.dissect", "-"]
    run = subprocess.run(command, input=whole[:-10], capture_output=True, check=False, timeout=60)
    assert run.returncode == 0
    lines = run.stdout.decode().splitlines()
    assert len(lines) == len(packets(HANDSHAKE))
    assert lines[-1].endswith("10.77.0.1 > 10.77.0.2 malformed: the capture ends in the header")
    assert not any("malformed" in line for line in lines[:-1])


@pytest.mark.parametrize("content", [b"", b"no capture at all", b"\xd4\xc3\xb2\xa1", b"\n\r\r\n" + bytes(3), None])
def test_command_refuses_what_is_no_capture(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "capture"
    if content is not None:
        file.write_bytes(content)
    assert main([str(file)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"dissect: {file}: ")
    assert len(captured.err.splitlines()) == 1


def test_command_survives_a_reader_that_leaves(tmp_path: Path) -> None:
    file = tmp_path / "long.pcap"
    wrpcap(str(file), [Ether() / packet()] * 3000)
    command = [sys.executable, "-m", "tcpcryptd.dissect", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


def test_command_wants_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([])
    assert exit_.value.code == 2
    assert "FILE" in capsys.readouterr().err


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
    for packet in forms:
        found = dissect(packet)
        assert found is not None
        assert found.malformed is None
        assert found.segment is not None
        assert (found.segment.sequence, found.segment.payload_length, found.missing) == (1, len(payload), 0)
