"""What is remembered of paths that swallow SYNs with the option, and what chance and an attacker can do with it."""

import pytest

from tcpcryptd.core.black_holes import BlackHoles, Times

TIMES = Times(first=60.0, trusted=10.0, longest=86_400.0, network=3_600.0, trial=10.0)
HERE, ELSEWHERE = b"\x0a\0\0\x01", b"\x0a\0\x01\x01"
HOSTS = [bytes((192, 0, 2, number)) for number in range(20)]
A, B = HOSTS[:2]


def memory(hosts: int = 100, networks: int = 10) -> BlackHoles:
    return BlackHoles(TIMES, hosts, networks, row=3)


def withheld(holes: BlackHoles, remote: bytes, now: float, local: bytes = HERE, *, trusted: bool = False) -> bool:
    return holes.withheld(local, remote, now, trusted=trusted) is not None


def strike(holes: BlackHoles, remote: bytes, now: float, *, local: bytes = HERE, trusted: bool = False) -> None:
    """A connection whose third SYN is answered."""
    assert not withheld(holes, remote, now - 3, local)
    holes.swallowed(local, remote, now - 3, now, trusted=trusted)


def offered_at(holes: BlackHoles, remote: bytes, now: float, local: bytes = HERE) -> float:
    """When the next connection is offered something, to a tenth of a second."""
    low, high = now, now + 100_000
    while high - low > 0.05:
        middle = (low + high) / 2
        host, whole = holes._hosts.get(local[:3] + remote), holes._networks.get(local[:3])
        free = all(each is None or middle >= each.until for each in (host, whole))
        low, high = (low, middle) if free else (middle, high)
    return high


def test_the_next_connection_is_offered_nothing_for_a_minute() -> None:
    holes = memory()
    assert not withheld(holes, A, 0.0)
    strike(holes, A, 3.0)
    assert withheld(holes, A, 3.1)
    assert withheld(holes, A, 62.9)
    assert not withheld(holes, B, 3.1)
    assert not withheld(holes, A, 63.0)


def test_one_connection_tries_again() -> None:
    holes = memory()
    strike(holes, A, 3.0)
    assert not withheld(holes, A, 100.0)
    assert withheld(holes, A, 100.1)
    assert withheld(holes, A, 109.9)
    # Nothing came of it: the host is down, or the application has given up.
    assert not withheld(holes, A, 110.0)


def test_times_double_up_to_a_day() -> None:
    holes = memory()
    now, waits = 3.0, []
    for _ in range(14):
        strike(holes, A, now)
        again = offered_at(holes, A, now)
        waits.append(round(again - now))
        now = again + 3
    assert waits == [60 * 2**number for number in range(11)] + [86_400] * 3


def test_an_attacker_is_remembered_no_longer_than_he_was_there() -> None:
    holes = memory()
    now = 3.0
    for _ in range(14):
        strike(holes, A, now)
        again = offered_at(holes, A, now)
        assert again - now <= now + 60.1
        now = again + 3


def test_a_host_that_was_encrypted_with_is_suspected_for_seconds() -> None:
    holes = memory()
    strike(holes, A, 3.0, trusted=True)
    assert offered_at(holes, A, 3.0) == pytest.approx(13.0, abs=0.1)
    strike(holes, A, 20.0, trusted=True)
    assert offered_at(holes, A, 20.0) == pytest.approx(80.0, abs=0.1)


def test_connections_at_a_time_count_once() -> None:
    """Six connections of a browser, and an outage of two seconds."""
    holes = memory()
    for number, remote in enumerate([A] * 6 + HOSTS[1:5]):
        holes.swallowed(HERE, remote, number / 10, 3 + number / 10, trusted=False)
    assert offered_at(holes, A, 4.0) == pytest.approx(63.0, abs=0.1)
    assert holes.networks == 0
    assert len(holes) == 5


def test_an_answer_ends_it() -> None:
    holes = memory()
    for now in (3.0, 66.0, 200.0):
        strike(holes, A, now)
    holes.answered(HERE, A)
    assert not withheld(holes, A, 201.0)
    assert (len(holes), holes.networks) == (0, 0)
    strike(holes, A, 300.0)
    assert offered_at(holes, A, 300.0) == pytest.approx(360.0, abs=0.1)


def dark(holes: BlackHoles) -> float:
    for number in range(3):
        strike(holes, HOSTS[number], 3.0 + 5 * number)
    assert holes.networks == 1
    return 13.0


def test_several_hosts_in_a_row_are_the_whole_network() -> None:
    holes = memory()
    now = dark(holes)
    assert withheld(holes, HOSTS[9], now)
    assert not withheld(holes, HOSTS[9], now, ELSEWHERE)
    # One connection, whichever host it is with, tries again; the other hosts of a local network do so together.
    assert not withheld(holes, HOSTS[9], now + 60, b"\x0a\0\0\x02")
    assert withheld(holes, HOSTS[10], now + 60)
    holes.swallowed(HERE, HOSTS[9], now + 60, now + 63, trusted=True)
    assert offered_at(holes, HOSTS[11], now + 63) == pytest.approx(now + 63 + 120, abs=0.1)


def test_until_one_answers() -> None:
    holes = memory()
    now = dark(holes)
    assert not withheld(holes, HOSTS[9], now + 60)
    holes.answered(HERE, HOSTS[9])
    assert not withheld(holes, HOSTS[10], now + 61)
    assert holes.networks == 0


def test_addresses_that_swallow_do_not_turn_encryption_off_for_peers() -> None:
    """Anybody can have some, and have a browser connect to them, also for the trials: for an hour at most."""
    holes = memory()
    now = dark(holes)
    assert not withheld(holes, HOSTS[9], now + 1, trusted=True)
    for number in range(10):
        now = offered_at(holes, HOSTS[10 + number % 9], now) + 3
        strike(holes, HOSTS[10 + number % 9], now)
        assert withheld(holes, HOSTS[9], now)
        assert not withheld(holes, HOSTS[9], now, trusted=True)
    assert offered_at(holes, HOSTS[9], now) == pytest.approx(now + 3600, abs=0.1)


def test_hosts_that_answer_in_between_keep_it_from_being_the_network() -> None:
    holes = memory()
    for number in range(12):
        strike(holes, HOSTS[number], 3.0 + 5 * number)
        if number % 2:
            holes.answered(HERE, HOSTS[19])
    assert holes.networks == 0
    assert len(holes) == 12


def test_ipv6_networks_have_64_bits() -> None:
    holes = memory()
    local, remote = bytes(15) + b"\x01", b"\x20\x01" + bytes(14)
    holes.swallowed(local, remote, 0.0, 3.0, trusted=False)
    assert withheld(holes, remote, 4.0, bytes(15) + b"\x02")
    assert not withheld(holes, remote, 4.0, bytes(7) + b"\x01" + bytes(8))


def test_it_is_bounded() -> None:
    holes = memory(hosts=4, networks=2)
    for number in range(50):
        local = bytes((10, number, 0, 1))
        holes.swallowed(local, HOSTS[number % 20], number * 10.0, number * 10.0 + 3, trusted=False)
    assert len(holes) == 4
    assert len(holes._networks) == 2
