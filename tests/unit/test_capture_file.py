"""Captures as files: what the formats allow, what damage does, and that scapy would have read the same."""

import contextlib
import gzip
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.layers.l2 import ARP, GRE, CookedLinux, Dot1AD, Dot1Q, Ether, Loopback
from scapy.packet import Packet, Raw
from scapy.utils import PcapNgWriter, PcapReader, wrpcap

from tcpcryptd.dissect import CaptureError, CaptureFile, CryptOption, MacOption, summary
from tcpcryptd.dissect.capture import _dissect, read_packets
from tcpcryptd.dissect.capture_file import MAX_INTERFACES, MAX_PACKET
from tcpcryptd.dissect.link import scapy_packet
from tests.unit.crypto.vectors import PATH

CAPTURES = sorted(PATH.parent.glob("*.pcap"))
AREA = [(69, bytes(CryptOption())[2:]), (70, bytes(MacOption(mac=bytes(20)))[2:])]
SEGMENT = TCP(sport=5, dport=6, flags="S", options=AREA) / b"payload"
# Scapy would ask the network for them.
MAC = "02:00:00:00:00:01"
ETHER = Ether(src=MAC, dst=MAC)
V4, V6 = IP(src="10.0.0.1", dst="10.0.0.2"), IPv6(src="fd00::1", dst="fd00::2")
SLL2 = 276
PACKETS: list[tuple[int, Packet]] = [
    *((1, ETHER / ip / SEGMENT) for ip in (V4, V6)),
    (1, ETHER / Dot1Q(vlan=5) / V4 / SEGMENT),
    (1, ETHER / Dot1AD(vlan=5) / Dot1Q(vlan=6) / V6 / SEGMENT),
    (1, ETHER / IP(dst="10.0.0.2", src="10.0.0.1", options=[IPOption_NOP()] * 4) / SEGMENT),
    (1, ETHER / V4 / UDP(dport=53) / b"x"),
    (1, ETHER / V4 / UDP(dport=4754) / GRE() / V4 / SEGMENT),
    (1, ETHER / V4 / GRE() / V6 / SEGMENT),
    (1, ETHER / V4 / V4 / SEGMENT),
    (1, ETHER / V6 / V4 / SEGMENT),
    (1, ETHER / V6 / IPv6ExtHdrDestOpt() / SEGMENT),
    (1, ETHER / V6 / IPv6ExtHdrFragment(m=1) / SEGMENT),
    (1, ETHER / IP(dst="10.0.0.2", src="10.0.0.1", frag=7) / SEGMENT),
    (1, ETHER / V4 / ICMP(type=3) / V4 / SEGMENT),
    (1, ETHER / ARP(psrc="10.0.0.1", hwsrc=MAC)),
    (1, Ether(src=MAC, dst=MAC, type=0x88CC) / b"lldp"),
    (101, V4 / SEGMENT),
    (101, V6 / SEGMENT),
    (228, V4 / SEGMENT),
    (229, V6 / SEGMENT),
    (113, CookedLinux() / V4 / SEGMENT),
    (113, CookedLinux() / V6 / UDP()),
    (0, Loopback() / V4 / SEGMENT),
    (SLL2, Raw(bytes.fromhex("0800000000000002000104060000000000000000") + bytes(V4 / SEGMENT))),
    (147, V4 / SEGMENT),
]
FRAMES = [(link_type, bytes(packet)) for link_type, packet in PACKETS]


def shown(link_type: int, frame: bytes) -> str:
    return str(_dissect(link_type, frame) or "not TCP")


@pytest.mark.parametrize("index", range(len(FRAMES)))
def test_frames_are_read_as_scapy_reads_them(index: int) -> None:
    link_type, frame = FRAMES[index]
    assert shown(link_type, frame) == summary(scapy_packet(link_type, frame))


def test_most_of_these_are_tcp() -> None:
    """Or else both ways could agree on nothing."""
    assert sum("CRYPT HELLO; MAC" in shown(*frame) for frame in FRAMES) >= 14


