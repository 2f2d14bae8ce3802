"""Bounds of the implementation; none of them is part of the protocol. Times are seconds."""

from typing import Final

HELLO_TRIES: Final = 2
"""SYN and SYN ACK segments that carry the option; later ones go without it (spec section 10)."""

RETRANSMISSION_INTERVALS: Final = (0.5, 1.0, 2.0, 4.0)
"""After which INIT1 and INIT2 are sent again; after the last one the sender gives up."""

MAX_HELD: Final = 9_216
"""Bytes of packet: what the kernel has sent before there are keys goes out with them, if it is no longer than a jumbo
frame; else it waits until the kernel sends it again."""

REKEY_INTERVAL: Final = 3600.0
"""After which keys are replaced whatever was sent with them."""

OLD_KEYS_LIFETIME: Final = 60.0
"""How long segments of the generation before are still opened and sent again: half of TCP's 2 MSL."""
