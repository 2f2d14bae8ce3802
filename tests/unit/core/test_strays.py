"""Segments of connections that the engine does not know."""

import pytest

from tcpcryptd.core.config import EngineConfig
from tcpcryptd.core.engine import Engine
from tcpcryptd.core.verdict import ACCEPT, ACCEPT_PLAIN, Direction, Verdict
from tcpcryptd.crypt import CryptConfig, CryptFactory
from tcpcryptd.wire.segment import ACK, FIN, RST, SYN, make

KEY = bytes((192, 0, 2, 1, 192, 0, 2, 2)) + (40000).to_bytes(2, "big") + (80).to_bytes(2, "big")


@pytest.mark.parametrize(
    ("direction", "flags", "verdict"),
    [
        # Anybody may have sent it: it must not decide about a connection that is opened later.
        (Direction.IN, ACK, ACCEPT),
        (Direction.IN, ACK | FIN, ACCEPT),
        (Direction.IN, SYN | ACK, ACCEPT),
        (Direction.IN, RST, ACCEPT),
        # The local kernel's answer to such a segment.
        (Direction.OUT, RST, ACCEPT),
        (Direction.OUT, RST | ACK, ACCEPT),
        # Its part in a connection from before the start.
        (Direction.OUT, ACK, ACCEPT_PLAIN),
        (Direction.OUT, ACK | FIN, ACCEPT_PLAIN),
    ],
)
def test_what_makes_a_connection_plain(direction: Direction, flags: int, verdict: Verdict) -> None:
    engine = Engine(EngineConfig(), [CryptFactory(CryptConfig())])
    segment = make(KEY, sequence=1, acknowledgment=2, flags=flags, window=100)
    assert engine.handle_packet(segment, direction, 1.0) == verdict
    assert engine.counters()["connections"] == 0
