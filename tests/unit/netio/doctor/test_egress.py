"""Rules by owner that the daemon's own packets meet."""

import pytest

from tcpcryptd.netio.doctor.egress import refusing_rule

OWNER = "-A OUTPUT -m owner --uid-owner 0 -j ACCEPT"
NOT_ROOT = "-A OUTPUT -m owner ! --uid-owner 0 -j DROP"
CGROUP = "-A OUTPUT -m cgroup --path a -j ACCEPT"
COMMENTED = '-A users -m owner --uid-owner 0 -m comment --comment "a b" -j ACCEPT'
GROUP = "-A users -m owner --gid-owner 7 -j ACCEPT"
USERS = "-A OUTPUT -j users"
ESTABLISHED = "-A OUTPUT -p tcp -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        ([":OUTPUT DROP [0:0]", OWNER], OWNER),
        ([":OUTPUT ACCEPT [0:0]", OWNER, "-A OUTPUT -j REJECT"], OWNER),
        ([":OUTPUT ACCEPT [0:0]", NOT_ROOT], NOT_ROOT),
        ([":OUTPUT DROP [0:0]", CGROUP], CGROUP),
        ([":OUTPUT DROP [0:0]", ":users - [0:0]", USERS, COMMENTED], COMMENTED.replace('"', "")),
        ([":OUTPUT DROP [0:0]", USERS, "-A users -j users", GROUP], GROUP),
        ([":OUTPUT DROP [0:0]", OWNER, ESTABLISHED], OWNER),
        # Nothing is dropped, nothing looks at the owner, or established connections pass before.
        ([":OUTPUT ACCEPT [0:0]", OWNER], None),
        ([":OUTPUT DROP [0:0]", "-A OUTPUT -p tcp -j ACCEPT"], None),
        ([":OUTPUT DROP [0:0]", ESTABLISHED, OWNER], None),
        ([":OUTPUT DROP [0:0]", "-A OUTPUT -j first", "-A first -m state --state ESTABLISHED -j ACCEPT", OWNER], None),
        ([":INPUT DROP [0:0]", ":OUTPUT ACCEPT [0:0]", "-A INPUT -m owner --uid-owner 0 -j DROP"], None),
        ([], None),
    ],
)
def test_the_rule_that_stands_in_the_way(rules: list[str], named: str | None) -> None:
    assert refusing_rule(["# a comment", "*filter", *rules, "COMMIT"]) == named
