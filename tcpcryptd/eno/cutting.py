"""Whether packets are cut here: then their segments leave by raw sockets, and not as packets of their connection's."""

from collections.abc import Callable

from tcpcryptd.eno.limits import CUT_BURST, CUTS_PER_SECOND


class Cutting:
    """One for all connections of an engine."""

    def __init__(self, is_harmless: Callable[[], bool] = lambda: True) -> None:
        """`is_harmless`: whether it makes no difference to the rest of the host now."""
        self._is_harmless = is_harmless
        self._is_refused = False
        self._left = float(CUT_BURST)
        """How many packets may be cut at once."""
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Whether a packet may be cut now; it counts as one that is."""
        if self._is_refused or not self._is_harmless():
            return False
        self._left = min(self._left + (now - self._at) * CUTS_PER_SECOND, CUT_BURST)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def refuse(self) -> None:
        """This host lets no such segments out, by rules that look at their socket."""
        self._is_refused = True
