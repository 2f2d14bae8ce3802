"""The rules of nft, walked through as the kernel would walk through them."""

import re
from ipaddress import ip_address, ip_network

import pytest

from tcpcryptd.core.verdict import ConnectionClass
from tcpcryptd.netio.firewall.nft.rules import build, transaction
from tcpcryptd.netio.firewall.selection import Selection
from tcpcryptd.netio.kernel.raw_socket import INWARD_PRIORITY
from tcpcryptd.netio.queue_numbers import QueueNumbers
from tests.unit.netio.firewall.nft_walk import (
    ENCRYPTED,
    ENCRYPTED_QUEUE,
    FORWARD,
    FORWARDED,
    GO,
    INJECTED_IN,
    INJECTED_OUT,
    INWARDS,
    MARKS,
    OUTWARDS,
    PLAIN,
    QUEUES,
    STREAM,
    STREAM_QUEUE,
    UNDECIDED_QUEUE,
    Packet,
    Walk,
)

BOTH = pytest.mark.parametrize("hook", ["output", "prerouting"])
EACH_WAY = pytest.mark.parametrize("way", [OUTWARDS, INWARDS], ids=["outwards", "inwards"])


@BOTH
@pytest.mark.parametrize("opening", ["", "yes"])
@pytest.mark.parametrize(
    ("connmark", "end"),
    [(0, UNDECIDED_QUEUE), (PLAIN, None), (ENCRYPTED, ENCRYPTED_QUEUE), (STREAM, STREAM_QUEUE)],
)
def test_classes(hook: str, connmark: int, end: str | None, opening: str) -> None:
    """A SYN does not skip the daemon for the connection's mark, which is another one's then."""
    packet = Packet({"opening": opening}, mark=5, connmark=connmark | 5)
    if connmark == PLAIN and opening:
        connmark, end = 0, UNDECIDED_QUEUE
    assert Walk(packet).through(hook) == end
    assert packet.connmark == connmark | 5
    assert packet.mark == (5 if end is None else MARKS.diverted | 5)


@BOTH
@pytest.mark.parametrize("connmark", [0, PLAIN, ENCRYPTED, STREAM])
def test_what_was_handled_goes_on_unmarked(hook: str, connmark: int) -> None:
    """As it does behind our chain, also when it comes there once more."""
    packet = Packet({}, mark=MARKS.diverted | 5, connmark=connmark)
    walk = Walk(packet)
    assert walk.through(hook) is None
    assert (packet.mark, packet.connmark) == (5, connmark)
    packet.mark = MARKS.diverted | 5
    for name in walk.of_hook(hook)[1:]:
        assert walk.chain(name) in (None, "accept")
    assert packet.mark == 5


@BOTH
@pytest.mark.parametrize("opening", ["", "yes"])
@pytest.mark.parametrize("decided", ConnectionClass)
def test_a_copied_connection_mark_does_not_open(hook: str, decided: ConnectionClass, opening: str) -> None:
    mark = MARKS.of_class(decided)
    expected = Walk(Packet({"opening": opening}, connmark=mark)).through(hook)
    packet = Packet({"opening": opening}, mark=mark | 5, connmark=mark)
    assert Walk(packet).through(hook) == expected
    assert packet.mark == (5 if expected is None else MARKS.diverted | 5)


@EACH_WAY
@pytest.mark.parametrize("decided", ConnectionClass)
def test_a_copied_connection_mark_of_others_does_not_open(way: dict[str, str], decided: ConnectionClass) -> None:
    mark = FORWARDED[decided]
    expected = Walk(Packet(way, connmark=mark), FORWARD).through("forward")
    assert Walk(Packet(way, mark=mark, connmark=mark), FORWARD).through("forward") == expected


@pytest.mark.parametrize("connmark", [0, PLAIN, ENCRYPTED, STREAM])
def test_what_is_injected(connmark: int) -> None:
    inwards = Packet({"oifname": "lo", "iifname": "lo"}, mark=INJECTED_IN, connmark=connmark)
    outwards = Packet({}, mark=INJECTED_OUT | 5, connmark=connmark)
    for hook in ("output", "postrouting", "prerouting"):
        assert Walk(inwards).through(hook) is None
        assert inwards.mark == INJECTED_IN
    assert Walk(outwards).through("output") is None
    # Loopback diverts it on its way in.
    assert outwards.mark == 5
    assert Walk(inwards).through("input") is None
    assert (inwards.mark, inwards.connmark, outwards.connmark) == (0, connmark, connmark)


