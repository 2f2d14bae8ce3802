"""Which hosts are remembered."""

from ipaddress import ip_address

from tcpcryptd.core.hosts import HostInfo, HostTable, peer_info
from tcpcryptd.core.peer_identity import ABSENT, Outcome, PeerIdentity
from tcpcryptd.records.connection_info import PeerInfo

WEB1 = PeerIdentity(Outcome.AUTHENTICATED, "web1")


def key(number: int) -> bytes:
    return ip_address("192.0.2.100").packed + ip_address(f"192.0.2.{number}").packed + bytes(4)


def test_the_latest_are_remembered() -> None:
    table = HostTable(3)
    for number in (1, 2, 3):
        table.saw(key(number), ABSENT, float(number))
    table.saw(key(1), WEB1, 4.0)
    table.saw(key(9), None, 5.0)
    table.saw(key(4), ABSENT, 6.0)
    assert list(table) == [
        HostInfo("192.0.2.3", peer_info(ABSENT), 3.0),
        HostInfo("192.0.2.1", PeerInfo("authenticated", "web1"), 4.0),
        HostInfo("192.0.2.4", peer_info(ABSENT), 6.0),
    ]


def test_what_ended_before_does_not_hide_what_came_since() -> None:
    """A connection that is dropped for idleness was alive long ago."""
    table = HostTable(3)
    table.saw(key(1), WEB1, 9.0)
    table.saw(key(1), ABSENT, 4.0)
    assert list(table) == [HostInfo("192.0.2.1", peer_info(WEB1), 9.0)]