@settings(max_examples=200)
@given(st.sampled_from([each for each in FRAMES if each[0] != 147]), st.data())
def test_damaged_frames_too(chosen: tuple[int, bytes], data: st.DataObject) -> None:
    link_type, whole = chosen
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    frame = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    assert shown(link_type, frame) == summary(scapy_packet(link_type, frame))


@pytest.mark.parametrize("form", ["pcap", "gzip", "pcapng"])
@pytest.mark.parametrize("file", CAPTURES, ids=lambda file: file.stem)
def test_times_and_packets_are_those_that_scapy_finds(file: Path, form: str, tmp_path: Path) -> None:
    with PcapReader(str(file)) as reader:
        packets = list(reader)
    given = tmp_path / "given"
    if form == "pcapng":
        with PcapNgWriter(str(given)) as writer:
            writer.write(packets)
    else:
        given.write_bytes(gzip.compress(file.read_bytes()) if form == "gzip" else file.read_bytes())
    start = float(packets[0].time)
    wanted = [(round(float(packet.time) - start, 6), summary(packet)) for packet in packets]
    assert [(round(time, 6), str(found or "not TCP")) for time, found in read_packets(str(given))] == wanted


def pcap(order: str, magic: int, *packets: bytes, units: int = 5) -> bytes:
    head = struct.pack(order + "IHHIIII", magic, 2, 4, 0, 0, 65535, 1 | 4 << 28)
    return head + b"".join(struct.pack(order + "IIII", 3, units, len(each), len(each)) + each for each in packets)


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def section(order: str) -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(order: str, *, snapshot: int = 0, link: int = 101, area: bytes = b"") -> bytes:
    return block(order, 1, struct.pack(order + "HHI", link, 0, snapshot) + area)


def enhanced(order: str, time: int, data: bytes, index: int = 0) -> bytes:
    head = struct.pack(order + "IIIII", index, time >> 32, time & 0xFFFFFFFF, len(data), len(data))
    return block(order, 6, head + data)


@pytest.fixture
def read(tmp_path: Path) -> Callable[[bytes], tuple[list[tuple[int, int, bytes]], bool]]:
    def records(content: bytes) -> tuple[list[tuple[int, int, bytes]], bool]:
        path = tmp_path / "file"
        path.write_bytes(content)
        with CaptureFile(str(path)) as file:
            found = [tuple(record) for record in file]
            assert (file.size, file.position) == (len(content), len(content))
            return found, file.is_cut  # type: ignore[return-value]

    return records


Read = Callable[[bytes], tuple[list[tuple[int, int, bytes]], bool]]
ORDER = pytest.mark.parametrize("order", "<>")


@ORDER
def test_pcap_of_both_resolutions(order: str, read: Read) -> None:
    assert read(pcap(order, 0xA1B2C3D4, b"a", b"bc")) == (
        [(3_000_005_000, 1, b"a"), (3_000_005_000, 1, b"bc")],
        False,
    )
    assert read(pcap(order, 0xA1B23C4D, b"a"))[0] == [(3_000_000_005, 1, b"a")]
    assert read(pcap(order, 0xA1B2C3D4)) == ([], False)


