"""Connections as tcnetstat prints them."""

import itertools
import json
import pwd
from collections.abc import Callable, Sequence
from typing import Final

from tcpcryptd.cli.screen import Screen
from tcpcryptd.control.session_record import SessionRecord

Column = tuple[str, Callable[[SessionRecord], str]]
"""Heading and content."""

_UNITS = ("", "k", "M", "G", "T", "P")
_MAX_NUMBER = 10_000
_GAP, _INDENT = "   ", "    "
_STYLES = {"handshake": "33", "encrypted": "32", "closed": "2", "plain": "31"}
"""Of states, and of nothing else that a cell can be: yellow, green, faint, red (SGR)."""


def as_json(records: Sequence[SessionRecord], indent: int | None = 2) -> str:
    """A JSON array with an object for each connection; on one line without `indent`."""
    return json.dumps([record.to_json() for record in records], indent=indent)


def as_table(records: Sequence[SessionRecord], columns: Sequence[Column], screen: Screen | None = None) -> str:
    """Headings and a line for each connection, in columns; several, indented, where they do not fit on the screen."""
    rows = [[heading for heading, _ in columns]]
    rows += ([content(record) for _, content in columns] for record in records)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    groups = [range(len(widths))] if screen is None else _groups(widths, screen.width)
    lines = []
    for row in rows:
        cells = [_painted(cell, screen) + " " * (width - len(cell)) for cell, width in zip(row, widths, strict=True)]
        lines += [_INDENT * bool(group.start) + _GAP.join(cells[at] for at in group).rstrip() for group in groups]
    return "\n".join(lines)


def _painted(cell: str, screen: Screen | None) -> str:
    style = _STYLES.get(cell)
    return cell if screen is None or style is None else screen.paint(cell, style)


def _groups(widths: Sequence[int], room: int) -> list[range]:
    """Which columns stand on one line. One that is too wide for a line has one alone."""
    starts, used = [0], widths[0]
    for at, width in enumerate(widths[1:], 1):
        used += len(_GAP) + width
        if used > room:
            starts.append(at)
            used = len(_INDENT) + width
    return [range(start, end) for start, end in itertools.pairwise([*starts, len(widths)])]


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


def _peer(record: SessionRecord) -> str:
    """Its name, or in parentheses why it has none."""
    if record.peer is None:
        return "-"
    return _or_dash(record.peer.name) if record.peer.name is not None else f"({record.peer.outcome})"


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
    ("Post-quantum", lambda record: _yes(record.post_quantum)),
    ("Aware", lambda record: _yes(record.peer_aware)),
    ("Age", _age),
    ("Sent", lambda record: _bytes(record.bytes_sent)),
    ("Received", lambda record: _bytes(record.bytes_received)),
    ("Owner", _owner),
    ("Peer", _peer),
    ("Peer's key", lambda record: _or_dash(record.peer.fingerprint if record.peer is not None else None)),
)
