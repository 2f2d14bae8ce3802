"""The rules, walked through as the kernel would walk through them."""

import re
from ipaddress import ip_network

import pytest

from tcpcryptd.core.verdict import ConnectionClass, Direction
from tcpcryptd.netio.firewall.iptables.rules import CHAIN_PREFIX, RuleSet, transaction
from tcpcryptd.netio.firewall.selection import Selection
from tcpcryptd.netio.queue_numbers import QueueNumbers
from tests.unit.netio.firewall.iptables_walk import (
    ENCRYPTED,
    FORWARD,
    FORWARDED,
    FORWARDED_MARKS,
    INWARDS,
    MARKS,
    OUTWARDS,
    PLAIN,
    STREAM,
    TO_ENCRYPTED_QUEUE,
    TO_QUEUE,
    TO_STREAM_QUEUE,
    Walk,
    build,
)

BOTH = pytest.mark.parametrize("chain", ["TCPCRYPTD_OUT", "TCPCRYPTD_IN"])


@BOTH
@pytest.mark.parametrize(
    ("connmark", "end"),
    [
        (0, TO_QUEUE),
        (PLAIN, None),
        (ENCRYPTED, TO_ENCRYPTED_QUEUE),
        (STREAM, TO_STREAM_QUEUE),
        (0x8FFFFFFF, TO_QUEUE),
        (ENCRYPTED | 5, TO_ENCRYPTED_QUEUE),
        (STREAM | 5, TO_STREAM_QUEUE),
    ],
)
def test_classes(chain: str, connmark: int, end: str | None) -> None:
    assert Walk(build(), {}, connmark=connmark).through(chain) == end


@BOTH
@pytest.mark.parametrize(
    ("connmark", "end", "kept"),
    [
        (PLAIN | 5, TO_QUEUE, 5),
        (ENCRYPTED | 5, TO_ENCRYPTED_QUEUE, ENCRYPTED | 5),
        (STREAM | 5, TO_STREAM_QUEUE, STREAM | 5),
    ],
)
def test_a_syn_does_not_skip_the_daemon(chain: str, connmark: int, end: str, kept: int) -> None:
    walk = Walk(build(), {"--syn": ""}, connmark=connmark)
    assert walk.through(chain) == end
    assert walk.connmark == kept


@BOTH
def test_a_syn_that_is_not_selected_stays_plain(chain: str) -> None:
    walk = Walk(build(Selection(ports=(80,))), {"--syn": "", "--dport": "81"}, connmark=PLAIN)
    assert walk.through(chain) is None
    assert walk.connmark == PLAIN


@BOTH
def test_port_of_a_connection_that_was_tracked_the_wrong_way_round(chain: str) -> None:
    tracked = {"--ctorigsrcport": "80", "--ctorigdstport": "50000"}
    for facts in ({"--syn": "", "--dport": "80"}, {"--dport": "80"}, {"--dport": "50000"}):
        assert Walk(build(Selection(ports=(80,))), tracked | facts).through(chain) == TO_QUEUE
        assert Walk(build(Selection(ports=(81,))), tracked | facts).through(chain) is None
    opening = {"--ctorigsrcport": "443", "--ctorigdstport": "50000", "--syn": "", "--dport": "443"}
    assert Walk(build(Selection()), opening).through(chain) is None


@BOTH
@pytest.mark.parametrize("connmark", [0, PLAIN, ENCRYPTED, STREAM])
def test_what_is_injected_inwards_is_never_diverted(chain: str, connmark: int) -> None:
    mark = MARKS.of_injection(Direction.IN)
    assert Walk(build(), {}, mark=mark, connmark=connmark).through(chain) is None


def test_others_see_what_is_injected_inwards_when_it_comes_in() -> None:
    """Not on its way to the loopback interface, where it would lose its mark to CONNMARK --restore-mark."""
    mark = MARKS.of_injection(Direction.IN)
    assert Walk(build(), {"-o": "lo"}, mark=mark).through("TCPCRYPTD_OUT") == "ACCEPT"
    assert Walk(build(), {"-i": "lo"}, mark=mark).through("TCPCRYPTD_IN") is None


