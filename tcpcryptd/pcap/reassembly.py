"""Puts the captured segments of one direction in order."""

_MAX_PENDING = 16 << 20
"""Bytes behind a hole; a capture that lost more than can come again later is not followed any further."""


class Reassembly:
    """A stream from offset 0. What comes first counts."""

    def __init__(self) -> None:
        self.start = 0
        """The offset of the first byte of `head`."""
        self.head = bytearray()
        """What is there without a hole and has not been taken."""
        self._pending: dict[int, bytes] = {}
        self._pending_size = 0

    @property
    def end(self) -> int:
        """The offset behind `head`."""
        return self.start + len(self.head)

    @property
    def has_hole(self) -> bool:
        """Something that came later has been captured, or was too much to keep."""
        return bool(self._pending)

    def add(self, offset: int, payload: bytes) -> None:
        """Adds the payload of a segment."""
        if not payload:
            return
        if offset > self.end:
            if offset not in self._pending and self._pending_size + len(payload) <= _MAX_PENDING:
                self._pending[offset] = payload
                self._pending_size += len(payload)
            return
        self.head += payload[self.end - offset :]
        while self._pending and (first := min(self._pending)) <= self.end:
            waiting = self._pending.pop(first)
            self._pending_size -= len(waiting)
            self.head += waiting[self.end - first :]

    def take(self, length: int) -> bytes:
        """The first bytes of `head`, which leave it."""
        taken = bytes(self.head[:length])
        del self.head[:length]
        self.start += length
        return taken
