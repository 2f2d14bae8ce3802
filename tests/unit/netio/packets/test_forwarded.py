"""Packets for hosts behind this one."""

import pytest

from tcpcryptd.netio.packets import forwarded
from tcpcryptd.netio.packets.forwarded import cut, fitting, needs_sending
from tcpcryptd.wire.segment import ACK, FIN, PSH, Segment, locate, make
from tcpcryptd.wire.sequence import add

KEY = bytes((10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 0, 81))
KEY6 = bytes(15) + b"\x01" + bytes(15) + b"\x02" + bytes(4)
START = 0xFFFFFF00


def packet_of(size: int, key: bytes = KEY) -> bytes:
    payload = bytes(number & 0xFF for number in range(size))
    return make(key, sequence=START, acknowledgment=7, flags=ACK | PSH | FIN, window=9, payload=payload)


@pytest.fixture
def mtu_1500(monkeypatch: pytest.MonkeyPatch) -> None:
    forwarded._mtu.cache_clear()
    monkeypatch.setattr(forwarded, "path_mtu", lambda address: 1500 if len(address) in (4, 16) else None)


@pytest.mark.parametrize("key", [KEY, KEY6])
@pytest.mark.parametrize("size", [1, 1240, 5000])
def test_pieces_are_the_whole(key: bytes, size: int) -> None:
    whole = packet_of(size, key)
    pieces = [Segment(piece, locate(piece)[0]) for piece in cut(whole, 1280)]
    assert all(len(piece.packet) <= 1280 and piece.checksum_is_right for piece in pieces)
    assert b"".join(bytes(piece.payload) for piece in pieces) == whole[-size:]
    at = START
    for piece in pieces:
        assert piece.sequence == at
        assert piece.acknowledgment == 7
        at = add(at, piece.payload_length)
        assert bool(piece.flags & FIN) == bool(piece.flags & PSH) == (piece is pieces[-1])


@pytest.mark.parametrize(
    ("size", "new", "sends"),
    [(100, 1200, False), (1500, 1480, False), (40_000, 39_000, False), (200, 3000, True), (3000, 60, True)],
)
def test_the_kernel_cuts_only_what_it_had_merged(mtu_1500: None, size: int, new: int, sends: bool) -> None:
    assert needs_sending(size, packet_of(new - 40), 0.0) is sends


def test_what_fits_is_one_piece(mtu_1500: None) -> None:
    whole = packet_of(1460)
    assert fitting(whole, 0.0) == [whole]
    assert len(fitting(packet_of(1461), 0.0)) == 2
