"""Answers of nf_tables about flowtables (linux/netfilter/nf_tables.h)."""

import errno

import pytest

from tcpcryptd.netio.kernel import netlink
from tcpcryptd.netio.kernel.flowtables import flowtables


def test_names(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = bytes(4) + netlink.attribute(1, b"filter\0") + netlink.attribute(2, b"fast\0")
    monkeypatch.setattr(netlink, "transact", lambda *_: [answer, b""])
    assert flowtables() == ["filter fast", " "]


def test_a_kernel_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_protocol: int, request: bytes) -> list[bytes]:
        assert request[4:6] == b"\x17\x0a"
        raise OSError(errno.EINVAL, "no nf_tables")

    monkeypatch.setattr(netlink, "transact", refuse)
    assert flowtables() == []
