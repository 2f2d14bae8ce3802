"""Hosts as `tcnetstat --peers` prints them."""

from collections.abc import Sequence
from typing import Final

from tcpcryptd.cli.table import Column, duration, or_dash, peer_name
from tcpcryptd.records.host_info import HostInfo

HOST_COLUMNS: Final[Sequence[Column[HostInfo]]] = (
    ("Peer", lambda record: peer_name(record.peer)),
    ("Address", lambda record: record.address),
    ("Peer's key", lambda record: or_dash(record.peer.key)),
    ("Last seen", lambda record: duration(record.last_seen)),
    ("Connections", lambda record: str(record.connections)),
)
LONG_HOST_COLUMNS: Final[Sequence[Column[HostInfo]]] = (("Reason", lambda record: or_dash(record.peer.reason)),)