@pytest.mark.parametrize("mark", [0, PLAIN, ENCRYPTED, STREAM])
def test_routes_are_looked_up_with_others_bits_alone(mark: int) -> None:
    """Rules of others behind ours may copy a whole connection mark; `ip rule fwmark` compares whole marks."""
    walk = Walk(build(), {}, mark=mark | 5)
    assert walk.through("TCPCRYPTD_LAST") is None
    assert walk.mark == 5


@pytest.mark.parametrize("connmark", [0, PLAIN, ENCRYPTED, STREAM])
def test_what_is_injected_outwards_passes_and_comes_in_by_loopback_unmarked(connmark: int) -> None:
    walk = Walk(build(), {}, mark=MARKS.of_injection(Direction.OUT) | 5, connmark=connmark)
    assert walk.through("TCPCRYPTD_OUT") is None
    # Where its way is looked for again, others' bits are all that counts; nothing is saved.
    assert (walk.mark, walk.connmark) == (5, connmark)


def test_what_is_injected_inwards_keeps_its_mark_until_input() -> None:
    walk = Walk(build(), {}, mark=MARKS.of_injection(Direction.IN), connmark=ENCRYPTED)
    walk.through("TCPCRYPTD_SAVE_OUT")
    assert walk.mark == MARKS.of_injection(Direction.IN)
    walk.through("TCPCRYPTD_SAVE_IN")
    assert (walk.mark, walk.connmark) == (0, ENCRYPTED)


ALL_CLASSES = pytest.mark.parametrize("decided", list(ConnectionClass))


@BOTH
@ALL_CLASSES
@pytest.mark.parametrize("connmark", [0, PLAIN, ENCRYPTED, STREAM])
def test_what_passes_is_not_diverted_again_and_its_class_is_kept(
    chain: str, connmark: int, decided: ConnectionClass
) -> None:
    if connmark == STREAM and decided is ConnectionClass.UNDECIDED:
        decided = ConnectionClass.STREAM  # as the queue says it of an undecided verdict
    walk = Walk(build(), {}, mark=MARKS.of_verdict(decided) | 0x5, connmark=connmark | 0x0A00)
    assert walk.through(chain) is None
    kept = connmark if decided is ConnectionClass.UNDECIDED else MARKS.of_class(decided)
    assert (walk.mark, walk.connmark) == (0x5, kept | 0x0A00)


@ALL_CLASSES
@pytest.mark.parametrize("connmark", [*FORWARDED_MARKS, PLAIN])
def test_what_passes_for_others_is_not_diverted_again(connmark: int, decided: ConnectionClass) -> None:
    walk = Walk(build(FORWARD), OUTWARDS, mark=MARKS.of_verdict(decided, True) | 0x5, connmark=connmark | 0x0A00)
    assert walk.through("TCPCRYPTD_FWD") is None
    kept = connmark if decided is ConnectionClass.UNDECIDED else MARKS.of_forwarded(decided)
    assert (walk.mark, walk.connmark) == (0x5, kept | 0x0A00)


@pytest.mark.parametrize("opening", [{}, {"--syn": ""}], ids=["segment", "SYN"])
@pytest.mark.parametrize("forwarded", [False, True])
@ALL_CLASSES
def test_a_copied_connection_mark_does_not_open(
    forwarded: bool, decided: ConnectionClass, opening: dict[str, str]
) -> None:
    """Rules of others that come before ours may do that: CONNMARK --restore-mark, nft `meta mark set ct mark`."""
    chains, facts, mark = ["TCPCRYPTD_OUT", "TCPCRYPTD_IN"], opening, MARKS.of_class(decided)
    if forwarded:
        chains, facts, mark = ["TCPCRYPTD_FWD"], opening | OUTWARDS, MARKS.of_forwarded(decided)
    rules = build(FORWARD if forwarded else None)
    for chain in chains:
        plain = Walk(rules, facts, connmark=mark | 5).through(chain)
        assert Walk(rules, facts, mark=mark | 5, connmark=mark | 5).through(chain) == plain
        assert (plain is None) == (decided is ConnectionClass.PLAIN and not opening)


