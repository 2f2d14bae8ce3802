"""What is said of payload whose connection's beginning was not captured, or that breaks the protocol's rules."""

from pathlib import Path

import pytest
from scapy.layers.inet import IP
from scapy.utils import PcapReader, wrpcap

from tcpcryptd.dissect import read_capture
from tcpcryptd.pcap import Connection, ConnectionTable, Kind
from tcpcryptd.pcap.report import describe
from tcpcryptd.wire.segment import ACK, PSH, SYN, make, reverse_key
from tests.unit.crypto.vectors import PATH

KEY = bytes.fromhex("0a4d00010a4d00029c411e61")
FIRST = PATH.parent / "a_first_full_handshake.pcap"


def segment(sequence: int, flags: int = ACK, payload: bytes = b"", *, back: bool = False, area: bytes = b"") -> IP:
    key = reverse_key(KEY) if back else KEY
    packet = make(key, sequence=sequence, acknowledgment=1, flags=flags, window=9, option_area=area, payload=payload)
    return IP(packet)


def connections(directory: Path, packets: list[IP]) -> list[Connection]:
    file = directory / "made.pcap"
    wrpcap(str(file), packets)
    table = ConnectionTable()
    for captured in read_capture(str(file)):
        list(table.add(captured))
    return table.connections


def test_without_a_beginning(tmp_path: Path) -> None:
    with PcapReader(str(FIRST)) as reader:
        packets = [packet[IP] for packet in reader][4:]
    (sealed,) = connections(tmp_path, packets)
    assert [set(side.bytes) for side in sealed.sides] == [{Kind.CIPHERTEXT}, {Kind.CIPHERTEXT}]
    (unknown,) = connections(tmp_path, [segment(5, payload=b"what is this")])
    assert unknown.sides[0].bytes == {Kind.UNKNOWN: 12}
    assert "unknown: its beginning was not captured" in next(describe(unknown))


def test_plain_payload_in_an_encrypted_connection_is_pointed_at(tmp_path: Path) -> None:
    with PcapReader(str(FIRST)) as reader:
        packets = [packet[IP] for packet in reader]
    late = packets[5].copy()
    forged = make(
        bytes(late)[12:20] + bytes(late)[20:24], sequence=9, acknowledgment=9, flags=ACK, window=9, payload=b"leak"
    )
    (connection,) = connections(tmp_path, [*packets, IP(forged)])
    assert connection.sides[0].bytes[Kind.PLAIN] == 4
    assert any("! plain payload in an encrypted connection" in line for line in describe(connection))


def test_ports_that_are_used_again(tmp_path: Path) -> None:
    packets = [segment(7, SYN), segment(9, SYN | ACK, back=True), segment(8, PSH | ACK, b"one")]
    packets += [segment(7, SYN), segment(700, SYN), segment(900, SYN | ACK, back=True), segment(701, ACK, b"two!")]
    first, second = connections(tmp_path, packets)
    assert [first.sides[0].bytes[Kind.PLAIN], second.sides[0].bytes[Kind.PLAIN]] == [3, 4]
    assert next(describe(second)) == "2  10.77.0.1:40001 > 10.77.0.2:7777  plain"


@pytest.mark.parametrize("first", ["SYN ACK", "answer"])
def test_who_opened_is_told_from_a_syn_ack(tmp_path: Path, first: str) -> None:
    flags = SYN | ACK if first == "SYN ACK" else ACK
    (connection,) = connections(tmp_path, [segment(9, flags, back=True), segment(8, ACK, b"one")])
    assert connection.opener == ("10.77.0.1:40001" if first == "SYN ACK" else "10.77.0.2:7777")


def test_frames_that_are_none(tmp_path: Path) -> None:
    offer, answer, acknowledgment = (
        bytes.fromhex("45032300"),
        bytes.fromhex("4504012300000000"),
        bytes.fromhex("45020101"),
    )
    opening = [segment(0, SYN, area=offer), segment(0, SYN | ACK, back=True, area=answer)]
    opening.append(segment(1, ACK, area=acknowledgment))
    (broken,) = connections(tmp_path, [*opening, segment(1, ACK, b"\0\0\5" + b"hello, world")])
    assert broken.is_encrypted
    assert any("no valid frame where one should be" in line for line in describe(broken))
    (holed,) = connections(tmp_path, [*opening, segment(90, ACK, b"\0\0\x40" + bytes(64))])
    assert any("a segment is missing" in line for line in describe(holed))
    (plain,) = connections(tmp_path, [*opening[:2], segment(1, ACK, b"in clear")])
    assert not plain.is_encrypted
    assert plain.sides[0].bytes == {Kind.PLAIN: 8}
