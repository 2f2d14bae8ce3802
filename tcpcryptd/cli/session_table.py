"""Connections as tcnetstat prints them."""

import pwd
from collections.abc import Sequence
from typing import Final

from tcpcryptd.cli.table import Column, duration, or_dash, peer_name
from tcpcryptd.records.connection_info import ConnectionInfo

_UNITS = ("", "k", "M", "G", "T", "P")
_MAX_NUMBER = 10_000


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"


def _bytes(count: int) -> str:
    """At most four digits, cut off, and a unit in powers of 1000."""
    power = 0
    while count >= _MAX_NUMBER and power < len(_UNITS) - 1:
        count //= 1000
        power += 1
    return f"{count}{_UNITS[power]}"


def _owner(record: ConnectionInfo) -> str:
    if record.owner is None:
        return "-"
    try:
        return pwd.getpwuid(record.owner).pw_name
    except (KeyError, OverflowError):
        return str(record.owner)


SESSION_COLUMNS: Final[Sequence[Column[ConnectionInfo]]] = (
    ("Local address", lambda record: str(record.local)),
    ("Foreign address", lambda record: str(record.remote)),
    ("SessID", lambda record: record.session_id.hex() if record.session_id is not None else "-"),
)
"""Those of the original tcnetstat."""
STATE_COLUMNS: Final[Sequence[Column[ConnectionInfo]]] = (
    ("State", lambda record: record.state),
    ("Reason", lambda record: or_dash(record.reason)),
)
LONG_COLUMNS: Final[Sequence[Column[ConnectionInfo]]] = (
    ("Suite", lambda record: or_dash(record.suite)),
    ("Role", lambda record: or_dash(record.role)),
    ("Resumed", lambda record: _yes(record.resumed)),
    ("Post-quantum", lambda record: _yes(record.post_quantum)),
    ("Aware", lambda record: _yes(record.peer_aware)),
    ("Age", lambda record: duration(record.age)),
    ("Sent", lambda record: _bytes(record.bytes_sent)),
    ("Received", lambda record: _bytes(record.bytes_received)),
    ("Owner", _owner),
    ("Peer", lambda record: peer_name(record.peer)),
    ("Peer's key", lambda record: or_dash(record.peer.key if record.peer is not None else None)),
)
