"""Selective acknowledgments (RFC 2018) between two of our daemons: SACK beside timestamps and the MAC.

docs/crypt-option.md section 13. A segment has room for timestamps (10 bytes), a MAC of 18 bytes and one block (10),
without padding in between. Blocks are shifted as acknowledgments are, and enter the MAC as part of O (section 6 there).
An original never sees any: it takes SACK-permitted out of its own SYNs and of those that it gets.
"""

from typing import Final

from tcpcryptd.wire import options
from tcpcryptd.wire.sequence import add
from tcpcryptd.wire.words import uint32

_BLOCK: Final = 8
_OPTION_HEAD: Final = 2
_TIMESTAMP: Final = 10
"""Bytes of the option without padding."""


def room_for_blocks(mac_length: int, timestamps: int) -> int:
    """How many blocks fit beside a MAC option and a timestamp option of these lengths."""
    return max(options.MAX_LENGTH - mac_length - timestamps - _OPTION_HEAD, 0) // _BLOCK


def leaves_room(tag_length: int) -> bool:
    """Whether there is room for SACK with tags of this length, whatever the two kernels agree on."""
    return room_for_blocks(tag_length + _OPTION_HEAD, _TIMESTAMP) > 0


def shifted_sack(value: bytes | None, shift: int, limit: int) -> bytes:
    """A SACK option with the first blocks of another one's value, `shift` added to their numbers; empty without any.

    The first block is the one that was received last, or a duplicate (RFC 2018, section 4; RFC 2883).
    """
    if value is None or len(value) < _BLOCK or len(value) % _BLOCK:
        return b""
    end = min(len(value), limit * _BLOCK)
    numbers = [add(uint32(value, at), shift).to_bytes(4, "big") for at in range(0, end, 4)]
    return options.encode(options.SACK, b"".join(numbers)) if numbers else b""
