"""Rules of others, as iptables-save prints them, that meet the daemon's marks."""

import pytest

from tcpcryptd.netio.doctor.foreign_marks import comparing, overwriting
from tcpcryptd.netio.marks import MarkScheme

MARKS = MarkScheme()


@pytest.mark.parametrize(
    ("rule", "overwrites"),
    [
        ("-j CONNMARK --set-xmark 0x2/0xffffffff", True),
        ("-j CONNMARK --set-xmark 0x2/0xff", False),
        ("-j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff", True),
        ("-j CONNMARK --save-mark --nfmask 0xff --ctmask 0xff", False),
        ("-j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff", False),
        ("-j MARK --set-xmark 0x2/0xffffffff", False),
        ("-p tcp -j ACCEPT", False),
    ],
)
def test_rules_that_overwrite_our_bits(rule: str, overwrites: bool) -> None:
    assert bool(overwriting([":OUTPUT ACCEPT [0:0]", f"-A OUTPUT {rule}"], MARKS)) == overwrites
    assert not overwriting([f"-A TCPCRYPTD_OUT {rule}"], MARKS)


@pytest.mark.parametrize(
    ("rule", "compares"),
    [
        ("-m connmark --mark 0x2 -j MARK --set-xmark 0x2/0xffffffff", True),
        ("-p tcp -m connmark ! --mark 0x0 -j ACCEPT", True),
        ("-m connmark --mark 0x2/0xff -j ACCEPT", False),
        ("-m connmark --mark 0x2/0xff -m mark --mark 0x1 -j ACCEPT", False),
        ("-m mark --mark 0x1 -j ACCEPT", False),
        ("-j CONNMARK --set-xmark 0x2/0xffffffff", False),
    ],
)
def test_rules_that_compare_our_bits(rule: str, compares: bool) -> None:
    assert bool(comparing([f"-A PREROUTING {rule}"], MARKS)) == compares
