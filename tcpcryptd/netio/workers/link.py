"""What the daemon has of one worker: the channel, and the requests that were not answered yet."""

import enum
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.netio.workers.channel import Channel, Closed, Json

DEADLINE = 1.0
"""Seconds that an answer may take. Nobody waits for a worker that is beyond it, until it has caught up."""
OPEN_DEADLINE = 60.0
"""The same for a new worker, which makes keys first."""


class Unanswered(enum.Enum):
    """What stands in the place of an answer."""

    UNANSWERED = enum.auto()
    """There was none in time, the request failed, or there is no such worker at the moment."""


UNANSWERED: Final = Unanswered.UNANSWERED
Answer = Json | Unanswered

_log = logging.getLogger(__name__)


class WorkerLink:
    """Requests are answered in the order in which they were posted."""

    def __init__(self, index: int, channel: Channel) -> None:
        self.index = index
        self.channel = channel
        self.is_open = False
        """Its queues are bound."""
        self.is_closed = False
        """The worker has ended, or is about to."""
        self.counters: dict[str, int] = {}
        """As last heard of."""
        self.options_to_tell: dict[Endpoint, None] = {}
        """Local ends whose options it does not know yet, in order."""
        self.is_telling = False
        """It is being told of one of them, or opens its queues afterwards."""
        self._requests: dict[int, tuple[float, Callable[[Answer], None]]] = {}
        self._last = 0
        self._warned = False

    def post(self, name: str, arguments: Sequence[Json], now: float, on_answer: Callable[[Answer], None]) -> bool:
        """Asks; False when the worker has not read for long, and cannot take it. Raises Closed when it is gone."""
        if self.is_closed:
            raise Closed
        self._last += 1
        if not self.channel.send([self._last, name, *arguments]):
            return False
        self._requests[self._last] = now, on_answer
        return True

    def read(self) -> Iterator[Json]:
        """Reads messages: passes answers on to whoever asked, and returns messages that answer nothing."""
        try:
            while (message := self.channel.receive()) is not None:
                number, succeeded, value = message
                if number == 0:
                    yield value
                    continue
                _, on_answer = self._requests.get(number, (0.0, lambda _: None))
                # Those before it that have no answer will not get one.
                self._requests = {each: request for each, request in self._requests.items() if each > number}
                on_answer(value if succeeded else UNANSWERED)
        except Closed:
            self.is_closed = True

    def is_late(self, now: float) -> bool:
        """Whether it owes an answer for too long."""
        late = self.silent_for(now) > (DEADLINE if self.is_open else OPEN_DEADLINE)
        if late and not self._warned:
            _log.warning("worker %d does not answer", self.index)
        elif self._warned and not late:
            _log.warning("worker %d answers again", self.index)
        self._warned = late
        return late

    def silent_for(self, now: float) -> float:
        """Seconds since the oldest request that was not answered."""
        asked = next(iter(self._requests.values()), None)
        return now - asked[0] if asked is not None else 0.0

    def is_able(self, now: float) -> bool:
        """Whether it makes sense to wait for its answer."""
        return self.is_open and not self.is_closed and not self.is_late(now)
