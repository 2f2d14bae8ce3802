"""What the doctor says of kernels and limits that no namespace can have for itself."""

import errno
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tcpcryptd.netio.daemon import DaemonConfig
from tcpcryptd.netio.doctor import examine, kernel
from tcpcryptd.netio.doctor.finding import AS_ROOT, Finding, Severity
from tcpcryptd.netio.kernel import capabilities
from tcpcryptd.netio.packets.queue import SOCKET_BUFFER

Patch = pytest.MonkeyPatch


def only(findings: Iterator[Finding], subject: str) -> Finding:
    (found,) = [finding for finding in findings if finding.subject == subject]
    return found


def settings(directory: Path, **values: int) -> Path:
    for name, value in values.items():
        (directory / f"nf_conntrack_{name}").write_text(f"{value}\n", encoding="ascii")
    return directory


def test_capabilities(monkeypatch: Patch) -> None:
    monkeypatch.setattr(capabilities, "effective", lambda: (1 << 41) - 1)
    assert only(kernel.check_capabilities(), "capabilities").severity is Severity.OK
    monkeypatch.setattr(capabilities, "effective", lambda: (1 << 41) - 1 & ~(1 << 12) & ~(1 << 8))
    found = only(kernel.check_capabilities(), "capabilities")
    assert found.severity is Severity.PROBLEM
    assert found.text == "missing: CAP_NET_ADMIN, CAP_SETPCAP"
    assert "root" in found.advice


@pytest.mark.parametrize(("allowed", "severity"), [(True, Severity.OK), (False, Severity.WARNING)])
def test_locked_memory(monkeypatch: Patch, allowed: bool, severity: Severity) -> None:
    monkeypatch.setattr(kernel, "can_lock_memory", lambda: allowed)
    found = only(kernel.check_capabilities(), "locked memory")
    assert found.severity is severity
    assert ("LimitMEMLOCK=infinity" in found.advice) == (not allowed)


@pytest.mark.parametrize(("allowed", "advice"), [(True, "modprobe nfnetlink_queue"), (False, AS_ROOT)])
def test_a_kernel_without_nfqueue(monkeypatch: Patch, tmp_path: Path, allowed: bool, advice: str) -> None:
    monkeypatch.setattr(kernel, "QUEUES_FILE", tmp_path / "nfnetlink_queue")
    monkeypatch.setattr(capabilities, "has_network_capabilities", lambda: allowed)
    (found,) = kernel.check_queue()
    assert found.severity is Severity.PROBLEM
    assert advice in found.advice


class FakeProbe:
    """A socket that may not go beyond the system's limit, and gets less than it asks for."""

    def __init__(self, *_: int) -> None:
        self.buffer = 0

    def __enter__(self) -> "FakeProbe":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def send(self, message: bytes) -> int:
        return len(message)

    def setsockopt(self, _level: int, option: int, value: int) -> None:
        if option != socket.SO_RCVBUF:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        self.buffer = 2 * min(value, 212_992)

    def getsockopt(self, _level: int, _option: int) -> int:
        return self.buffer


def test_small_buffers(monkeypatch: Patch, tmp_path: Path) -> None:
    (tmp_path / "nfnetlink_queue").touch()
    monkeypatch.setattr(kernel, "QUEUES_FILE", tmp_path / "nfnetlink_queue")
    monkeypatch.setattr(socket, "socket", FakeProbe)
    found = only(kernel.check_queue(), "buffers")
    assert found.severity is Severity.WARNING
    assert "gets 212992 bytes" in found.text
    assert f"net.core.rmem_max={SOCKET_BUFFER}" in found.advice


def test_connection_tracking_that_is_not_loaded(monkeypatch: Patch, tmp_path: Path) -> None:
    monkeypatch.setattr(kernel, "SETTINGS_DIRECTORY", tmp_path)
    (found,) = kernel.check_tracking(running=False)
    assert (found.severity, found.advice) == (Severity.WARNING, "modprobe nf_conntrack")


def test_a_table_of_connections_that_is_nearly_full(monkeypatch: Patch, tmp_path: Path) -> None:
    monkeypatch.setattr(kernel, "SETTINGS_DIRECTORY", settings(tmp_path, tcp_be_liberal=1, count=890, max=1000))
    assert [found.severity for found in kernel.check_tracking(running=True)] == [Severity.OK]
    settings(tmp_path, count=950)
    found = only(kernel.check_tracking(running=True), "conntrack table")
    assert found.severity is Severity.WARNING
    assert "950 of 1000" in found.text
    assert found.advice == "sysctl -w net.netfilter.nf_conntrack_max=2000"


def refused() -> bool:
    raise PermissionError(errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize(
    ("ask", "severity", "advice"),
    [
        (lambda: True, Severity.OK, ""),
        (lambda: False, Severity.WARNING, "CONFIG_INET_DIAG_DESTROY"),
        (refused, Severity.WARNING, "run it as root"),
    ],
)
def test_ending_sockets(monkeypatch: Patch, ask: Callable[[], bool], severity: Severity, advice: str) -> None:
    monkeypatch.setattr(kernel, "can_destroy", ask)
    (found,) = kernel.check_sockets()
    assert found.severity is severity
    assert advice in found.advice


def test_who_is_not_root_is_told_first(monkeypatch: Patch, tmp_path: Path) -> None:
    """And not to install what is there."""
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    monkeypatch.setattr(subprocess, "run", not_allowed)
    findings = list(examine(DaemonConfig(), tmp_path / "control.sock", None))
    assert (findings[0].subject, findings[0].severity) == ("root", Severity.PROBLEM)
    assert not [finding for finding in findings if "install" in finding.advice]


def not_allowed(*_: object, **__: object) -> None:
    raise PermissionError(errno.EPERM, "Operation not permitted")
