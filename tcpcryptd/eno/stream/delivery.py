"""Plaintext on its way to the local kernel."""

from tcpcryptd.eno.stream.frame import Buffer, OpenedFrame


class Delivery:
    """Plaintext for the local kernel, small enough for one packet."""

    __slots__ = ("data", "fin", "start", "urgent")

    def __init__(self, start: int, data: Buffer, fin: bool, urgent: int | None) -> None:
        self.start = start
        """The plain offset of the first byte."""
        self.data = data
        self.fin = fin
        """Whether the stream ends behind it."""
        self.urgent = urgent
        """The plain offset of the last urgent byte, which can be beyond the data."""


def cut(frames: list[OpenedFrame], start: int, limit: int) -> list[Delivery]:
    """The data of successive frames in pieces of at most `limit` bytes; an urgent frame begins a piece.

    `start` is the plain offset of the first byte.
    """
    deliveries: list[Delivery] = []
    parts: list[Buffer] = []
    size = 0
    urgent: int | None = None

    def close() -> None:
        nonlocal start, size
        if parts:
            data = parts[0] if len(parts) == 1 else b"".join(parts)
            ahead = urgent if urgent is not None and urgent >= start else None
            deliveries.append(Delivery(start, data, False, ahead))
            start += size
            parts.clear()
            size = 0

    for frame in frames:
        if frame.urgent is not None:
            close()
            urgent = start + frame.urgent
        elif size + len(frame.data) > limit:
            close()
        for at in range(0, len(frame.data), limit):
            part = frame.data[at : at + limit]
            if size + len(part) > limit:
                close()
            parts.append(part)
            size += len(part)
    close()
    return deliveries
