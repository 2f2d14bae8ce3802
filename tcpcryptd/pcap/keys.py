"""A key log, read to open connections."""

from collections.abc import Iterable
from pathlib import Path

from tcpcryptd.crypto.key_log import MAX_LINE_LENGTH, KeyLogEntry, KeyLogError


class KeyBook:
    """The first line of each connection in a key log. The later generations follow from it.

    A host that answered two messages with keys has written two lines for generation 0: the last one counts.
    """

    def __init__(self, lines: Iterable[str] = ()) -> None:
        """Raises KeyLogError with the number of the line that is wrong."""
        self._entries: dict[tuple[str, int, int], KeyLogEntry] = {}
        for number, line in enumerate(lines, 1):
            try:
                entry = KeyLogEntry.parse(line)
            except KeyLogError as error:
                raise KeyLogError(f"line {number}: {error}") from error
            if entry is not None:
                name = (entry.protocol, entry.opener_isn, entry.answerer_isn)
                if entry.generation == 0 or name not in self._entries:
                    self._entries[name] = entry

    @classmethod
    def read(cls, path: Path) -> "KeyBook":
        """The key log in a file; raises KeyLogError and OSError."""
        with path.open(encoding="ascii", errors="replace") as file:
            return cls(iter(lambda: file.readline(MAX_LINE_LENGTH + 1), ""))

    def find(self, protocol: str, opener_isn: int, answerer_isn: int) -> KeyLogEntry | None:
        """What opens the connection whose SYN and SYN ACK had these sequence numbers."""
        return self._entries.get((protocol, opener_isn, answerer_isn))
