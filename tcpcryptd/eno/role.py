"""The two ends of a connection (RFC 8547 section 4.3)."""

import enum


class EnoRole(enum.Enum):
    """One of them; the negotiation decides which one is this host's."""

    A = "A"
    B = "B"
