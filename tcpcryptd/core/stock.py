"""What is made ahead of need."""

from typing import Protocol


class Stock(Protocol):
    """Things that take longer to make than a packet should wait; bounded."""

    def is_short(self) -> bool:
        """Whether `refill` would make one. Cheap: it is asked in each turn of the event loop."""

    def refill(self) -> None:
        """Makes one, if it is short. To be called when no packet waits."""
