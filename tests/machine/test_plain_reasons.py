"""Why a connection is said to be plain."""

import pytest

from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.event import ConnectionState
from tcpcryptd.core.verdict import ACCEPT_PLAIN, DROP, Direction, Verdict
from tcpcryptd.wire.segment import ACK, PSH, SYN, Segment, locate, make, reverse_key
from tests.machine.world import ENO, MODERN, Suite, make_engine

SUITES = pytest.mark.parametrize("suite", [MODERN, ENO], ids=["crypt", "eno"])
OURS, THEIRS = Endpoint("192.0.2.1", 40_000), Endpoint("192.0.2.2", 80)
KEY = bytes((192, 0, 2, 1, 192, 0, 2, 2)) + (40_000).to_bytes(2, "big") + (80).to_bytes(2, "big")
ISN, THEIR_ISN = 1000, 2000
UNSEEN = "the answer to its SYN did not pass tcpcryptd"


@SUITES
def test_our_connection_whose_answers_come_by_another_way(suite: Suite) -> None:
    """As with TPROXY, SYNPROXY, or addresses that this host translates."""
    engine = make_engine("a", suite)
    engine.handle_packet(make(KEY, sequence=ISN, acknowledgment=0, flags=SYN, window=1000), Direction.OUT, 0.0)
    ack = make(KEY, sequence=ISN + 1, acknowledgment=THEIR_ISN + 1, flags=ACK, window=1000)
    engine.handle_packet(ack, Direction.OUT, 0.1)
    info = engine.connection(OURS, THEIRS)
    assert info is not None
    assert (info.state, info.reason) == (ConnectionState.PLAIN, UNSEEN)


@SUITES
@pytest.mark.parametrize(
    ("acknowledged", "reason"), [(THEIR_ISN + 1, UNSEEN), (555_555, "the connection is older than the SYN")]
)
def test_a_connection_of_the_peers_without_our_answer(suite: Suite, acknowledged: int, reason: str) -> None:
    peer, engine = make_engine("peer", suite), make_engine("a", suite)
    bare = make(reverse_key(KEY), sequence=THEIR_ISN, acknowledgment=0, flags=SYN, window=1000)
    syn = peer.handle_packet(bare, Direction.OUT, 0.0)[1]
    assert syn is not None
    assert Segment(syn, locate(syn)[0]).options
    engine.handle_packet(syn, Direction.IN, 0.0)
    engine.handle_packet(
        make(KEY, sequence=ISN + 1, acknowledgment=acknowledged, flags=ACK | PSH, window=1000), Direction.OUT, 0.1
    )
    info = engine.connection(OURS, THEIRS)
    assert info is not None
    assert (info.state, info.reason) == (ConnectionState.PLAIN, reason)


@SUITES
@pytest.mark.parametrize("data", [b"", b"GET /"])
def test_a_connection_of_the_peers_that_is_redirected_behind_us(suite: Suite, data: bytes) -> None:
    """Our kernel's answer has another port here: what shows it is the peer's first segment."""
    peer, engine = make_engine("peer", suite), make_engine("a", suite)
    bare = make(reverse_key(KEY), sequence=THEIR_ISN, acknowledgment=0, flags=SYN, window=1000)
    syn = peer.handle_packet(bare, Direction.OUT, 0.0)[1]
    assert syn is not None
    engine.handle_packet(syn, Direction.IN, 0.0)

    def arrive(sequence: int, now: float = 0.1) -> Verdict:
        flags = ACK | PSH if data else ACK
        segment = make(
            reverse_key(KEY), sequence=sequence, acknowledgment=ISN + 1, flags=flags, window=1000, payload=data
        )
        return engine.handle_packet(segment, Direction.IN, now)

    # With the SYN came what anybody on the way can send: the kernel has not answered yet.
    assert arrive(THEIR_ISN + 1, 0.0) == DROP
    assert arrive(THEIR_ISN + 2) == DROP
    assert arrive(THEIR_ISN + 1) == ACCEPT_PLAIN
    info = engine.connection(OURS, THEIRS)
    assert info is not None
    assert (info.state, info.reason) == (ConnectionState.PLAIN, UNSEEN)
