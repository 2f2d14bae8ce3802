"""Objects that are made ahead of need."""

from typing import Protocol


class Stock(Protocol):
    """Objects that take longer to make than a packet should wait; bounded."""

    made_on_demand: int
    """The number of objects that were not ready when they were needed."""

    def is_short(self) -> bool:
        """Whether `refill` would make one. Cheap: it is asked in each turn of the event loop."""

    def refill(self) -> None:
        """Makes one, if it is short. To be called when no packet waits."""
