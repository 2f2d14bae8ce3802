import logging
from collections.abc import Iterator

import pytest

from tcpcryptd.netio.kernel import interfaces
from tcpcryptd.netio.kernel.interfaces import Link


def test_vrf_devices_that_rules_cannot_name(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["red", "re+", "!red", 'a"b', "blue"]
    kind = {18: b"\x08\0\x01\0vrf\0"}

    def links() -> Iterator[Link]:
        return iter([*(Link(name, True, kind) for name in names), Link("eth0", True, {})])

    said: list[object] = []
    monkeypatch.setattr(interfaces, "links", links)
    monkeypatch.setattr(logging.getLogger(interfaces.__name__), "warning", lambda form, *words: said.extend(words))
    assert interfaces.vrf_names() == interfaces.vrf_names() == ("blue", "red")
    assert said == ["!red", 'a"b', "re+"]
