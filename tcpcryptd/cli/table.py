"""Tables of the control protocol's records, as people and programs get them."""

import itertools
import json
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from tcpcryptd.cli.screen import Screen
from tcpcryptd.records.connection_info import PeerInfo


class _Record(Protocol):
    def to_message(self) -> dict[str, object]: ...


_Any = TypeVar("_Any")
Column = tuple[str, Callable[[_Any], str]]
"""Heading and content."""

_GAP, _INDENT = "   ", "    "
_STYLES = {"handshake": "33", "encrypted": "32", "closed": "2", "plain": "31"}
"""Of states, and of nothing else that a cell can be: yellow, green, faint, red (SGR)."""


def as_json(records: Sequence[_Record], indent: int | None = 2) -> str:
    """A JSON array with an object for each; on one line without `indent`."""
    return json.dumps([record.to_message() for record in records], indent=indent)


def as_table(records: Sequence[_Any], columns: Sequence[Column[_Any]], screen: Screen | None = None) -> str:
    """Headings and a line for each record, in columns; several, indented, where they do not fit on the screen."""
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


def or_dash(text: str | None) -> str:
    """A text that is safe to show, whatever its source."""
    return "-" if text is None else "".join(character if character.isprintable() else "?" for character in text)


def duration(length: float) -> str:
    """Seconds, in one unit or two."""
    seconds = int(length)
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    if days:
        return f"{days}d{hours % 24}h"
    if hours:
        return f"{hours}h{minutes % 60}m"
    return f"{minutes}m{seconds % 60}s" if minutes else f"{seconds}s"


def peer_name(peer: PeerInfo | None) -> str:
    """Its name, or in parentheses why it has none."""
    if peer is None:
        return "-"
    return or_dash(peer.name) if peer.name is not None else f"({peer.outcome})"