@ORDER
def test_pcapng_with_all_that_has_packets(order: str, read: Read) -> None:
    """And what has none; a second section begins anew."""
    offset = struct.pack(order + "HHq", 14, 8, 100)
    nanoseconds = struct.pack(order + "HHBxxx", 9, 1, 9)
    binary = struct.pack(order + "HHBxxx", 9, 1, 0x80 | 10)
    content = b"".join(
        (
            section(order),
            interface(order),
            interface(order, link=1, area=nanoseconds + offset + bytes(4)),
            interface(order, area=binary),
            enhanced(order, 7_000_000, b"odd"),
            block(order, 0xBAD, bytes(200_000)),
            enhanced(order, 1 << 33, b"even", 1),
            enhanced(order, 1536, b"", 2),
            block(order, 2, struct.pack(order + "HHIIII", 1, 0, 0, 9, 2, 2) + b"ob"),
            block(order, 3, struct.pack(order + "I", 6) + b"simple"),
            section("<"),
            interface("<", snapshot=3),
            block("<", 3, struct.pack("<I", 6) + b"sim"),
        )
    )
    second = 10**9
    assert read(content) == (
        [
            (7 * second, 101, b"odd"),
            ((1 << 33) + 100 * second, 1, b"even"),
            (second * 3 // 2, 101, b""),
            (9 + 100 * second, 1, b"ob"),
            (0, 101, b"simple"),
            (0, 101, b"sim"),
        ],
        False,
    )


@pytest.mark.parametrize("cut", range(1, 20))
def test_a_file_that_is_cut(cut: int, read: Read) -> None:
    """All that is there is read, and it is said."""
    found, is_cut = read(pcap("<", 0xA1B2C3D4, b"whole", b"half")[:-cut])
    assert [data for _, _, data in found] == [b"whole", *([b"half"[:-cut]] if cut <= 4 else [])]
    assert is_cut
    blocks = section("<") + interface("<") + enhanced("<", 1, b"whole") + enhanced("<", 1, b"half")
    found, is_cut = read(blocks[:-cut])
    assert ([data for _, _, data in found], is_cut) == ([b"whole"], True)
    compressed = gzip.compress(pcap("<", 0xA1B2C3D4, *[bytes([each]) for each in range(256)]))
    assert read(compressed[:-cut])[1]


START = section("<") + interface("<")
DAMAGED = {
    "no capture": b"text",
    "nothing": b"",
    "magic alone": b"\xd4\xc3\xb2\xa1",
    "no byte order": b"\n\r\r\n" + bytes(24),
    "a cut section": section("<")[:20],
    "another version": block("<", 0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 2, 0, -1)),
    "a large packet": pcap("<", 0xA1B2C3D4) + struct.pack("<IIII", 0, 0, MAX_PACKET + 1, 9),
    "a large block": START + struct.pack("<II", 6, 0xFFFFFFFC),
    "a small block": START + struct.pack("<II", 6, 8),
    "two lengths": START + enhanced("<", 1, b"data")[:-4] + bytes(4),
    "no interface": section("<") + enhanced("<", 1, b"data"),
    "another interface": START + enhanced("<", 1, b"data", 1),
    "short block": START + block("<", 6, bytes(8)),
    "short interface": section("<") + block("<", 1, bytes(4)),
    "more than the block": START + block("<", 6, struct.pack("<IIIII", 0, 0, 0, 99, 99)),
    "damaged gzip": gzip.compress(pcap("<", 0xA1B2C3D4, bytes(100)))[:20] + bytes(20),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_said(name: str, read: Read) -> None:
    with pytest.raises(CaptureError, match=r"/file: \w+"):
        read(DAMAGED[name])


@settings(max_examples=200)
@given(data=st.data())
def test_any_damage_gives_packets_or_a_clear_error(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(START + enhanced("<", 1, b"data") + pcap("<", 0xA1B2C3D4, b"data"))
    if data.draw(st.booleans()):
        content = bytearray(pcap(">", 0xA1B2C3D4, b"data", b"more"))
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content)
    with contextlib.suppress(CaptureError):
        list(read_packets(str(path)))


def test_a_block_that_is_skipped_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(START + block("<", 0xBAD, bytes(8 << 20)) + enhanced("<", 1, b"data"))
    tracemalloc.start()
    with CaptureFile(str(path)) as file:
        assert [record.data for record in file] == [b"data"]
    assert tracemalloc.get_traced_memory()[1] < 2 << 20
    tracemalloc.stop()


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    for name in (tmp_path, tmp_path / "none"):
        with pytest.raises(CaptureError, match=r": \w+"):
            CaptureFile(str(name))


def test_long_reading_keeps_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    wrpcap(str(path), [ETHER / V4 / SEGMENT] * 3000)
    packets = read_packets(str(path))
    next(packets)
    tracemalloc.start()
    for _ in packets:
        pass
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_interfaces_are_bounded(read: Callable[[bytes], tuple[list[tuple[int, int, bytes]], bool]]) -> None:
    """Compressed, a small file has millions."""
    some = section("<") + interface("<") * MAX_INTERFACES
    assert len(read(some + enhanced("<", 1, b"x", MAX_INTERFACES - 1))[0]) == 1
    with pytest.raises(CaptureError, match="interfaces"):
        read(some + interface("<"))