@pytest.mark.parametrize("connmark", [0, PLAIN, ENCRYPTED, STREAM, *FORWARDED_MARKS])
def test_openings_that_others_mark_are_seen_when_they_leave(connmark: int) -> None:
    own = connmark in (0, ENCRYPTED, STREAM)
    assert Walk(build(FORWARD), {}, mark=5, connmark=connmark | 5).through("TCPCRYPTD_SEEN") == (
        TO_QUEUE if own else None
    )


def test_openings_that_pass_in_input() -> None:
    for decided in ConnectionClass:
        walk = Walk(build(FORWARD), {"--syn": ""}, mark=MARKS.of_verdict(decided) | 5)
        assert walk.through("TCPCRYPTD_SAVE_IN") is None
        assert (walk.mark, walk.connmark) == (5, MARKS.of_class(decided))


@BOTH
def test_excluded_port_becomes_plain_unless_encrypted_already(chain: str) -> None:
    rules = build(Selection())
    walk = Walk(rules, {"--ctorigdstport": "443"}, connmark=0x7)
    assert walk.through(chain) is None
    assert walk.connmark == PLAIN | 0x7
    assert Walk(rules, {"--ctorigdstport": "80"}).through(chain) == TO_QUEUE
    assert Walk(rules, {"--ctorigdstport": "443"}, connmark=ENCRYPTED).through(chain) == TO_ENCRYPTED_QUEUE
    assert Walk(rules, {"--ctorigdstport": "443"}, connmark=STREAM).through(chain) == TO_STREAM_QUEUE


@pytest.mark.parametrize(
    ("chain", "interface", "network"), [("TCPCRYPTD_OUT", "-o", "-d"), ("TCPCRYPTD_IN", "-i", "-s")]
)
@pytest.mark.parametrize(
    ("port", "name", "address", "selected"),
    [
        ("80", "eth0", "10.1.2.3", True),
        ("81", "eth1", "192.168.0.1", True),
        ("82", "eth0", "10.1.2.3", False),
        ("80", "eth2", "10.1.2.3", False),
        ("80", "eth0", "11.1.2.3", False),
    ],
)
def test_selection_on_all_counts(
    chain: str, interface: str, network: str, port: str, name: str, address: str, selected: bool
) -> None:
    selection = Selection(
        ports=(80, 81),
        interfaces=("eth0", "eth1"),
        addresses=(ip_network("10.0.0.0/8"), ip_network("192.168.0.0/16"), ip_network("fd00::/8")),
    )
    walk = Walk(build(selection), {"--ctorigdstport": port, interface: name, network: address})
    assert walk.through(chain) == (TO_QUEUE if selected else None)
    assert walk.connmark == (0 if selected else PLAIN)


LOCAL = {"TCPCRYPTD_OUT": {"-o": "lo"}, "TCPCRYPTD_IN": {"-i": "lo"}}


@BOTH
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("opening", [{}, {"--syn": ""}])
def test_connections_within_this_host(chain: str, version: int, opening: dict[str, str]) -> None:
    facts = LOCAL[chain] | opening | ({"-s": "::1", "-d": "::1"} if version == 6 else {})
    for left in (Selection(), Selection(all_ports=True), Selection(ports=(80,), interfaces=("eth0",))):
        walk = Walk(build(left, version), facts | {"--ctorigdstport": "80"}, connmark=0x7)
        assert walk.through(chain) is None
        assert walk.connmark == PLAIN | 0x7
    for taken in (Selection(loopback=True), Selection(interfaces=("lo",))):
        walk = Walk(build(taken, version), facts | {"--ctorigdstport": "80"})
        assert walk.through(chain) == TO_QUEUE
    # A daemon that took them was killed: nothing of them goes on in clear.
    for connmark, queue in ((ENCRYPTED, TO_ENCRYPTED_QUEUE), (STREAM, TO_STREAM_QUEUE)):
        assert Walk(build(version=version), facts, connmark=connmark).through(chain) == queue


