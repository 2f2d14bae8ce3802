"""Lines out of a byte stream, bounded."""

from tcpcryptd.control.codec import MAX_LINE
from tcpcryptd.control.errors import MessageTooLong


class LineBuffer:
    """Collects what a socket gives and hands it out line by line."""

    __slots__ = ("_data", "_searched")

    def __init__(self) -> None:
        self._data = bytearray()
        self._searched = 0

    def feed(self, data: bytes) -> None:
        """Adds bytes from the socket."""
        self._data += data

    def next_line(self) -> bytes | None:
        """The next line without its newline, None when it is not complete.

        Raises MessageTooLong when it is longer than MAX_LINE; nothing more can be read then.
        """
        end = self._data.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._data)
            if len(self._data) >= MAX_LINE:
                raise MessageTooLong(f"a message is longer than {MAX_LINE} bytes")
            return None
        if end >= MAX_LINE:
            raise MessageTooLong(f"a message is longer than {MAX_LINE} bytes")
        line = bytes(self._data[:end])
        del self._data[: end + 1]
        self._searched = 0
        return line

    def has_line(self) -> bool:
        """Whether `next_line` has a line."""
        return len(self._data) >= MAX_LINE or self._data.find(b"\n", self._searched) >= 0
