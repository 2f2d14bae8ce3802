"""A start that fails while rules of an earlier daemon hold back what it encrypted."""

from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tcpcryptd.netio import daemon
from tcpcryptd.netio.daemon import Daemon
from tcpcryptd.netio.errors import FirewallError
from tcpcryptd.netio.firewall import choice
from tcpcryptd.netio.firewall.selection import Selection
from tcpcryptd.netio.marks import MarkScheme


@pytest.mark.parametrize("failing", ["install", "relax"])
def test_what_an_earlier_daemon_encrypted_is_ended_before_its_rules_go(
    failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def step(name: str) -> Any:
        def call(*_: object, **__: object) -> None:
            done.append(name)
            if name == failing:
                raise FirewallError("refused")

        return call

    rules = SimpleNamespace(name="nft", remove=step("remove"))
    tracking = SimpleNamespace(relax=step("relax"), restore=step("restore"))
    earlier = SimpleNamespace(check=step("forwarded"))
    for name, value in (
        ("ConntrackSettings", lambda *_, **__: tracking),
        ("ForwardedConnections", lambda *_: earlier),
        ("end_encrypted_sockets", step("end sockets")),
    ):
        monkeypatch.setattr(daemon, name, value)
    for name, value in (
        ("choose", lambda *_: rules),
        ("stale", lambda *_: True),
        ("install", step("install")),
    ):
        monkeypatch.setattr(choice, name, value)
    config = SimpleNamespace(firewall="nft", firewalls=dict, state_file=None, selection=Selection(), marks=MarkScheme())
    packets = SimpleNamespace(stop=step("reset"), relieve=step("relieve"))
    subject = Daemon(cast(Any, packets), cast(Any, config), None)
    with pytest.raises(FirewallError), ExitStack() as stack:
        subject._divert(stack)
    expected = ["install", *(["relax"] if failing == "relax" else [])]
    assert done == [*expected, "forwarded", "reset", "end sockets", "remove", "restore"]
