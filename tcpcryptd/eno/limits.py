"""Bounds of the implementation; none of them is part of the protocol."""

from typing import Final, NamedTuple

from tcpcryptd.wire.syn import MAX_PACKET

FRAME_COST: Final = 256
"""Bytes that a kept frame counts for besides its own: what the record of a frame without data takes."""


class Limits(NamedTuple):
    """Bounds of one direction of one connection; sizes are bytes."""

    unacknowledged: int = 32 << 20
    """Frames that are kept until they are acknowledged; the kernel's send buffers are smaller than that by default."""
    reach: int = 16 << 20
    """How far from the last verified frame a segment may end; so no more bytes than that are held out of order."""
    ranges: int = 256
    """Holes in what is held out of order."""
    segments: int = 16_384
    """Segments that are held, of whatever size."""
    delivery: int = MAX_PACKET - 40 - 60
    """Plaintext handed over in one piece, so that it fits the kernel's message with all TCP options."""
    acknowledged_frames: int = 64
    """Frames whose place is remembered when they are acknowledged, for what the peer says of them later."""
    empty_frames: int = 64
    """Frames without data that are unacknowledged, so that a peer that only rekeys cannot make us keep more."""


DEFAULT_LIMITS: Final = Limits()

MAX_EXPANSION: Final = 21
"""Wire bytes for a byte of plaintext, when each frame has one. Windows are of plaintext."""
WINDOW_SLACK: Final = 65_535
"""Bytes: a frame that is begun lies beyond the window."""
OLDEST_ACKNOWLEDGMENT: Final = 1 << 20
"""Bytes of the stream: how far behind the newest acknowledgment an older one may lie."""

ACK_DELAY: Final = 0.04
"""Seconds after which a part of a frame is acknowledged at the latest, as Linux delays an acknowledgment; a second
segment is not waited for any longer (RFC 1122 section 4.2.3.2: under 0.5)."""

SYN_TRIES: Final = 2
"""SYN segments that carry the option; later ones go without it, and the connection is plain (RFC 8547 section 4.6)."""

INIT_INTERVALS: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds after which Init1 and Init2 are sent again; after the last one the connection is reset."""

INIT1_PATIENCE: Final = 60.0
"""Seconds that host B waits for Init1, longer than host A sends it, before it resets the connection."""

EMPTY_FRAME_INTERVALS: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""The same of frames without data, which no kernel sends again; the last one again and again, since one of them
may be the answer to the peer's keep-alive, which counts nothing else."""

CONFIRMATION_DELAY: Final = 0.02
"""Seconds for which a host that proves who it is waits for data of its own, which shows the peer that it has keys."""

REKEY_INTERVAL: Final = 3600.0
"""Seconds after which keys are replaced whatever was sent with them."""

CUT_TOGETHER: Final = 4
"""Packets that are cut into full segments at one reading of the clock, which a batch of packets shares."""