def test_no_network_of_the_version_selects_nothing() -> None:
    rules = build(Selection(addresses=(ip_network("10.0.0.0/8"),)), version=6)
    assert Walk(rules, {"-d": "2001:db8::1"}).through("TCPCRYPTD_OUT") is None


def test_link_local_connections_are_as_others() -> None:
    for chain, option in (("TCPCRYPTD_OUT", "-d"), ("TCPCRYPTD_IN", "-s")):
        assert Walk(build(version=6), {option: "fe80::1"}).through(chain) == TO_QUEUE


EACH_WAY = pytest.mark.parametrize("way", [OUTWARDS, INWARDS], ids=["outwards", "inwards"])


@EACH_WAY
@pytest.mark.parametrize(
    ("connmark", "end"),
    [
        (0, TO_QUEUE),
        (FORWARDED[ConnectionClass.UNDECIDED], TO_QUEUE),
        (PLAIN, None),
        (FORWARDED[ConnectionClass.ENCRYPTED], TO_ENCRYPTED_QUEUE),
        (FORWARDED[ConnectionClass.STREAM], TO_STREAM_QUEUE),
    ],
)
def test_forwarded_classes(way: dict[str, str], connmark: int, end: str | None) -> None:
    walk = Walk(build(FORWARD), way, connmark=connmark | 5)
    assert walk.through("TCPCRYPTD_FWD") == end
    assert walk.connmark == (connmark or FORWARDED[ConnectionClass.UNDECIDED]) | 5
    if connmark != PLAIN:
        assert walk.mark == (MARKS.outward if way is OUTWARDS else 0)


def test_the_mark_of_the_direction_is_not_saved() -> None:
    walk = Walk(build(FORWARD), {}, mark=MARKS.outward | 5, connmark=FORWARDED[ConnectionClass.STREAM])
    walk.through("TCPCRYPTD_SAVE_OUT")
    assert (walk.mark, walk.connmark) == (5, FORWARDED[ConnectionClass.STREAM])


@pytest.mark.parametrize("way", [{"-i": "lan0", "-o": "lan1"}, {"-i": "wan0", "-o": "wan1"}], ids=["inside", "outside"])
def test_between_two_inside_or_two_outside_hosts(way: dict[str, str]) -> None:
    walk = Walk(build(FORWARD), way)
    assert walk.through("TCPCRYPTD_FWD") is None
    assert walk.connmark == PLAIN
    for connection_class in (ConnectionClass.ENCRYPTED, ConnectionClass.STREAM):
        assert Walk(build(FORWARD), way, connmark=FORWARDED[connection_class]).through("TCPCRYPTD_FWD") == "DROP"


@EACH_WAY
@pytest.mark.parametrize(
    ("port", "name", "selected"), [("80", "wan0", True), ("81", "wan0", False), ("80", "x", False)]
)
def test_selection_of_forwarded_connections(way: dict[str, str], port: str, name: str, selected: bool) -> None:
    rules = build(Selection(ports=(80,), interfaces=("wan0",), forward=("lan0", "lan1")))
    outside = {"-o": name} if way is OUTWARDS else {"-i": name}
    walk = Walk(rules, way | outside | {"--ctorigdstport": port})
    assert walk.through("TCPCRYPTD_FWD") == (TO_QUEUE if selected else None)
    assert walk.connmark == (FORWARDED[ConnectionClass.UNDECIDED] if selected else PLAIN)


