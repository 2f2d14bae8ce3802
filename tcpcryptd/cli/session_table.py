"""Connections as tcnetstat prints them."""

import json
import pwd
from collections.abc import Callable, Sequence
from typing import Final

from tcpcryptd.control.session_record import SessionRecord

Column = tuple[str, Callable[[SessionRecord], str]]
"""Heading and content."""

_UNITS = ("", "k", "M", "G", "T", "P")
_MAX_NUMBER = 10_000


def as_json(records: Sequence[SessionRecord], indent: int | None = 2) -> str:
    """A JSON array with an object for each connection; on one line without `indent`."""
    return json.dumps([record.to_json() for record in records], indent=indent)


def as_table(records: Sequence[SessionRecord], columns: Sequence[Column]) -> str:
    """Headings and a line for each connection, in columns."""
    rows = [[heading for heading, _ in columns]]
    rows += ([content(record) for _, content in columns] for record in records)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _or_dash(text: str | None) -> str:
    return "-" if text is None else "".join(character if character.isprintable() else "?" for character in text)


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"


def _age(record: SessionRecord) -> str:
    seconds = int(record.age)
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    if days:
        return f"{days}d{hours % 24}h"
    if hours:
        return f"{hours}h{minutes % 60}m"
    return f"{minutes}m{seconds % 60}s" if minutes else f"{seconds}s"


def _bytes(count: int) -> str:
    """At most four digits, cut off, and a unit in powers of 1000."""
    power = 0
    while count >= _MAX_NUMBER and power < len(_UNITS) - 1:
        count //= 1000
        power += 1
    return f"{count}{_UNITS[power]}"


def _owner(record: SessionRecord) -> str:
    if record.owner is None:
        return "-"
    try:
        return pwd.getpwuid(record.owner).pw_name
    except (KeyError, OverflowError):
        return str(record.owner)


SESSION_COLUMNS: Final[Sequence[Column]] = (
    ("Local address", lambda record: str(record.local)),
    ("Foreign address", lambda record: str(record.remote)),
    ("SessID", lambda record: record.session_id.hex() if record.session_id is not None else "-"),
)
"""Those of the original tcnetstat."""
STATE_COLUMNS: Final[Sequence[Column]] = (
    ("State", lambda record: record.state),
    ("Reason", lambda record: _or_dash(record.reason)),
)
LONG_COLUMNS: Final[Sequence[Column]] = (
    ("Suite", lambda record: _or_dash(record.suite)),
    ("Role", lambda record: _or_dash(record.role)),
    ("Resumed", lambda record: _yes(record.resumed)),
    ("Aware", lambda record: _yes(record.peer_aware)),
    ("Age", _age),
    ("Sent", lambda record: _bytes(record.bytes_sent)),
    ("Received", lambda record: _bytes(record.bytes_received)),
    ("Owner", _owner),
)
