"""Keeps the local kernel from making packets that are larger than a queue carries (BIG TCP).

A kernel makes no packet that the peer's window has no room for. So it is shown a window that ends one packet behind
what it has sent, and more with each acknowledgment, and when it has sent that, up to two packets in flight. That is
enough where the round trip is short. Where it is not, the window is left alone, and such packets come in segments.
"""

from typing import Final

from tcpcryptd.wire.syn import LOCAL_MAX_MSS

ROOM: Final = 2 * LOCAL_MAX_MSS
"""Bytes of payload that fit a packet, with room for what is added."""
IN_FLIGHT: Final = 2 * ROOM
"""Bytes: Linux waits for a larger window with more than twice of what the window leaves (tcp_tso_win_divisor)."""
LONGEST: Final = 0.002
"""Seconds: with a longer round trip, segments of 1,500 bytes are as fast as two packets for each round trip."""
SAMPLES: Final = 16
"""Round trips of which none was shorter, before the window is left alone."""


class Aperture:
    """What one local kernel is shown of its peer's window; windows are scaled, numbers plain offsets."""

    __slots__ = (
        "_fastest",
        "_highest",
        "_is_wide",
        "_samples",
        "_scale",
        "_sent",
        "_sent_at",
        "_shown",
        "_window",
        "acknowledged",
    )

    def __init__(self, scale: int) -> None:
        """`scale`: of the window field."""
        self.acknowledged = 0
        """By the peer."""
        self._scale = scale
        self._window = 0
        self._shown = 0
        """Where the window ends that was shown last."""
        self._is_wide = False
        self._fastest = float("inf")
        self._samples = 0
        self._highest = 0
        self._sent = -1
        self._sent_at = 0.0

    def shown(self, window: int, acknowledged: int, end: int, now: float) -> int:
        """What to show of the window that comes with an acknowledgment; `end`: of what was sent."""
        if 0 <= self._sent <= acknowledged:
            self._fastest = min(self._fastest, now - self._sent_at)
            self._sent = -1
            self._samples += 1
            self._is_wide = self._samples >= SAMPLES and self._fastest > LONGEST
        self.acknowledged, self._window = acknowledged, window
        shown = self._narrowed(end)
        self._shown = acknowledged + (shown << self._scale)
        return shown

    def sent(self, end: int, now: float) -> int | None:
        """The window to show at once, when everything up to `end` was sent; None: the kernel has enough."""
        if end <= self._highest:
            # It was sent before, and what is acknowledged next says nothing of the round trip.
            return None
        self._highest = end
        if self._sent < 0:
            self._sent, self._sent_at = end, now
        if end + ROOM // 2 <= self._shown or end - self.acknowledged >= IN_FLIGHT:
            return None
        shown = self._narrowed(end)
        edge = self.acknowledged + (shown << self._scale)
        if edge <= self._shown:
            return None
        self._shown = edge
        return shown

    def _narrowed(self, end: int) -> int:
        return self._window if self._is_wide else min(self._window, end - self.acknowledged + ROOM >> self._scale)