@pytest.mark.parametrize("connection_class", [each for each in ConnectionClass if each is not ConnectionClass.PLAIN])
def test_what_comes_in_for_an_inside_host_is_not_the_routers(connection_class: ConnectionClass) -> None:
    walk = Walk(build(FORWARD), {"--dst-type": "LOCAL"}, connmark=FORWARDED[connection_class])
    assert walk.through("TCPCRYPTD_IN") is None


@pytest.mark.parametrize(
    ("state", "connmark", "end"), [("NEW", 0, TO_QUEUE), ("NEW", ENCRYPTED, None), ("DNAT", 0, None)]
)
def test_an_opening_is_the_routers_when_it_is_not_translated(state: str, connmark: int, end: str | None) -> None:
    rules = build(FORWARD)
    assert Walk(rules, {"--syn": ""}).through("TCPCRYPTD_IN") is None
    assert Walk(rules, {"--syn": "", "--ctstate": state}, connmark=connmark).through("TCPCRYPTD_ARRIVED") == end
    assert Walk(rules, {}).through("TCPCRYPTD_IN") == TO_QUEUE


def test_what_was_encrypted_for_others_stays_closed_without_the_option() -> None:
    for connection_class in (ConnectionClass.ENCRYPTED, ConnectionClass.STREAM):
        walk = Walk(build(), {"--dst-type": "UNICAST"}, connmark=FORWARDED[connection_class])
        assert walk.through("TCPCRYPTD_IN") == "DROP"


def test_what_is_injected_to_an_inside_host_is_not_tracked() -> None:
    raw = RuleSet.build_raw(FORWARD, MARKS)
    assert raw.chains == {"TCPCRYPTD_UNTRACKED": ["-j CT --notrack"]}
    assert raw.jumps[0].startswith("OUTPUT ! -o lo -m mark ")
    assert not RuleSet.build_raw(Selection(), MARKS).chains


def test_forwarded_segments_are_left_alone() -> None:
    walk = Walk(build(), {"--dst-type": "UNICAST"})
    assert walk.through("TCPCRYPTD_IN") is None
    assert walk.connmark == 0


@BOTH
def test_connections_that_cannot_be_marked_are_left_alone(chain: str) -> None:
    assert Walk(build(), {"--ctstate": "UNTRACKED"}).through(chain) is None


def test_what_may_belong_to_an_encrypted_connection_has_no_bypass() -> None:
    rules = build(Selection(ports=(80,)))
    assert Walk(rules, {"--ctstate": "INVALID"}).through("TCPCRYPTD_OUT") == "NFQUEUE --queue-num 10"


def test_segments_that_the_tracker_takes_for_invalid_ones() -> None:
    rules = build(Selection(ports=(80,)))
    opening = {"--ctstate": "INVALID", "--syn": ""}
    assert Walk(rules, opening | {"--dport": "80"}).through("TCPCRYPTD_OUT") == TO_QUEUE
    assert Walk(rules, opening | {"--dport": "81"}).through("TCPCRYPTD_OUT") is None
    assert Walk(rules, {"--ctstate": "INVALID"}).through("TCPCRYPTD_IN") == TO_QUEUE


@pytest.mark.parametrize("version", [4, 6])
def test_only_own_chains_and_known_hooks(version: int) -> None:
    rules = build(Selection(ports=(80,), interfaces=("eth0",), addresses=(ip_network("10.0.0.0/8"),)), version)
    assert all(name.startswith(CHAIN_PREFIX) and len(name) < 29 for name in rules.chains)
    errors, segments = rules.jumps[:2], rules.jumps[2:]
    assert [jump.split()[0] for jump in segments] == [
        *("OUTPUT", "PREROUTING", "POSTROUTING", "POSTROUTING", "INPUT", "FORWARD")
    ]
    assert all(jump.split()[1:3] == ["-p", "tcp"] for jump in segments)
    assert [jump.split()[0] for jump in errors] == ["OUTPUT", "PREROUTING"]
    protocol = "icmp" if version == 4 else "ipv6-icmp"
    assert all(f"-p {protocol} -m conntrack --ctstate RELATED" in jump for jump in errors)
    text = transaction(rules.lines())
    assert text.startswith("*mangle\n")
    assert text.endswith("\nCOMMIT\n")


