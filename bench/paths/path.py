"""What a path does to packets, and the paths that are tried."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Path:
    """One cell of the table. The rate is that of the sender's direction; acknowledgments go the other way."""

    name: str
    round_trip: float = 0.05
    """Seconds without any queue, half in each direction."""
    rate: float = 10.0
    """Mbit/s of IP packets."""
    return_rate: float = 0.0
    """The same for the other direction; 0: as `rate`."""
    queue: float = 0.1
    """Seconds for which a packet waits at most; later ones are dropped at the tail."""
    loss: float = 0.0
    """The probability for each packet, in the sender's direction alone; so are the next three."""
    duplication: float = 0.0
    corruption: float = 0.0
    reordering: float = 0.0
    """The probability that a packet comes `round_trip` / 4 later than its turn."""
    jitter: float = 0.0
    """Seconds by which a packet is late at most; the order stays."""
    outage: tuple[float, float] = (0.0, 0.0)
    """From and until when nothing passes in either direction, in seconds from the start of the transfer."""
    seconds: float = 0.0
    """How long the transfer takes; 0: as long as the others."""


_LOSSY_SECONDS = 60.0
"""In a few seconds CUBIC meets so few losses that its rate varies by a fifth from run to run."""


def _lossy() -> list[Path]:
    return [
        Path(
            f"{round_trip} ms, loss {loss} %",
            round_trip=round_trip / 1000,
            loss=loss / 100,
            seconds=_LOSSY_SECONDS if loss >= 1 else 0,
        )
        for round_trip in (20, 50, 150)
        for loss in (0, 0.1, 1, 3)
    ]


PATHS = (
    *_lossy(),
    Path("5 Mbit/s", rate=5),
    Path("20 Mbit/s", rate=20),
    Path("queue of 20 ms", queue=0.02),
    Path("queue of 500 ms", queue=0.5),
    Path("20 Mbit/s there, 1 back", rate=20, return_rate=1),
    Path("reordering 1 %", reordering=0.01),
    Path("jitter 20 ms", jitter=0.02),
    Path("duplication 2 %", duplication=0.02),
    Path("corruption 0.5 %", corruption=0.005),
    Path("outage of 30 s", outage=(5, 35), seconds=60),
)
