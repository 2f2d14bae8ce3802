"""Whether packets are cut here: then their segments leave by raw sockets, and not as packets of their connection's."""

from collections.abc import Callable

from tcpcryptd.eno.limits import CUT_TOGETHER


class Cutting:
    """One for all connections of an engine."""

    def __init__(self, is_harmless: Callable[[], bool] = lambda: True, together: int = CUT_TOGETHER) -> None:
        """Cut while there is time.

        Args:
            is_harmless: Whether it makes no difference to the rest of the host now.
            together: How many packets at one reading of the clock may be cut. If there were more, those at the next
                reading are not cut either: so many come at once only to an engine that has much to do.
        """
        self._is_harmless = is_harmless
        self._together = together
        self._is_refused = False
        self._now = 0.0
        self._count = 0
        self._was_many = False

    def take(self, now: float) -> bool:
        """Whether a packet of full segments may be cut now."""
        if now != self._now:
            self._was_many = self._count > self._together
            self._now, self._count = now, 0
        self._count += 1
        if self._was_many or self._count > self._together:
            return False
        return not self._is_refused and self._is_harmless()

    def refuse(self) -> None:
        """This host lets no such segments out, by rules that look at their socket."""
        self._is_refused = True