def test_what_is_injected_inwards_keeps_its_mark_whatever_others_do() -> None:
    priority = f"{INWARD_PRIORITY >> 16:x}:{INWARD_PRIORITY & 0xFFFF:x}"
    packet = Packet({"oifname": "lo", "meta priority": priority}, mark=1)
    walk = Walk(packet)
    assert walk.chain(walk.of_hook("output")[-1]) == "accept"
    assert packet.mark == INJECTED_IN | 1


@pytest.mark.parametrize("mark", [PLAIN, ENCRYPTED, STREAM])
@BOTH
def test_routes_are_looked_up_with_others_bits_alone(hook: str, mark: int) -> None:
    packet = Packet({}, mark=mark | 5)
    walk = Walk(packet)
    walk.chain(walk.of_hook(hook)[-1])
    assert packet.mark == 5


@pytest.mark.parametrize("connmark", [0, PLAIN, ENCRYPTED, STREAM, *FORWARDED.values()])
def test_openings_that_others_mark_are_seen_when_they_leave(connmark: int) -> None:
    end = Walk(Packet({"opening": "yes"}, mark=5, connmark=connmark | 5), FORWARD).through("postrouting")
    assert end == (UNDECIDED_QUEUE if connmark in (0, ENCRYPTED, STREAM) else None)
    assert Walk(Packet({"opening": "yes"}, connmark=connmark)).through("postrouting") is None


@BOTH
def test_excluded_ports(hook: str) -> None:
    packet = Packet({"ct original proto-dst": "443"}, connmark=7)
    assert Walk(packet, Selection()).through(hook) is None
    assert packet.connmark == PLAIN | 7
    assert Walk(Packet({}), Selection()).through(hook) == UNDECIDED_QUEUE
    closed = Packet({"ct original proto-dst": "443"}, connmark=ENCRYPTED)
    assert Walk(closed, Selection()).through(hook) == ENCRYPTED_QUEUE


@BOTH
def test_port_of_a_connection_that_was_tracked_the_wrong_way_round(hook: str) -> None:
    tracked = {"ct original proto-src": "80", "ct original proto-dst": "50000"}
    for facts in ({"opening": "yes", "tcp dport": "80"}, {"tcp dport": "80"}, {"tcp dport": "50000"}):
        assert Walk(Packet(tracked | facts), Selection(ports=(80,))).through(hook) == UNDECIDED_QUEUE
        assert Walk(Packet(tracked | facts), Selection(ports=(81,))).through(hook) is None


@pytest.mark.parametrize(("hook", "interface", "network"), [("output", "oifname", "d"), ("prerouting", "iifname", "s")])
@pytest.mark.parametrize(
    ("port", "name", "address", "selected"),
    [
        ("80", "eth0", "10.1.2.3", True),
        ("81", "wg7", "192.168.0.1", True),
        ("80", "eth0", "fd00::1", True),
        ("82", "eth0", "10.1.2.3", False),
        ("80", "eth1", "10.1.2.3", False),
        ("80", "eth0", "11.1.2.3", False),
        ("80", "eth0", "fe80::1", False),
    ],
)
def test_selection_on_all_counts(
    hook: str, interface: str, network: str, port: str, name: str, address: str, selected: bool
) -> None:
    selection = Selection(
        ports=(80, 81),
        interfaces=("eth0", "wg+", "wg1"),
        addresses=tuple(map(ip_network, ("10.0.0.0/8", "10.1.0.0/16", "192.168.0.0/16", "fd00::/8"))),
    )
    version = ip_address(address).version
    of_version = {"meta nfproto": f"ipv{version}", f"ip{'6' if version == 6 else ''} {network}addr": address}
    packet = Packet({"ct original proto-dst": port, interface: name, **of_version})
    assert Walk(packet, selection).through(hook) == (UNDECIDED_QUEUE if selected else None)
    assert packet.connmark == (0 if selected else PLAIN)


