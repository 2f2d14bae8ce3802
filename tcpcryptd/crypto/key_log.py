"""The lines of a key log: what opens the recording of one connection (docs/keylog.md)."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Self

CRYPT: Final = "crypt"
ENO: Final = "eno"
HEADER: Final = "# tcpcryptd key log 1: whoever has these lines can read the connections"
MAX_LINE_LENGTH: Final = 512
"""Characters, a limit of ours; a line that is written has at most 211."""

_MAX_NUMBER: Final = 0xFFFFFFFF
_SHAPES: Final = {CRYPT: (("client", "server"), 20, 4, 20), ENO: (("a", "b"), 33, 2, 32)}
"""For each protocol: the opener's roles, bytes of session ID, of suite and of master key."""
_NUMBER: Final = re.compile("[0-9]{1,10}", re.ASCII)
_BYTES: Final = re.compile("([0-9a-f]{2})+", re.ASCII)


class KeyLogError(ValueError):
    """A line that is not one of a key log; the message has nothing of the line."""


@dataclass(frozen=True, slots=True)
class KeyLogEntry:
    """The master key of one generation of a connection; it opens that generation and those after it."""

    protocol: str
    """CRYPT or ENO."""
    opener_isn: int
    """The sequence number of the SYN, and in `answerer_isn` that of the SYN ACK: they name the connection."""
    answerer_isn: int
    generation: int
    """0 for the first keys. One byte with CRYPT, where it wraps (docs/crypt-option.md section 9)."""
    session_id: bytes
    """20 bytes with CRYPT, 33 with ENO."""
    suite: bytes
    """The symmetric spec, 4 bytes (docs/crypt-option.md section 2), or sym_cipher, 2 bytes (RFC 8548 section 3.3)."""
    opener_role: str
    """What seals the opener's segments: the keys of the "client" or "server", or of "a" (k_ab) or "b" (k_ba)."""
    master: bytes = field(repr=False)
    """mk: 20 bytes (docs/crypt-option.md section 4), or 32 (RFC 8548 section 3.3)."""

    def line(self) -> str:
        """The entry as it is written, without the line's end."""
        numbers = (self.opener_isn, self.answerer_isn, self.generation)
        values = (self.session_id.hex(), self.suite.hex(), self.opener_role, self.master.hex())
        return " ".join((self.protocol, *map(str, numbers), *values))

    def swapped(self) -> "KeyLogEntry":
        """The same, seen from the other end of a connection that both have opened."""
        first, second = _SHAPES[self.protocol][0]
        role = second if self.opener_role == first else first
        return replace(self, opener_isn=self.answerer_isn, answerer_isn=self.opener_isn, opener_role=role)

    @classmethod
    def parse(cls, line: str) -> Self | None:
        """The entry of a line, None for an empty one or a comment; raises KeyLogError."""
        if len(line) > MAX_LINE_LENGTH:
            raise KeyLogError("line too long")
        words = line.split()
        if not words or words[0].startswith("#"):
            return None
        if len(words) != 8 or words[0] not in _SHAPES:
            raise KeyLogError("not eight words of a protocol's keys")
        protocol, *numbers, session_id, suite, role, master = words
        roles, *sizes = _SHAPES[protocol]
        if not all(_NUMBER.fullmatch(each) and int(each) <= _MAX_NUMBER for each in numbers):
            raise KeyLogError("expected sequence numbers and a generation")
        values = (session_id, suite, master)
        if not all(_BYTES.fullmatch(each) and len(each) == 2 * size for each, size in zip(values, sizes, strict=True)):
            raise KeyLogError(f"expected {', '.join(map(str, sizes))} bytes in hexadecimal")
        if role not in roles:
            raise KeyLogError("not a role")
        opener_isn, answerer_isn, generation = map(int, numbers)
        return cls(
            protocol,
            opener_isn,
            answerer_isn,
            generation,
            bytes.fromhex(session_id),
            bytes.fromhex(suite),
            role,
            bytes.fromhex(master),
        )


KeyLog = Callable[[KeyLogEntry], None]
"""Takes the keys of each generation when they are made."""
