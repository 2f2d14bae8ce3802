"""The daemon under a service manager: sd_notify, watchdog, reload on SIGHUP."""

import os
import select
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import MARKER, Host, Network, dialogue, exchange
from tests.e2e.harness.daemon import Daemon
from tests.e2e.harness.process import wait_until

WATCHDOG_SECONDS = 0.4


class Manager:
    """Listens as systemd does."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        path.chmod(0o777)

    def wrapper(self) -> list[str]:
        """A command that runs the daemon as the manager would."""
        return ["env", f"NOTIFY_SOCKET={self.address}", f"WATCHDOG_USEC={int(WATCHDOG_SECONDS * 1e6)}"]

    def next(self, seconds: float = 10.0) -> str | None:
        """The next message; None when there is none in time."""
        if not select.select([self._socket], [], [], seconds)[0]:
            return None
        return self._socket.recv(4096).decode()

    def wait_for(self, start: str) -> str:
        """The next message that begins like that."""
        found: list[str] = []

        def arrived() -> bool:
            message = self.next()
            found.append(message or "")
            return found[-1].startswith(start)

        wait_until(arrived, f"{start} is said")
        return found[-1]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(directory: Path) -> Iterator[Manager]:
    made = Manager(directory / "notify")
    yield made
    made.close()


def hang_up(daemon: Daemon) -> None:
    """Returns when the configuration was read again."""
    before = daemon.log().count("configuration read again")
    os.kill(daemon.pid, signal.SIGHUP)
    wait_until(lambda: daemon.log().count("configuration read again") > before, "the configuration is read again")


def test_ready_when_at_work_and_stopping_when_not(host: Host, manager: Manager) -> None:
    daemon = host.launch_wrapped_daemon(manager.wrapper())
    assert "STATUS=running as" in manager.wait_for("READY=1")
    assert host.daemon_answers()
    assert host.diverts()
    daemon.stop()
    manager.wait_for("STOPPING=1")


def test_the_watchdog_is_kept_content_by_the_loop_alone(host: Host, manager: Manager) -> None:
    daemon = host.start_wrapped_daemon(manager.wrapper())
    manager.wait_for("READY=1")
    for _ in range(4):
        assert manager.next(WATCHDOG_SECONDS) == "WATCHDOG=1"
    os.kill(daemon.pid, signal.SIGSTOP)
    wait_until(lambda: manager.next(2 * WATCHDOG_SECONDS) is None, "the watchdog hears nothing of a stopped daemon")
    os.kill(daemon.pid, signal.SIGCONT)
    assert manager.next() == "WATCHDOG=1"


def test_a_start_that_fails_is_never_ready(host: Host, manager: Manager) -> None:
    daemon = host.launch_wrapped_daemon(manager.wrapper(), "--user", "root")
    assert daemon.wait() == 2
    assert manager.next(0.0) is None


def test_reload_is_told_and_changes_what_is_required(network: Network, manager: Manager, directory: Path) -> None:
    file = directory / "tcpcryptd.toml"
    file.write_text("")
    daemon = network.client.start_wrapped_daemon(manager.wrapper(), "--config", str(file))
    manager.wait_for("READY=1")
    with dialogue(network) as client:
        assert exchange(client, MARKER) == MARKER
    file.write_text(f'require = ["{network.server.ipv4}"]\nport = [80]\n')
    hang_up(daemon)
    manager.wait_for("RELOADING=1\nMONOTONIC_USEC=")
    assert "STATUS=running as" in manager.wait_for("READY=1")
    assert "needs a restart: port" in daemon.log()
    with network.server.listen(0) as listener, pytest.raises(OSError, match=r"refused|reset|timed out"):
        network.client.connect(network.server.ipv4, listener.getsockname()[1]).close()


def test_reload_chooses_suites_of_new_connections(network: Network, directory: Path) -> None:
    file = directory / "tcpcryptd.toml"
    file.write_text("")
    daemon = network.client.start_daemon("--config", str(file))
    network.server.start_daemon()
    suites = []
    for _ in range(2):
        with dialogue(network) as client:
            assert exchange(client, MARKER) == MARKER
            port = client.getsockname()[1]
            (row,) = (row for row in network.client.report() if row["local"]["port"] == port)
            suites.append(row["suite"])
            file.write_text('suites = ["RSA-2048", "AES128-CTR-SEQIV/HMAC-SHA1"]')
            hang_up(daemon)
            # What is open goes on with its keys.
            assert exchange(client, MARKER) == MARKER
    assert suites == ["MLKEM768-X25519-HPKE/AES-SIV-CMAC-256", "RSA-2048/AES128-CTR-SEQIV/HMAC-SHA1"]


def test_a_wrong_file_changes_nothing(host: Host, directory: Path) -> None:
    file = directory / "tcpcryptd.toml"
    file.write_text("")
    daemon = host.start_daemon("--config", str(file))
    file.write_text("prot = 1")
    os.kill(daemon.pid, signal.SIGHUP)
    wait_until(lambda: "all settings stay as they were" in daemon.log(), "the error is logged")
    assert host.daemon_answers()