@BOTH
def test_connections_within_this_host(hook: str) -> None:
    facts = {"oifname": "lo", "iifname": "lo"}
    assert Walk(Packet(facts)).through(hook) is None
    for taken in (Selection(loopback=True), Selection(interfaces=("lo",))):
        assert Walk(Packet(facts), taken).through(hook) == UNDECIDED_QUEUE
    # A daemon that took them was killed.
    assert Walk(Packet(facts, connmark=STREAM)).through(hook) == STREAM_QUEUE


@EACH_WAY
@pytest.mark.parametrize(
    ("decided", "end"),
    [
        (ConnectionClass.UNDECIDED, UNDECIDED_QUEUE),
        (ConnectionClass.PLAIN, None),
        (ConnectionClass.ENCRYPTED, ENCRYPTED_QUEUE),
        (ConnectionClass.STREAM, STREAM_QUEUE),
    ],
)
def test_forwarded_classes(way: dict[str, str], decided: ConnectionClass, end: str | None) -> None:
    connmark = FORWARDED[decided] if decided is not ConnectionClass.UNDECIDED else 0
    packet = Packet(way, mark=5, connmark=connmark | 5)
    walk = Walk(packet, FORWARD)
    assert walk.through("forward") == end
    assert packet.connmark == FORWARDED[decided] | 5
    assert packet.mark == (MARKS.outward | 5 if way is OUTWARDS and end is not None else 5)
    # Without a daemon it goes on unmarked.
    assert walk.chain("forward_behind") is None
    assert packet.mark == 5


@EACH_WAY
@pytest.mark.parametrize("decided", ConnectionClass)
@pytest.mark.parametrize("before", [ConnectionClass.UNDECIDED, ConnectionClass.STREAM])
def test_what_passes_for_others_is_not_diverted_again(
    way: dict[str, str], decided: ConnectionClass, before: ConnectionClass
) -> None:
    packet = Packet(way, mark=MARKS.of_verdict(decided, forwarded=True) | 5, connmark=FORWARDED[before] | 5)
    assert Walk(packet, FORWARD).through("forward") is None
    kept = before if decided is ConnectionClass.UNDECIDED else decided
    assert (packet.mark, packet.connmark) == (5, FORWARDED[kept] | 5)


@pytest.mark.parametrize(
    "way", [{"iifname": "lan0", "oifname": "lan1"}, {"iifname": "wan0", "oifname": "wan1"}], ids=["inside", "outside"]
)
def test_between_two_inside_or_two_outside_hosts(way: dict[str, str]) -> None:
    packet = Packet(way)
    assert Walk(packet, FORWARD).through("forward") is None
    assert packet.connmark == PLAIN
    for each in (ConnectionClass.ENCRYPTED, ConnectionClass.STREAM):
        assert Walk(Packet(way, connmark=FORWARDED[each]), FORWARD).through("forward") == "drop"
    forwarded = Packet(way)
    assert Walk(forwarded).through("forward") is None
    assert forwarded.connmark == PLAIN


def test_what_comes_in_for_an_inside_host_is_not_the_routers() -> None:
    for each in (ConnectionClass.UNDECIDED, ConnectionClass.ENCRYPTED, ConnectionClass.STREAM):
        assert Walk(Packet({}, connmark=FORWARDED[each]), FORWARD).through("prerouting") is None
        if each.is_encrypted:
            # Without the option it stays closed.
            assert Walk(Packet({"fib": "unicast"}, connmark=FORWARDED[each])).through("prerouting") == "drop"


@pytest.mark.parametrize(
    ("status", "connmark", "end"),
    [("seen-reply", 0, UNDECIDED_QUEUE), ("seen-reply", ENCRYPTED, None), ("dnat", 0, None)],
)
def test_an_opening_is_the_routers_when_it_is_not_translated(status: str, connmark: int, end: str | None) -> None:
    packet = Packet({"opening": "yes", "ct status": status}, connmark=connmark)
    if not connmark:
        assert Walk(packet, FORWARD).through("prerouting") is None
    walk = Walk(packet, FORWARD)
    assert walk.through("input") == end
    if end is not None:
        assert packet.mark == MARKS.diverted
        assert walk.through("input") is None
        assert packet.mark == 0


def test_what_is_injected_to_an_inside_host_is_not_tracked() -> None:
    assert Walk(Packet({}, mark=INJECTED_IN), FORWARD).through("output") == "notrack"
    assert Walk(Packet({}, mark=INJECTED_IN)).through("output") is None


