"""Host identities between daemons: keys and lists of OpenSSH's, who is refused, and what people see."""

import errno
import os
import shutil
import signal
import socket
from pathlib import Path

import pytest

from tcpcryptd import sockopt
from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.flow_key import flow_key
from tcpcryptd.crypt.option import HELLO, encode
from tcpcryptd.wire.segment import ACK, SYN, make
from tcpcryptd.wire.sequence import add
from tests.e2e.harness import MARKER, Network, dialogue, echo_server, exchange, same_session, serve, wait_until
from tests.e2e.harness.api import At
from tests.e2e.harness.daemon import Daemon, entry_point
from tests.e2e.harness.host import Host
from tests.machine.link import view

needs_ssh_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen (openssh-client)")
RELOADED = "configuration read again"
ALL = ("--require-identity", "0.0.0.0/0", "--require-identity", "::/0")
DATA = MARKER * 5_000


class Fleet:
    """Two hosts with a key each, and one list of both keys."""

    def __init__(self, network: Network, directory: Path, protocol: str, gateway: Host | None = None) -> None:
        """`gateway`: in the client's place, on behalf of it."""
        self.network = network
        self.protocol = protocol
        self.peers = directory / "known_hosts"
        self.keys = {name: self.keygen(directory / f"{name}.key") for name in ("client", "server", "mallory")}
        self.hosts = {"client": gateway or network.client, "server": network.server}
        self.addresses = {name: f"{host.ipv4},{host.ipv6}" for name, host in self.hosts.items()}
        self.daemons: dict[str, Daemon] = {}
        self.believe(client="client", server="server")

    def keygen(self, path: Path) -> Path:
        self_made = self.network.client.run([*entry_point("tcpcryptd"), "keygen", str(path)])
        assert "SHA256:" in self_made.stdout
        assert path.stat().st_mode & 0o777 == 0o600
        return path

    def believe(self, **keys: str) -> None:
        lines = []
        for name, key in keys.items():
            public = Path(f"{self.keys[key]}.pub").read_text().strip()
            lines.append(f"{name},{self.addresses[name]} {public}\n")
        self.peers.write_text("".join(lines))
        self.peers.chmod(0o644)

    def start(self, name: str, *options: str, key: str | None = None) -> None:
        identity = ("--identity", str(self.keys[key or name]))
        peers = ("--peers", str(self.peers))
        self.daemons[name] = self.hosts[name].start_daemon("--protocol", self.protocol, *identity, *peers, *options)

    def log(self, name: str) -> str:
        return self.daemons[name].log()

    def reload(self, name: str) -> None:
        """Returns when it is done."""
        before = self.log(name).count(RELOADED)
        os.kill(self.daemons[name].pid, signal.SIGHUP)
        wait_until(lambda: self.log(name).count(RELOADED) > before, "the reload")

    def fingerprint(self, key: str) -> str:
        return self.network.client.run(["ssh-keygen", "-l", "-f", f"{self.keys[key]}.pub"]).stdout.split()[1]


@pytest.fixture(params=["eno", "crypt"])
def fleet(network: Network, directory: Path, request: pytest.FixtureRequest) -> Fleet:
    return Fleet(network, directory, request.param)


one_protocol = pytest.mark.parametrize("fleet", ["crypt"], indirect=True)
"""For what does not depend on it."""


@needs_ssh_keygen
@pytest.mark.parametrize("workers", ["1", "2"])
def test_two_hosts_that_know_each_other(fleet: Fleet, workers: str) -> None:
    for name in fleet.hosts:
        fleet.start(name, *ALL, "--workers", workers)
    capture = fleet.network.client.capture()
    for resumed in (False, True):
        with dialogue(fleet.network, echo_server) as client:
            assert exchange(client, DATA) == DATA
            session = same_session(fleet.network, client)
            for name, other in (("client", "server"), ("server", "client")):
                (row,) = [row for row in fleet.hosts[name].report() if row["session_id"] == session]
                assert row["resumed"] is resumed
                expected = {"outcome": "authenticated", "name": other, "key": fleet.fingerprint(other), "reason": None}
                assert row["peer"] == expected
                long = fleet.hosts[name].tcnetstat("--long").stdout
                assert f"{other}   {fleet.fingerprint(other)}" in long
    assert not capture.stop().contains(MARKER)
    wait_until(lambda: "authenticated: server" in fleet.log("client"), "the log says so")
    metrics = fleet.network.client.tcnetstat("--metrics").stdout
    assert 'tcpcryptd_identities_total{outcome="authenticated"} 2' in metrics


