import sys
from dataclasses import fields
from ipaddress import ip_network
from typing import Final

import pytest

from tcpcryptd.cli.assembly import daemon_config
from tcpcryptd.cli.config import Settings
from tcpcryptd.cli.options import OPTIONS
from tcpcryptd.netio.errors import ExitCode
from tcpcryptd.netio.firewall import command
from tcpcryptd.netio.firewall.iptables import rules as iptables
from tcpcryptd.netio.firewall.nft import rules as nft
from tcpcryptd.netio.firewall.selection import SELF_ENCRYPTED_PORTS, Selection
from tcpcryptd.netio.marks import MarkScheme
from tcpcryptd.netio.queue_numbers import QueueNumbers


def test_ports_with_encryption_of_their_own_are_excluded_by_default() -> None:
    assert Selection().excluded == SELF_ENCRYPTED_PORTS


def test_more_can_be_excluded() -> None:
    assert Selection(exclude_ports=(80, 443)).excluded == tuple(sorted({80, *SELF_ENCRYPTED_PORTS}))


def test_all_ports() -> None:
    assert Selection(all_ports=True).excluded == ()
    assert Selection(all_ports=True, exclude_ports=(25,)).excluded == (25,)


def test_a_port_that_is_named_is_meant() -> None:
    assert Selection(ports=(443,)).excluded == ()


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_bad_port(port: int) -> None:
    with pytest.raises(ValueError, match="port"):
        Selection(ports=(port,))
    with pytest.raises(ValueError, match="port"):
        Selection(exclude_ports=(port,))


@pytest.mark.parametrize(
    "name", ["", "a b", "eth0 -j ACCEPT", "eth0\n-F", "-j", "!eth0", "a" * 16, "a/b", "é", "+", 'a"b']
)
def test_bad_interface(name: str) -> None:
    with pytest.raises(ValueError, match="interface"):
        Selection(interfaces=(name,))


def test_too_many() -> None:
    with pytest.raises(ValueError, match="more than"):
        Selection(ports=tuple(range(1, 1000)))


ELSEWHERE: Final[dict[str, Selection]] = {
    "ports": Selection(ports=(80,)),
    "exclude_ports": Selection(exclude_ports=(80,)),
    "all_ports": Selection(all_ports=True),
    "interfaces": Selection(interfaces=("eth0",)),
    "addresses": Selection(addresses=(ip_network("192.0.2.0/24"),)),
    "forward": Selection(forward=("eth1",)),
    "loopback": Selection(loopback=True),
    "require": Selection(require=(ip_network("192.0.2.0/24"),)),
    "require_identity": Selection(require_identity=(ip_network("192.0.2.0/24"),)),
}
"""One that differs from the default in this field alone."""


def test_every_field_has_a_sample() -> None:
    default = Selection()
    for field in fields(Selection):
        differing = [each.name for each in fields(Selection) if _differs(ELSEWHERE[field.name], default, each.name)]
        assert differing == [field.name]


@pytest.mark.parametrize("selection", ELSEWHERE.values(), ids=ELSEWHERE)
def test_every_field_changes_the_rules_of_either_firewall(selection: Selection) -> None:
    queues, marks = QueueNumbers.starting_at(10), MarkScheme()
    assert nft.build(selection, queues, marks) != nft.build(Selection(), queues, marks)
    rules = [iptables.RuleSet.build(each, queues, marks, 4) for each in (selection, Selection())]
    assert rules[0] != rules[1]


@pytest.mark.parametrize("field", ELSEWHERE)
def test_the_daemon_and_the_script_have_an_option_for_every_field(
    field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    value = getattr(ELSEWHERE[field], field)
    option = next(each for each in OPTIONS if each.key in (field, field.removesuffix("s"), field.removesuffix("es")))
    assert getattr(daemon_config(Settings(**{option.key: value})).selection, field) == value
    for words in ([], [f"--{option.name}", *([] if value is True else [str(value[0])])]):
        assert command.main(["--print", "--firewall", "nft", "--workers", "1", *words]) == ExitCode.OK
        sys.stdout.write("--")
    without, given, _ = capsys.readouterr().out.split("--")
    assert without != given


def _differs(one: Selection, other: Selection, field: str) -> bool:
    return bool(getattr(one, field) != getattr(other, field))
