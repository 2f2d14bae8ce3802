"""Plaintext on its way to the local kernel."""

from typing import NamedTuple

from tcpcryptd.eno.stream.frame import Buffer, OpenedFrame


class Delivery(NamedTuple):
    """Plaintext for the local kernel, small enough for one packet."""

    start: int
    """The plain offset of the first byte."""
    data: Buffer
    fin: bool
    """Whether the stream ends behind it."""
    urgent: int | None
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