@needs_ssh_keygen
@pytest.mark.parametrize("speaks_first", ["client", "server"])
def test_what_applications_require(fleet: Fleet, at: At, speaks_first: str) -> None:
    """Before they send a byte, by name or by fingerprint; the server before the client has sent one, too."""
    for name in fleet.hosts:
        fleet.start(name)
    network = fleet.network
    for resumed in (False, True):
        with (
            network.server.listen(0) as listener,
            network.client.connect(network.server.ipv4, listener.getsockname()[1]) as ours,
        ):
            theirs, _ = listener.accept()
            with theirs:
                ends = {"client": (ours, "server"), "server": (theirs, "client")}
                if speaks_first == "client":
                    ours.sendall(MARKER)
                    assert theirs.recv(100) == MARKER
                for name, (sock, other) in ends.items():
                    at(fleet.hosts[name])
                    for wanted in (other, fleet.fingerprint(other)):
                        known = sockopt.require(sock, identity=wanted)
                        assert (known.peer_identity, known.peer_key) == (other, fleet.fingerprint(other))
                        assert known.resumed is resumed
                    for wrong in ("mallory", fleet.fingerprint("mallory"), name):
                        with pytest.raises(sockopt.NotAuthenticated, match=f"it is {other}, not "):
                            sockopt.require(sock, identity=wrong)
                theirs.sendall(MARKER)
                assert ours.recv(100) == MARKER


@pytest.mark.parametrize("server", ["no identity", "unknown", "no daemon"])
def test_applications_that_require_somebody_who_proves_nothing(fleet: Fleet, at: At, server: str) -> None:
    if server == "no identity":
        fleet.network.server.start_daemon("--protocol", fleet.protocol)
    elif server == "unknown":
        fleet.believe(client="client")
        fleet.start("server")
    fleet.start("client")
    with dialogue(fleet.network, echo_server) as client:
        assert exchange(client, DATA) == DATA
        at(fleet.hosts["client"])
        expected = {
            "no identity": (sockopt.NotAuthenticated, "has not proved who it is"),
            "unknown": (sockopt.NotAuthenticated, "is not known for"),
            "no daemon": (sockopt.NotEncrypted, "the peer"),
        }
        error, reason = expected[server]
        with pytest.raises(error, match=reason):
            sockopt.require(client, identity="server")


def fails(network: Network) -> int:
    """Connects to an echo server; the error that the client gets, before any byte of data comes back."""
    with pytest.raises(OSError) as raised, dialogue(network) as client:  # noqa: PT011, PT012
        client.settimeout(60)
        client.sendall(MARKER)
        if not client.recv(1):
            raise ConnectionResetError(errno.ECONNRESET, "end of file")
    return raised.value.errno or 0


@pytest.mark.parametrize("options", [(), ALL])
def test_a_daemon_in_the_servers_place_is_refused(fleet: Fleet, options: tuple[str, ...]) -> None:
    """It has a key of its own, and answers with it."""
    fleet.start("client", *options)
    fleet.start("server", key="mallory")
    capture = fleet.network.server.capture()
    assert fails(fleet.network) == errno.ECONNRESET
    assert not capture.stop().contains(MARKER)
    wait_until(lambda: "refused: the peer's key is SHA256:" in fleet.log("client"), "the log says so")


@one_protocol
def test_a_client_that_does_not_hear_that_it_is_refused(fleet: Fleet) -> None:
    """It sends its SYN again and again, without an offer, and never gets through."""
    fleet.start("server", *ALL)
    fleet.network.client.run(["iptables", "-A", "INPUT", "-p", "tcp", "--tcp-flags", "RST", "RST", "-j", "DROP"])
    server = fleet.network.server
    with serve(server.listen(0), echo_server) as port, pytest.raises(TimeoutError):
        fleet.network.client.connect(server.ipv4, port, seconds=5)
    wait_until(lambda: fleet.log("server").count("refused: ") > 1, "its SYN has come again")


