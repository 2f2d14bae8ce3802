"""Start, stop, death and privileges of the daemon."""

import contextlib
import signal
import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.harness import (
    BOTH_PROTOCOLS,
    MARKER,
    Host,
    Network,
    dialogue,
    exchange,
    same_session,
    wait_until,
)
from tests.e2e.harness.daemon import entry_point
from tests.e2e.harness.traffic import ENDED_HERE, noting_end
from tests.e2e.harness.users import NOBODY

LIBERAL = "net.netfilter.nf_conntrack_tcp_be_liberal"
CAP_NET_ADMIN = 12
CAP_NET_RAW = 13
THREAD_SECONDS = 5.0


class Transfer:
    """Marker text sent without end in a thread; what came out at the other side."""

    def __init__(self, client: socket.socket, received: bytearray) -> None:
        self._client = client
        self.received = received
        self.errors: list[OSError] = []
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def _send(self) -> None:
        try:
            while True:
                self._client.sendall(MARKER * 1000)
        except OSError as error:
            self.errors.append(error)

    def stop(self) -> None:
        """Ends the sending thread, whatever has become of the connection."""
        with contextlib.suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)
        self._thread.join(THREAD_SECONDS)

    def wait_moving(self) -> None:
        start = len(self.received)
        wait_until(lambda: len(self.received) > start + 1_000_000, "a megabyte more has arrived")

    def arrived_unchanged(self) -> bool:
        data = bytes(self.received)
        return data == (MARKER * (len(data) // len(MARKER) + 1))[: len(data)]


@pytest.fixture
def transfer(encrypted: Network) -> Iterator[Transfer]:
    """A transfer from client to server that is under way, encrypted."""
    received = bytearray()

    def collect(connection: socket.socket) -> None:
        while data := connection.recv(65536):
            received.extend(data)

    with dialogue(encrypted, collect) as client:
        same_session(encrypted, client)
        running = Transfer(client, received)
        running.wait_moving()
        yield running
        running.stop()


def stalled(host: Host) -> bool:
    """True when the kernel has tried again in vain to send what the connection's other side has not acknowledged."""
    return "backoff:" in host.run(["ss", "-Htni", "state", "established"]).stdout


@BOTH_PROTOCOLS
def test_killed_daemon_of_the_sender_leaks_nothing(encrypted: Network, transfer: Transfer) -> None:
    capture = encrypted.client.capture()
    encrypted.client.daemons[0].kill()
    wait_until(lambda: stalled(encrypted.client), "the kernel has retransmitted")
    after = encrypted.client.capture()
    with dialogue(encrypted) as new:
        assert exchange(new, b"new connections work") == b"new connections work"
    after.stop()
    assert not capture.stop().contains(MARKER)
    assert after.contains(b"new connections work")
    assert not after.contains(MARKER)
    assert transfer.arrived_unchanged()


@BOTH_PROTOCOLS
def test_killed_daemon_of_the_receiver_lets_nothing_in(encrypted: Network, transfer: Transfer) -> None:
    encrypted.server.daemons[0].kill()
    wait_until(lambda: stalled(encrypted.client), "the kernel has retransmitted")
    assert transfer.arrived_unchanged()
    with dialogue(encrypted) as new:
        assert exchange(new, b"new connections work") == b"new connections work"
    assert transfer.arrived_unchanged()


@BOTH_PROTOCOLS
@pytest.mark.parametrize("side", ["client", "server"])
def test_start_after_kill_resets_old_connections(encrypted: Network, transfer: Transfer, side: str) -> None:
    host = encrypted.client if side == "client" else encrypted.server
    capture = encrypted.client.capture()
    host.daemons[0].kill()
    host.start_daemon()
    wait_until(lambda: transfer.errors, "the sender sees the reset", 30)
    assert isinstance(transfer.errors[0], ConnectionError)
    with dialogue(encrypted) as new:
        assert exchange(new, MARKER) == MARKER
        same_session(encrypted, new)
    assert not capture.stop().contains(MARKER)
    assert transfer.arrived_unchanged()


@BOTH_PROTOCOLS
@pytest.mark.parametrize("side", ["client", "server"])
def test_orderly_stop_resets_encrypted_connections(encrypted: Network, transfer: Transfer, side: str) -> None:
    host = encrypted.client if side == "client" else encrypted.server
    capture = encrypted.client.capture()
    assert host.daemons[0].stop() == 0
    wait_until(lambda: transfer.errors, "the sender sees the reset")
    assert isinstance(transfer.errors[0], ConnectionError)
    assert not capture.stop().contains(MARKER)
    assert transfer.arrived_unchanged()


@BOTH_PROTOCOLS
def test_orderly_stop_resets_both_ends(encrypted: Network) -> None:
    outcome: list[type[OSError] | bytes] = []
    with dialogue(encrypted, noting_end(outcome)) as client:
        same_session(encrypted, client)
        assert encrypted.client.daemons[0].stop() == 0
        with pytest.raises(ENDED_HERE):
            client.recv(1)
        wait_until(lambda: outcome, "the server sees the end")
    assert outcome == [ConnectionResetError]


@pytest.mark.parametrize("liberal", [0, 1])
@pytest.mark.parametrize("death", ["stop", "kill and clean up", "kill, start and stop"])
def test_rules_and_settings_are_as_before(network: Network, liberal: int, death: str) -> None:
    host = network.client
    host.run(["iptables", "-A", "INPUT", "-p", "udp", "--dport", "1", "-j", "DROP"])
    host.run(["iptables", "-t", "mangle", "-A", "OUTPUT", "-p", "udp", "--dport", "1", "-j", "MARK", "--set-mark", "7"])
    host.run(["ip6tables", "-t", "mangle", "-A", "PREROUTING", "-p", "udp", "--dport", "1", "-j", "ACCEPT"])
    host.namespace.sysctl(LIBERAL, liberal)
    before = host.rules()
    daemon = host.start_daemon()
    assert host.diverts()
    assert host.namespace.sysctl(LIBERAL) == 1
    if death != "stop":
        daemon.kill()
        assert host.diverts()
    if death == "kill and clean up":
        host.run([*entry_point("tcpcryptd"), "--cleanup"])
    else:
        last = daemon if death == "stop" else host.start_daemon()
        assert last.stop() == 0
    assert host.rules() == before
    assert host.namespace.sysctl(LIBERAL) == liberal
    assert not host.daemon_answers()


def test_privileges(network: Network) -> None:
    daemon = network.client.start_daemon()
    allowed = 1 << CAP_NET_ADMIN | 1 << CAP_NET_RAW
    status = daemon.status()
    assert int(status["CapEff"], 16) == allowed
    # Every thread: capabilities and user belong to threads.
    for task in Path(f"/proc/{daemon.pid}/task").iterdir():
        fields = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)
        assert "0" not in fields["Uid"].split() + fields["Gid"].split() + fields["Groups"].split()
        for name in ("CapEff", "CapPrm", "CapInh"):
            assert int(fields[name], 16) & ~allowed == 0, name


def test_interrupt_is_an_orderly_stop(network: Network) -> None:
    before = network.client.rules()
    assert network.client.start_daemon().stop(signal.SIGINT) == 0
    assert network.client.rules() == before


def logged(host: Host, text: str) -> bool:
    return text in host.daemons[0].log()


@BOTH_PROTOCOLS
def test_log_names_sessions_and_no_keys(encrypted: Network) -> None:
    with dialogue(encrypted) as client:
        session = same_session(encrypted, client)
    for host in encrypted.hosts():
        wait_until(partial(logged, host, session), "the session is in the log")
        lines = [line for line in host.daemons[0].log().splitlines() if session in line]
        assert len(lines) == 1
        assert encrypted.client.ipv4 in lines[0]
        assert encrypted.server.ipv4 in lines[0]


def test_second_daemon(network: Network) -> None:
    first = network.client.start_daemon()
    rules = network.client.rules()
    for options in ([], ["--queue", "200"], ["--queue", "200", "--no-firewall"]):
        second = network.client.launch_daemon(*options)
        assert second.wait() == 5
        assert "already" in second.log() or "taken" in second.log()
    assert first.running()
    assert network.client.daemon_answers()
    assert network.client.rules() == rules


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["--port", "nonsense"], 2),
        (["--port", "65536"], 2),
        (["--no-such-option"], 2),
        (["--config", "/nonexistent.toml"], 2),
        (["--user", "no-such-user"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_exit_codes(host: Host, options: list[str], code: int) -> None:
    before = host.rules()
    done = host.run([*entry_point("tcpcryptd"), *options], check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert host.rules() == before


def test_not_root(host: Host) -> None:
    done = host.run([*NOBODY, *entry_point("tcpcryptd")], check=False)
    assert done.returncode == 3, done.stderr
    assert "root" in done.stderr
    assert "Traceback" not in done.stderr


def test_configuration_file(network: Network, directory: Path) -> None:
    (directory / "tcpcryptd.toml").write_text("exclude-port = [7000]\n")
    network.client.start_daemon("--config", str(directory / "tcpcryptd.toml"))
    network.server.start_daemon()
    with dialogue(network, port=7000) as excluded, dialogue(network, port=7001) as other:
        assert exchange(excluded, MARKER) == exchange(other, MARKER)
        same_session(network, other)
        assert len(network.client.sessions()) == 1


def test_tcnetstat_without_daemon(host: Host) -> None:
    for options in ([], ["--json"]):
        done = host.tcnetstat(*options, check=False)
        assert done.returncode == 3
        assert "not running" in done.stderr
        assert done.stdout == ""


def test_tcnetstat_of_other_users(encrypted: Network) -> None:
    with dialogue(encrypted) as client:
        same_session(encrypted, client)
        done = encrypted.client.run([*NOBODY, *entry_point("tcnetstat"), "--json"])
        assert done.stdout.strip() == "[]"
