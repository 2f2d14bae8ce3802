"""Sets of networks that can change while the daemon runs."""

from ipaddress import ip_address, ip_network

from tcpcryptd.cli.destinations import Destinations


def test_what_was_asked_before_the_networks_changed_is_asked_again() -> None:
    destinations = Destinations([ip_network("10.0.0.0/8"), ip_network("fd00::/8")])
    assert [destinations.include(each) for each in ("10.1.2.3", "11.1.2.3", "fd00::1", "10.1.2.3")] == [1, 0, 1, 1]
    destinations.replace([ip_network("11.0.0.0/8")])
    assert [destinations.include(each) for each in ("10.1.2.3", "11.1.2.3")] == [0, 1]
    destinations.replace([])
    assert not destinations.include("11.1.2.3")


def test_many_addresses() -> None:
    destinations = Destinations([ip_network("10.0.0.0/17")])
    found = [str(ip_address(0x0A000000 + 64 * number)) for number in range(1024)]
    for _ in range(2):
        assert sum(map(destinations.include, found)) == 512
        assert all(map(destinations.include, found[:512]))
