"""Bounds of the implementation; none of them is part of a protocol. Times are seconds."""

from typing import Final

from tcpcryptd.core.black_holes import Times
from tcpcryptd.core.lifecycle import Phase

IDLE: Final = {
    # Longer than the kernel's longest gap between two SYNs (64 s).
    Phase.OPENING: 75.0,
    # The connection tracker's own limit for an established connection (nf_conntrack_tcp_timeout_established).
    Phase.OPEN: 432_000.0,
    # A host that vanished never sends its FIN. No connection across the Internet can rely on more than this
    # without a segment (RFC 5382, section 5: 2 h 4 min).
    Phase.HALF_CLOSED: 7_500.0,
    # TIME_WAIT is 60 s, and a FIN is retransmitted with gaps of up to 120 s.
    Phase.CLOSED: 150.0,
}
"""How long an entry of the flow table lives without an authentic segment."""

MAX_CONNECTIONS: Final = 65_536
"""Entries of the flow table; new connections are plain TCP beyond it."""

MAX_OPENING: Final = 8_192
"""Entries whose handshake is unfinished; the oldest makes room for a new one."""

MAX_CLOSED: Final = 16_384
"""Entries of connections that are over; the oldest is dropped. Each takes some 20 KiB, like an open one."""

MAX_HELD: Final = 9_216
"""Bytes of packet: what the kernel has sent before there are keys goes out with them, if it is no longer than a jumbo
frame; else it waits until the kernel sends it again."""

MAX_TOMBSTONES: Final = 16_384
"""Connections that were reset here, and are remembered."""

MAX_PLAIN_RECORDS: Final = 16_384
"""Plain connections that are remembered, of those that this host opened and of its peers' each so many."""

MAX_REFUSED_RECORDS: Final = 1_024
"""Connections that were refused, and are remembered."""

MAX_HOSTS: Final = 4_096
"""Hosts whose identity was checked, and are remembered."""

MAX_EVENTS: Final = 4_096
MAX_INJECTIONS: Final = 65_536
"""What waits to be collected; beyond it the newest is dropped and counted."""

MAX_PATHS: Final = 4_096
"""Hosts for which the kernel was told a smaller path MTU."""

MAX_READY: Final = 256
"""Open connections that are not in use and whose ciphers are ready all the same; see `core.resting`."""

MAX_SESSIONS: Final = 4_096
SESSION_LIFETIME: Final = 3_600.0
"""Sessions that wait to be resumed."""

MAX_OPTIONS: Final = 4_096
"""Local ends that applications set options for."""

MAX_PEERS: Final = 4_096
PEER_LIFETIME: Final = 600.0
PEER_TRUST: Final = 86_400.0
"""Hosts whose answers to an offer are remembered, and for how long: that they declined, and that they did not."""

BLACK_HOLE_TIMES: Final = Times(first=60.0, trusted=10.0, longest=86_400.0, network=3_600.0, trial=10.0)
MAX_BLACK_HOLES: Final = 4_096
MAX_DARK_NETWORKS: Final = 256
"""Hosts, and local networks, at which SYNs with an option of ours get no answer."""
BLACK_HOLES_IN_A_ROW: Final = 3
"""Hosts, until nothing is offered to any: a new one every few seconds can still be chance."""

MAX_UNREACHABLE: Final = 1_024
UNREACHABLE_LIFETIME: Final = 600.0
"""Hosts to which this one refuses the daemon's packets, and how long they get no offer."""