@one_protocol
def test_a_segment_that_is_too_large_to_be_handled(fleet: Fleet) -> None:
    """A packet of 65,535 bytes, which comes in fragments, is longer than what a queue hands over."""
    fleet.start("server", *ALL)
    client, server = fleet.network.client, fleet.network.server
    # Its kernel does not know of the connection.
    client.run(["iptables", "-A", "OUTPUT", "-p", "tcp", "--tcp-flags", "RST", "RST", "-j", "DROP"])
    with client.namespace.entered():
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
    received = bytearray()

    def keep(connection: socket.socket) -> None:
        while data := connection.recv(100_000):
            received.extend(data)

    with raw, serve(server.listen(0), keep) as port:
        raw.settimeout(20)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        key = flow_key(Endpoint(client.ipv4, 40_000), Endpoint(server.ipv4, port))

        def send(sequence: int, acknowledgment: int, flags: int, area: bytes = b"", payload: bytes = b"") -> None:
            numbers = {"sequence": sequence, "acknowledgment": acknowledgment}
            packet = make(key, **numbers, flags=flags, window=60_000, option_area=area, payload=payload)
            raw.sendto(packet[20:], (server.ipv4, 0))

        send(1, 0, SYN, encode(HELLO) + bytes(2))
        while (answer := view(raw.recv(65_535))).flags != SYN | ACK:
            pass
        send(2, add(answer.sequence, 1), ACK, payload=bytes(65_495))
        wait_until(lambda: truncated(server), "the daemon has its beginning")
        send(2, add(answer.sequence, 1), ACK, payload=b"x")
        wait_until(lambda: "refused: " in fleet.log("server"), "it is refused")
        assert not received


def truncated(host: Host) -> bool:
    """Whether the daemon was given a part of a packet."""
    return 'tcpcryptd_queue_errors_total{reason="truncated"} 0' not in host.tcnetstat("--metrics").stdout


@pytest.mark.parametrize("peer", ["no daemon", "no identity", "the other protocol"])
def test_a_server_that_requires_an_identity(fleet: Fleet, peer: str) -> None:
    fleet.start("server", *ALL)
    other = "eno" if fleet.protocol == "crypt" else "crypt"
    if peer == "no identity":
        fleet.network.client.start_daemon("--protocol", fleet.protocol)
    elif peer == "the other protocol":
        fleet.network.client.start_daemon("--protocol", other)
    assert fails(fleet.network) in (errno.ECONNREFUSED, errno.ECONNRESET)
    wait_until(lambda: "refused: " in fleet.log("server"), "the log says so")
    assert all(row["state"] != "encrypted" for row in fleet.network.server.report("--all"))


def test_a_client_that_requires_an_identity(fleet: Fleet) -> None:
    fleet.start("client", *ALL)
    capture = fleet.network.server.capture()
    assert fails(fleet.network) in (errno.ECONNREFUSED, errno.ECONNRESET, errno.ETIMEDOUT)
    assert not capture.stop().contains(MARKER)


@one_protocol
@pytest.mark.parametrize("requiring", ["client", "server"])
def test_a_connection_from_before_the_first_start(fleet: Fleet, requiring: str) -> None:
    """It could as well be one whose handshake was open when an earlier daemon ended."""
    with dialogue(fleet.network, echo_server) as old:
        assert exchange(old, b"before") == b"before"
        fleet.start(requiring, *ALL)
        capture = fleet.hosts[requiring].capture()
        old.settimeout(60)
        with pytest.raises(ConnectionResetError):
            exchange(old, MARKER)
        capture.stop()
        assert requiring == "server" or not capture.contains(MARKER)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_host_that_is_believed_no_more(fleet: Fleet, workers: str) -> None:
    """Its open connections end with the reload, and new ones do not come about."""
    for name in fleet.hosts:
        fleet.start(name, "--workers", workers)
    with dialogue(fleet.network, echo_server) as client:
        assert exchange(client, DATA) == DATA
        fleet.reload("client")
        assert exchange(client, DATA) == DATA
        fleet.believe(client="client", server="mallory")
        fleet.reload("client")
        client.settimeout(60)
        with pytest.raises(ConnectionResetError):
            assert client.recv(1)
    assert fails(fleet.network) == errno.ECONNRESET
    fleet.believe(client="client", server="server")
    fleet.reload("client")
    with dialogue(fleet.network, echo_server) as client:
        assert exchange(client, DATA) == DATA