BALANCED = QueueNumbers.starting_at(10, 4)
EVERYTHING = Selection(exclude_ports=(22,), forward=("lan0",), addresses=(ip_network("192.0.2.0/24"),))


def test_the_rules_for_one_worker_name_single_queues() -> None:
    for version in (4, 6):
        rules = "\n".join(RuleSet.build(EVERYTHING, QueueNumbers.starting_at(10), MARKS, version).lines())
        assert "--queue-balance" not in rules
        assert {int(number) for number in re.findall(r"--queue-num (\d+)", rules)} == {10, 11, 12}


@pytest.mark.parametrize("version", [4, 6])
def test_several_workers_change_nothing_but_the_queues(version: int) -> None:
    one = [*RuleSet.build(EVERYTHING, QueueNumbers.starting_at(10), MARKS, version).lines()]
    four = [*RuleSet.build(EVERYTHING, BALANCED, MARKS, version).lines()]
    ranges = {10: "10:13", 11: "14:17", 12: "18:21"}
    for single, balanced in ranges.items():
        one = [
            # The addresses of an ICMP error do not say whose the connection is.
            re.sub(rf"--queue-num {single}\b", f"--queue-num {balanced.split(':')[0]}", line)
            if "_ERROR_" in line
            else re.sub(rf"--queue-num {single}\b", f"--queue-balance {balanced}", line)
            for line in one
        ]
    assert four == one


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("selection", [Selection(), FORWARD], ids=["host", "gateway"])
def test_an_icmp_error_that_leaves_waits_for_the_daemon(selection: Selection, version: int) -> None:
    """It may quote plaintext; what comes in passes without a daemon."""
    rules = RuleSet.build(selection, QueueNumbers.starting_at(10), MARKS, version).chains
    for chain, number, bypasses in (("OUT", 11, False), ("IN", 10, True)):
        queued = [rule for rule in rules[f"TCPCRYPTD_ERROR_{chain}"] if "NFQUEUE" in rule]
        assert queued
        assert all(f"--queue-num {number}" in rule for rule in queued)
        assert all(("--queue-bypass" in rule) is bypasses for rule in queued)
    if selection.forward:
        queued = [rule for rule in rules["TCPCRYPTD_ERROR_FWD"] if "NFQUEUE" in rule]
        assert all(("--queue-bypass" in rule) is rule.startswith("-o ") for rule in queued)


@pytest.mark.parametrize("version", [4, 6])
def test_beside_a_vrf_packets_are_diverted_once(version: int) -> None:
    """They pass PREROUTING and OUTPUT for the interface and for the VRF device."""
    numbers = QueueNumbers.starting_at(10)
    usual = RuleSet.build(Selection(), numbers, MARKS, version)
    beside = RuleSet.build(Selection(), numbers, MARKS, version, ("red", "blue"))
    hooks = {jump.split()[-1]: "-o" if jump.split()[0] in ("OUTPUT", "POSTROUTING") else "-i" for jump in usual.jumps}
    for chain in ("OUT", "SAVE_OUT", "SEEN", "ERROR_OUT", "IN", "ERROR_IN"):
        option = hooks[f"TCPCRYPTD_{chain}"]
        rules = beside.chains[f"TCPCRYPTD_{chain}"]
        assert rules[:2] == [f"{option} red -j RETURN", f"{option} blue -j RETURN"]
        assert len(rules) == len(usual.chains[f"TCPCRYPTD_{chain}"]) + 2
    (local,) = [rule for rule in beside.chains["TCPCRYPTD_IN"] if "addrtype" in rule]
    assert local.count("! --dst-type LOCAL") == 2
    assert "--limit-iface-in" in local
