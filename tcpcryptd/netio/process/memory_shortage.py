"""Going on when memory runs out: what was being done is lost, as a packet is, and the daemon is not."""

import gc
import logging
import time
from collections.abc import Callable

from tcpcryptd.core.event import lacks_memory

_PAUSE = 0.01
"""Seconds; without it, a lack of memory that lasts would take all of the processor."""
_QUIET_SECONDS = 60.0

_log = logging.getLogger(__name__)


class MemoryShortage:
    """Runs an action and starts it again whenever it ends for lack of memory. `relieve` gives memory back."""

    def __init__(self, relieve: Callable[[], object]) -> None:
        self.count = 0
        self._relieve = relieve
        self._quiet_until = 0.0

    def endure(self, action: Callable[[], None]) -> None:
        """Returns when the action does; raises what it raises for other reasons."""
        while True:
            try:
                action()
            except Exception as error:
                if not lacks_memory(error):
                    raise
                self.count += 1
            else:
                return
            # Outside of the handler, where the traceback no longer keeps what the action held.
            self._recover()

    def counters(self) -> dict[str, int]:
        """How often memory ran out where no packet could be blamed."""
        return {"memory_shortages": self.count}

    def _recover(self) -> None:
        try:
            self._relieve()
            gc.collect()
            now = time.monotonic()
            if now >= self._quiet_until:
                self._quiet_until = now + _QUIET_SECONDS
                _log.error("out of memory: packets are dropped. Further shortages are only counted")
            time.sleep(_PAUSE)
        except Exception as error:
            if not lacks_memory(error):
                raise
            time.sleep(_PAUSE)
