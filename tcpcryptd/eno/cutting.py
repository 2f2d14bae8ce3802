"""Whether packets are cut here: then their segments leave by raw sockets, and not as packets of their connection's."""

from collections.abc import Callable


class Cutting:
    """One for all connections of an engine."""

    def __init__(self, is_harmless: Callable[[], bool] = lambda: True) -> None:
        """`is_harmless`: whether it makes no difference to the rest of the host now."""
        self._is_harmless = is_harmless
        self._is_refused = False

    def __call__(self) -> bool:
        """Whether a packet may be cut now."""
        return not self._is_refused and self._is_harmless()

    def refuse(self) -> None:
        """This host lets no such segments out, by rules that look at their socket."""
        self._is_refused = True
