"""Bounds of the implementation; none of them is part of the protocol. Times are seconds."""

from typing import Final

HELLO_TRIES: Final = 2
"""SYN and SYN ACK segments that carry the option; later ones go without it (docs/crypt-option.md section 10)."""

RETRANSMISSION_INTERVALS: Final[tuple[float, ...]] = (0.5, 1.0, 2.0, 4.0)
"""After which INIT1 and INIT2 are sent again; after the last one the sender gives up."""

LARGE_TRIES: Final = 2
"""How often an INIT1 that nearly fills a packet is sent; perhaps it does not fit through, and a smaller one follows."""

SHORT_INTERVALS: Final[tuple[float, ...]] = (0.3, 0.6, 6.6)
"""The same if the peer may be an original: 1.1 s after its first answer it takes retransmissions for data."""

CONFIRMATION_DELAYS: Final = (0.02, 0.5, 2.0)
"""After which a host that has answered a resumption shows with an ACK who it is, if its kernel has sent nothing."""

INIT2_GRACE: Final = 0.5
"""How long INIT2 may come after a sealed segment that has overtaken it."""

REKEY_INTERVAL: Final = 3600.0
"""After which keys are replaced whatever was sent with them."""

OLD_KEYS_LIFETIME: Final = 60.0
"""How long segments of the generation before are still opened and sent again: half of TCP's 2 MSL."""

DRAIN_PATIENCE: Final = 0.5
"""How long a change of keys waits for a peer that goes on sending to fill its window, before that is closed."""
QUIET_TIME: Final = 0.2
"""After which a peer that has sent nothing new is taken to have nothing in flight, at least."""
REKEY_REPEATED_AFTER: Final = 0.2
"""When REKEY was lost on a segment that no kernel sends again; the least that kernels wait before they do."""
