"""What must be encrypted does not go on without a daemon, with the rules of either firewall."""

from collections.abc import Callable
from ipaddress import ip_network

import pytest

from tcpcryptd.core.verdict import Direction
from tcpcryptd.netio.firewall.iptables.rules import RuleSet
from tcpcryptd.netio.firewall.selection import Network, Selection
from tests.unit.netio.firewall import iptables_walk, nft_walk

V4, V6 = ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")
INSIDE = {Direction.OUT: "lan0", Direction.IN: "wan0"}
FORWARD = ("lan0",)

Walk = Callable[[Selection, Direction, str, str, str, int], bool]


def through_iptables(
    selection: Selection, direction: Direction, address: str, opening: str, way: str, connmark: int = 0
) -> bool:
    version = ip_network(address).version
    rules = RuleSet.build(selection, iptables_walk.QUEUES, iptables_walk.MARKS, version)
    facts = {"-d" if direction is Direction.OUT else "-s": address, "--ctdir": way.upper()} | _syn("--syn", opening)
    chain = f"TCPCRYPTD_{direction.name}"
    if selection.forward:
        facts |= {"-i": INSIDE[direction], "-o": "wan0" if direction is Direction.OUT else "lan0"}
        chain = "TCPCRYPTD_FWD"
    end = iptables_walk.Walk(rules, facts, connmark=connmark).through(chain)
    assert end in (iptables_walk.TO_QUEUE, iptables_walk.TO_QUEUE.removesuffix(" --queue-bypass"))
    return end != iptables_walk.TO_QUEUE


def through_nft(
    selection: Selection, direction: Direction, address: str, opening: str, way: str, connmark: int = 0
) -> bool:
    protocol = "ip6" if ":" in address else "ip"
    facts = {
        f"{protocol} {'daddr' if direction is Direction.OUT else 'saddr'}": address,
        "meta nfproto": "ipv6" if ":" in address else "ipv4",
        "ct direction": way,
        **_syn("opening", opening),
    }
    hook = "output" if direction is Direction.OUT else "prerouting"
    if selection.forward:
        facts |= {"iifname": INSIDE[direction], "oifname": "wan0" if direction is Direction.OUT else "lan0"}
        hook = "forward"
    end = nft_walk.Walk(nft_walk.Packet(facts, connmark=connmark), selection).through(hook)
    assert end in (nft_walk.UNDECIDED_QUEUE, nft_walk.UNDECIDED_QUEUE.removesuffix(" bypass"))
    return end != nft_walk.UNDECIDED_QUEUE


def _syn(key: str, opening: str) -> dict[str, str]:
    return {key: "yes"} if opening else {}


EITHER = pytest.mark.parametrize("held", [through_iptables, through_nft], ids=["iptables", "nft"])
ADDRESSES = pytest.mark.parametrize(
    ("address", "chosen"), [("192.0.2.7", True), ("198.51.100.7", False), ("2001:db8::7", True), ("fd00::7", False)]
)
NETWORKS: tuple[Network, ...] = (V4, V6)
PLACES = pytest.mark.parametrize("forward", [(), FORWARD], ids=["this host", "for others"])


@EITHER
@ADDRESSES
@PLACES
def test_what_is_opened_here(held: Walk, address: str, chosen: bool, forward: tuple[str, ...]) -> None:
    selection = Selection(all_ports=True, require=NETWORKS, forward=forward)
    assert held(selection, Direction.OUT, address, "SYN", "original", 0) is chosen
    assert held(selection, Direction.OUT, address, "", "original", 0) is chosen
    assert held(selection, Direction.IN, address, "", "reply", 0) is chosen
    # Where a stray segment made the tracked connection.
    assert held(selection, Direction.OUT, address, "SYN", "reply", 0) is chosen


@EITHER
@ADDRESSES
@PLACES
def test_what_the_other_host_opens_goes_on(held: Walk, address: str, chosen: bool, forward: tuple[str, ...]) -> None:
    selection = Selection(all_ports=True, require=NETWORKS, forward=forward)
    if not forward:
        # From a forwarded opening, INPUT tells those for this host.
        assert not held(selection, Direction.IN, address, "SYN", "original", 0)
    assert not held(selection, Direction.IN, address, "", "original", 0)
    assert not held(selection, Direction.OUT, address, "", "reply", 0)


@EITHER
@ADDRESSES
@PLACES
@pytest.mark.parametrize("way", ["original", "reply"])
@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("opening", ["SYN", ""])
def test_who_has_to_prove_an_identity(
    held: Walk,
    address: str,
    chosen: bool,
    forward: tuple[str, ...],
    way: str,
    direction: Direction,
    opening: str,
) -> None:
    selection = Selection(all_ports=True, require_identity=NETWORKS, forward=forward)
    assert held(selection, direction, address, opening, way, 0) is chosen


@EITHER
def test_all_hosts_of_one_ip_version(held: Walk) -> None:
    selection = Selection(all_ports=True, require_identity=(ip_network("0.0.0.0/0"),))
    assert held(selection, Direction.OUT, "192.0.2.7", "SYN", "original", 0)
    assert not held(selection, Direction.OUT, "2001:db8::7", "SYN", "original", 0)


@EITHER
def test_a_syn_of_a_connection_that_was_plain_is_held(held: Walk) -> None:
    selection = Selection(all_ports=True, require=NETWORKS)
    assert held(selection, Direction.OUT, "192.0.2.7", "SYN", "original", iptables_walk.PLAIN)
