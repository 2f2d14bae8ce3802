"""Plaintext for a host behind this one: packets that fit the link to it.

The kernel cuts what it had merged itself (GRO) and nothing else, and drops what it had merged and finds too small to
cut. A frame that is complete with a small packet can give a large one, and a large packet that ends within a frame a
small one.
"""

from functools import lru_cache

from tcpcryptd.netio.kernel.path_mtu import path_mtu
from tcpcryptd.netio.kernel.raw_socket import destination_of
from tcpcryptd.wire.segment import FIN, PSH, Segment, locate
from tcpcryptd.wire.sequence import add

FITS_EVERYWHERE = 1280
"""Bytes: the smallest MTU of IPv6, and of any IPv4 link that is found in practice."""
_MTU_LIFETIME = 10.0
"""Seconds for which an MTU is not looked up again."""


def needs_sending(size: int, replacement: bytes, now: float) -> bool:
    """Whether the kernel would not forward `replacement` well in the place of a packet of `size` bytes."""
    if size <= FITS_EVERYWHERE and len(replacement) <= FITS_EVERYWHERE:
        return False
    mtu = _mtu(destination_of(replacement), int(now / _MTU_LIFETIME))
    return (size > mtu) != (len(replacement) > mtu)


def fitting(packet: bytes, now: float) -> list[bytes]:
    """The packet in as many pieces as the link to its destination asks for."""
    mtu = _mtu(destination_of(packet), int(now / _MTU_LIFETIME))
    return [packet] if len(packet) <= mtu else cut(packet, mtu)


def cut(packet: bytes, mtu: int) -> list[bytes]:
    """A TCP segment in pieces of at most `mtu` bytes, with all its options in each. It is not urgent data."""
    segment = Segment(packet, locate(packet)[0])
    payload = segment.payload
    room = mtu - (len(packet) - len(payload))
    if room <= 0:
        return [packet]
    starts = range(0, len(payload), room)
    return [
        segment.edited(
            payload=payload[at : at + room],
            sequence=add(segment.sequence, at),
            flags=segment.flags & ~(0 if at == starts[-1] else FIN | PSH),
        )
        for at in starts
    ] or [packet]


@lru_cache(maxsize=1024)
def _mtu(address: bytes, _period: int) -> int:
    return path_mtu(address) or FITS_EVERYWHERE
