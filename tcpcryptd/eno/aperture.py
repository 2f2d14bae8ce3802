"""Keeps the local kernel from making packets that are larger than a queue carries (BIG TCP).

A kernel makes no packet that the peer's window has no room for. So it is shown a window that ends one packet behind
what it has sent, and more with each acknowledgment. Then little more than a packet is in flight, which is enough where
the round trip is short. Where it is not, the window is left alone, and such packets are handled segment by segment.
"""

from typing import Final

from tcpcryptd.wire.syn import LOCAL_MAX_MSS

ROOM: Final = 2 * LOCAL_MAX_MSS
"""Bytes of payload that fit a packet, with room for what is added."""
LONGEST: Final = 0.001
"""Seconds: with a longer round trip, segments of 1,500 bytes are as fast as one packet for each round trip."""
SAMPLES: Final = 16
"""Round trips of which none was shorter, before the window is left alone."""


class Aperture:
    """What one local kernel is shown of its peer's window."""

    __slots__ = ("_fastest", "_highest", "_is_wide", "_samples", "_scale", "_sent", "_sent_at")

    def __init__(self, scale: int) -> None:
        """`scale`: of the window field."""
        self._scale = scale
        self._is_wide = False
        self._fastest = float("inf")
        self._samples = 0
        self._highest = 0
        self._sent = -1
        self._sent_at = 0.0

    def sent(self, end: int, now: float) -> None:
        """Bytes up to this wire offset were sent, if not before."""
        if end > self._highest:
            self._highest = end
            if self._sent < 0:
                self._sent, self._sent_at = end, now

    def narrowed(self, window: int, room: int, acknowledged: int, now: float) -> int:
        """The window to show, like `window` scaled.

        `room`: from what the peer has acknowledged to what was sent, in plain bytes; `acknowledged`: wire offset.
        """
        if 0 <= self._sent <= acknowledged:
            self._fastest = min(self._fastest, now - self._sent_at)
            self._sent = -1
            self._samples += 1
            self._is_wide = self._samples >= SAMPLES and self._fastest > LONGEST
        return window if self._is_wide else min(window, room + ROOM >> self._scale)
