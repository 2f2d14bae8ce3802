"""Bounds of the implementation; none of them is part of the protocol. Times are seconds."""

HELLO_TRIES = 2
"""SYN and SYN ACK segments that carry the option; later ones go without it (spec section 10)."""

RETRANSMISSION_INTERVALS = (0.5, 1.0, 2.0, 4.0)
"""After which INIT1 and INIT2 are sent again; after the last one the sender gives up."""
