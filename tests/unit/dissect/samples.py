"""Recorded connections, and packets that are built."""

from pathlib import Path

from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet
from scapy.utils import PcapReader

from tcpcryptd.dissect import (
    Dissection,
    Init1,
    SymmetricSpec,
    dissect,
)
from tcpcryptd.wire.segment import SYN, make
from tests.unit.crypto.vectors import PATH

VECTORS = PATH.parent
CAPTURES = sorted(VECTORS.glob("*.pcap"))
HANDSHAKE = VECTORS / "a_first_full_handshake.pcap"
RESUMED = VECTORS / "b_second_cached_nextk.pcap"

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
