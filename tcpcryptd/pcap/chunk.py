"""Pieces of payload and what they are."""

import enum
from dataclasses import dataclass


class Kind(enum.StrEnum):
    """The kind of some bytes of a connection."""

    HANDSHAKE = "handshake"
    CIPHERTEXT = "ciphertext"
    PLAIN = "plain"
    UNKNOWN = "unknown"
    """The capture lacks the connection's beginning."""
    DECIPHERED = "deciphered"
    """Ciphertext that the key log opened, authentic."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some bytes of one direction of a connection."""

    connection: int
    """The connection's number in the list, from 1."""
    from_opener: bool
    kind: Kind
    offset: int
    """Of the first byte, from 0, in the TCP stream; of deciphered frames, in the data of the frames."""
    data: bytes
    packet: int
    """The packet that completed it, as tshark counts."""
    time: float
    """Seconds since the capture's first packet."""