@pytest.mark.parametrize("workers", ["1", "2"])
def test_first_use(fleet: Fleet, directory: Path, workers: str) -> None:
    """The key is remembered, also for the next run, and another one later is an alarm."""
    state = directory / "state"
    options = ("--first-use", "--state-directory", str(state), "--workers", workers)
    fleet.peers.write_text("")
    fleet.start("client", *options)
    fleet.start("server")
    for outcome in ("first_use", "authenticated"):
        with dialogue(fleet.network, echo_server) as client:
            assert exchange(client, DATA) == DATA
            session = same_session(fleet.network, client)
            (row,) = [row for row in fleet.network.client.report() if row["session_id"] == session]
            assert row["peer"]["outcome"] == outcome
        # A resumed session would show nothing of what is looked up.
        fleet.network.client.run([*entry_point("tcpcryptd"), "--flush-cache"])
    kept = state / "known_hosts"
    wait_until(lambda: kept.exists() and fleet.network.server.ipv4 in kept.read_text(), "it is written down")
    assert kept.stat().st_uid == state.stat().st_uid == Path(f"/proc/{fleet.daemons['client'].pid}").stat().st_uid
    for name in fleet.hosts:
        fleet.daemons[name].stop()
    fleet.start("client", *options)
    fleet.start("server", key="mallory")
    assert fails(fleet.network) == errno.ECONNRESET
    wait_until(lambda: "when it was first seen" in fleet.log("client"), "the log says so")


@one_protocol
def test_malformed_lines_are_named(fleet: Fleet) -> None:
    with fleet.peers.open("a") as file:
        file.write("# a comment\n192.0.2.1 ssh-ed25519 AAAA\n")
    fleet.start("client")
    log = fleet.log("client")
    assert log.count("is ignored") == 1
    assert f"{fleet.peers}, line 4 is ignored: " in log


@needs_ssh_keygen
@pytest.mark.parametrize("valid", [True, False])
def test_certificates(fleet: Fleet, directory: Path, valid: bool) -> None:
    """An authority of ssh's signs the hosts' keys; the list names it alone."""
    authority = directory / "authority"
    fleet.network.client.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(authority)])
    validity = ("-V", "-1d:+1d") if valid else ("-V", "-2d:-1d")
    for name, host in fleet.hosts.items():
        sign = ["ssh-keygen", "-q", "-s", str(authority), "-h", "-I", name, *validity]
        fleet.network.client.run([*sign, "-n", f"{name},{host.ipv4}", f"{fleet.keys[name]}.pub"])
    public = Path(f"{authority}.pub").read_text()
    fleet.peers.write_text(f"@cert-authority *.*.*.* {public}")
    for name in fleet.hosts:
        fleet.start(name, *ALL)
    if not valid:
        assert fails(fleet.network) == errno.ECONNRESET
        wait_until(lambda: "certificate expired" in fleet.log("server"), "the log says so")
        return
    with dialogue(fleet.network, echo_server) as client:
        assert exchange(client, DATA) == DATA
        (row,) = fleet.network.client.report()
        assert row["peer"]["name"] == "server"


@one_protocol
@pytest.mark.parametrize(("mode", "content"), [(0o644, None), (0o600, b"nonsense"), (0o600, b"")])
def test_a_key_that_cannot_be_used(fleet: Fleet, mode: int, content: bytes | None) -> None:
    key = fleet.keys["client"]
    if content is not None:
        key.write_bytes(content)
    key.chmod(mode)
    command = [*entry_point("tcpcryptd"), "--identity", str(key)]
    done = fleet.network.client.run(command, check=False)
    assert done.returncode == 1
    assert f"error: {key}: " in done.stderr
    assert len(done.stderr.splitlines()) == 1


@one_protocol
def test_the_key_is_read_once_and_shown_nowhere(fleet: Fleet) -> None:
    fleet.start("client", "--verbose")
    fleet.start("server", "--verbose")
    secret = fleet.keys["client"].read_bytes()
    fleet.keys["client"].unlink()
    with dialogue(fleet.network, echo_server) as client:
        assert exchange(client, DATA) == DATA
    for path in fleet.peers.parent.rglob("*"):
        if path.is_file():
            assert secret not in path.read_bytes()
