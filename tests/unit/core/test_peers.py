"""What is remembered of hosts, and what somebody who forges answers can do with it."""

from tcpcryptd.core.peers import PeerMemory

A, B = b"\x0a\0\0\x01", b"\x0a\0\0\x02"
AUTO = ("eno", "crypt")
LIFETIME, TRUST = 600.0, 86_400.0


def memory(limit: int = 10) -> PeerMemory:
    return PeerMemory(limit, LIFETIME, TRUST)


def test_the_next_protocol_is_offered_and_then_none() -> None:
    peers = memory()
    assert peers.choose(A, AUTO, 0.0) == "eno"
    peers.declined(A, "eno", 0.0)
    assert peers.choose(A, AUTO, 1.0) == "crypt"
    assert peers.choose(B, AUTO, 1.0) == "eno"
    peers.declined(A, "crypt", 100.0)
    assert peers.choose(A, AUTO, 101.0) is None


def test_each_answer_has_its_own_time() -> None:
    peers = memory()
    peers.declined(A, "eno", 0.0)
    peers.declined(A, "crypt", 100.0)
    assert peers.choose(A, AUTO, LIFETIME - 1) is None
    assert peers.choose(A, AUTO, LIFETIME) == "eno"
    peers.declined(A, "eno", LIFETIME)
    assert peers.choose(A, AUTO, LIFETIME + 99) is None
    assert peers.choose(A, AUTO, LIFETIME + 100) == "crypt"


def test_the_only_protocol_is_always_offered() -> None:
    """Nothing is won by not offering it, and a forger could turn encryption off for as long as it is remembered."""
    peers = memory()
    peers.declined(A, "eno", 0.0)
    assert peers.choose(A, ("eno",), 1.0) == "eno"
    assert peers.choose(A, (), 1.0) is None


def test_a_host_that_has_answered_is_offered_it_again() -> None:
    """A forger gets one connection plain, not those that follow."""
    peers = memory()
    peers.answered(A, "eno", 0.0)
    for now in range(10):
        peers.declined(A, "eno", float(now))
        assert peers.choose(A, AUTO, now + 0.5) == "eno"
    peers.declined(A, "eno", TRUST - 1)
    assert peers.choose(A, AUTO, TRUST - 1) == "eno"
    assert peers.choose(A, AUTO, TRUST) == "crypt"


def test_an_answer_takes_back_what_was_declined() -> None:
    peers = memory()
    peers.declined(A, "eno", 0.0)
    peers.answered(A, "eno", 1.0)
    assert peers.choose(A, AUTO, 2.0) == "eno"


def test_what_a_host_offers_it_speaks() -> None:
    peers = memory()
    peers.declined(A, "eno", 0.0)
    peers.offered(A, "eno")
    assert peers.choose(A, AUTO, 1.0) == "eno"


def test_memory_is_bounded_and_the_least_recent_goes() -> None:
    peers = memory(limit=3)
    for number in range(100):
        peers.declined(bytes((10, 0, 1, number)), "eno", float(number))
        assert len(peers) <= 3
    assert peers.choose(bytes((10, 0, 1, 96)), AUTO, 100.0) == "eno"
    assert peers.choose(bytes((10, 0, 1, 97)), AUTO, 100.0) == "crypt"


def test_those_who_open_connections_push_nobody_out() -> None:
    peers = memory(limit=3)
    peers.answered(A, "eno", 0.0)
    for number in range(100):
        peers.offered(bytes((10, 0, 1, number)), "eno")
    assert len(peers) == 1
    peers.declined(A, "eno", 1.0)
    assert peers.choose(A, AUTO, 2.0) == "eno"