@BOTH
def test_connections_that_cannot_be_marked_are_left_alone(hook: str) -> None:
    assert Walk(Packet({"ct state": "untracked"})).through(hook) is None


def test_what_is_only_forwarded_is_left_alone() -> None:
    assert Walk(Packet({"fib": "unicast"})).through("prerouting") is None


def test_segments_that_the_tracker_takes_for_invalid_ones() -> None:
    """What may belong to an encrypted connection has no bypass."""
    selection, invalid = Selection(ports=(80,)), {"ct state": "invalid"}
    assert Walk(Packet(invalid), selection).through("output") == "num 10"
    assert Walk(Packet(invalid | {"opening": "yes"}), selection).through("output") == UNDECIDED_QUEUE
    assert Walk(Packet(invalid), selection).through("prerouting") == UNDECIDED_QUEUE


@pytest.mark.parametrize("l4proto", ["icmp", "ipv6-icmp"])
def test_icmp_errors_about_encrypted_connections(l4proto: str) -> None:
    """What leaves may quote plaintext, and waits for the daemon; all go to the first worker."""
    queues = QueueNumbers.starting_at(10, 4)
    error = {"meta l4proto": l4proto, "ct state": "related"}
    for hook, end in (("output", "num 14"), ("prerouting", UNDECIDED_QUEUE)):
        for connmark, expected in ((ENCRYPTED, end), (STREAM, end), (PLAIN, None), (0, None)):
            packet = Packet(error, connmark=connmark)
            walk = Walk(packet, queues=queues)
            assert walk.through(hook) == expected
            # Once handled.
            assert walk.through(hook) is None
            assert packet.mark == 0
    assert Walk(Packet(error | {"oifname": "lo"}, connmark=STREAM)).through("output") is None
    connmark = FORWARDED[ConnectionClass.STREAM]
    for way, forwarded in ((OUTWARDS, "num 14"), (INWARDS, UNDECIDED_QUEUE)):
        packet = Packet(error | way, connmark=connmark)
        walk = Walk(packet, FORWARD, queues)
        assert walk.through("forward") == forwarded
        assert packet.mark == (MARKS.outward if way is OUTWARDS else 0)
        queue = ConnectionClass.ENCRYPTED if way is OUTWARDS else ConnectionClass.UNDECIDED
        packet.mark = MARKS.of_verdict(queue, forwarded=True)
        assert walk.through("forward") is None
        assert packet.mark == 0


def test_several_workers_change_nothing_but_the_queues() -> None:
    selection = Selection(exclude_ports=(22,), forward=("lan0",), addresses=(ip_network("192.0.2.0/24"),))
    one = transaction(build(selection, QueueNumbers.starting_at(10), MARKS))
    four = transaction(build(selection, QueueNumbers.starting_at(10, 4), MARKS))
    ranges = {"14-17": "11", "18-21": "12", "10-13": "10", "14": "11"}
    for balanced, single in ranges.items():
        four = re.sub(rf"queue num {balanced}(?![-\d])", f"queue num {single}", four)
    assert four == one


def test_beside_a_vrf_packets_are_diverted_once() -> None:
    usual = build(FORWARD, QUEUES, MARKS)
    beside = build(FORWARD, QUEUES, MARKS, ("red", "blue"))
    out = dict.fromkeys(("output", "output_behind", "output_behind_others", "postrouting"), "oifname")
    for chain, option in (out | {"prerouting": "iifname"}).items():
        assert beside[chain][1] == f'{option} {{ "red", "blue" }} accept'
        assert len(beside[chain]) == len(usual[chain]) + 1
    assert any("fib daddr . iif type != local" in rule for rule in beside["in"])


def test_one_transaction_replaces_all() -> None:
    text = transaction(build(Selection(), QUEUES, MARKS))
    assert text.startswith("table inet tcpcryptd\ndelete table inet tcpcryptd\ntable inet tcpcryptd {\n")
    # What is jumped to is there before.
    seen = set[str]()
    for name, rules in build(FORWARD, QUEUES, MARKS).items():
        seen.add(name)
        assert {found[2] for rule in rules for found in GO.finditer(rule)} <= seen
