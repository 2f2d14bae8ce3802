"""docs/fleet.md as a sequence, with its commands: from nothing to required, an authority, other keys, a lost host."""

import errno
import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from tests.e2e.harness import MARKER, Host, Network, dialogue, echo_server, exchange, wait_until
from tests.e2e.harness.daemon import Daemon
from tests.e2e.harness.namespace import ROOT

PAGE = (ROOT / "docs/fleet.md").read_text()
NETWORK = "10.69.0.0/16"
RELOADED = "configuration read again"

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("ssh-keygen", "ssh-keyscan", "sshd"))), reason="needs OpenSSH's client and server"
)


def documented(beginning: str, **replacements: str) -> str:
    """The command of the page that begins so, for the addresses and names of here."""
    (command,) = [line for line in PAGE.splitlines() if line.startswith(beginning)]
    for old, new in {"10.1.0.0/16": NETWORK, **replacements}.items():
        command = command.replace(old, new)
    return command


def reload(daemon: Daemon) -> None:
    """Returns when it is done."""
    before = daemon.log().count(RELOADED)
    os.kill(daemon.pid, signal.SIGHUP)
    wait_until(lambda: daemon.log().count(RELOADED) > before, "the reload")


class Fleet:
    """Two hosts with SSH host keys, and the administrator's directory with `hosts`."""

    def __init__(self, network: Network, directory: Path) -> None:
        self.network = network
        self.directory = directory
        self.hosts = {"client": network.client, "server": network.server}
        self.daemons: dict[str, Daemon] = {}
        (directory / "hosts").write_text("".join(f"{host.ipv4}\n" for host in self.hosts.values()))
        for name in self.hosts:
            self.make_key(name)

    def key(self, name: str) -> Path:
        return self.directory / name / "ssh_host_ed25519_key"

    def make_key(self, name: str) -> None:
        for old in self.key(name).parent.glob("ssh_host_*"):
            old.unlink()
        self.administer(f"ssh-keygen -q -t ed25519 -N '' -f {self.key(name)}")

    def administer(self, command: str) -> str:
        """Runs a command in the administrator's directory, on the client."""
        return self.network.client.run(["sh", "-c", f"cd {self.directory} && {command}"]).stdout

    def serve_ssh(self) -> None:
        for name, host in self.hosts.items():
            host.run(["mkdir", "-p", "/run/sshd"])
            options = ("-o", "PidFile=none", "-o", f"HostKey={self.key(name)}")
            host.namespace.spawn([str(shutil.which("sshd")), "-D", "-f", "/dev/null", *options])
            host.wait_listening(22)

    def distribute(self) -> None:
        """The same list to all hosts, as scp would bring it."""
        for name in self.hosts:
            shutil.copy(self.directory / "peers", self.directory / name / "peers")
            (self.directory / name / "peers").chmod(0o644)

    def start(self, *names: str) -> None:
        for name in names:
            self.stop(name)
            settings = f'identity = "{self.key(name)}"\npeers = "{self.directory / name / "peers"}"\n'
            before = self.settings(name).read_text() if self.settings(name).exists() else settings
            self.settings(name).write_text(before)
            self.settings(name).chmod(0o644)
            self.daemons[name] = self.hosts[name].start_daemon("--config", str(self.settings(name)))

    def stop(self, name: str) -> None:
        daemon = self.daemons.pop(name, None)
        if daemon is not None:
            daemon.stop()

    def settings(self, name: str) -> Path:
        return self.directory / name / "tcpcryptd.toml"

    def require(self) -> None:
        for name in self.hosts:
            with self.settings(name).open("a") as file:
                file.write(f'require-identity = ["{NETWORK}"]\n')
            self.reload(name)

    def reload(self, *names: str) -> None:
        for daemon in [self.daemons[name] for name in names]:
            reload(daemon)

    def connects(self) -> None:
        with dialogue(self.network, echo_server) as client:
            assert exchange(client, MARKER) == MARKER

    def fails(self) -> None:
        with pytest.raises(OSError) as raised, dialogue(self.network, echo_server) as client:  # noqa: PT011, PT012
            client.settimeout(60)
            client.sendall(MARKER)
            if not client.recv(1):
                raise ConnectionResetError(errno.ECONNRESET, "end of file")
        assert raised.value.errno in (errno.ECONNRESET, errno.ECONNREFUSED, errno.ETIMEDOUT)

    def outcomes(self, name: str) -> dict[str, str]:
        """What `tcnetstat --peers` says of each address."""
        host: Host = self.hosts[name]
        lines = host.tcnetstat("--peers", "--long").stdout.splitlines()[1:]
        return {fields[1]: fields[0] for fields in (re.split(r"\s{2,}", line) for line in lines)}


@pytest.fixture
def fleet(network: Network, directory: Path) -> Fleet:
    for name in ("client", "server"):
        (directory / name).mkdir(exist_ok=True)
    return Fleet(network, directory)


def test_with_the_keys_of_the_hosts(fleet: Fleet) -> None:
    client, server = (fleet.hosts[name].ipv4 for name in ("client", "server"))
    fleet.serve_ssh()
    fleet.administer(documented("ssh-keyscan"))
    listed = fleet.administer(documented("ssh-keygen -l"))
    assert client in listed
    assert server in listed
    fleet.distribute()
    # Who has no daemon yet is talked to in clear.
    fleet.start("client")
    fleet.connects()
    assert fleet.network.client.report() == []
    # Watch.
    fleet.start("server")
    fleet.connects()
    assert fleet.outcomes("client") == {server: server}
    assert fleet.outcomes("server") == {client: client}
    assert 'outcome="authenticated"} 1' in fleet.network.client.tcnetstat("--metrics").stdout
    # Require: who proves nothing is not let in, nor talked to.
    fleet.require()
    fleet.connects()
    fleet.stop("server")
    fleet.fails()
    fleet.start("server")
    fleet.connects()
    # Two keys for one host are both right while it gets its new one.
    fleet.key("server").rename(fleet.directory / "old")
    Path(f"{fleet.key('server')}.pub").rename(fleet.directory / "old.pub")
    fleet.make_key("server")
    before = (fleet.directory / "peers").read_text()
    fleet.administer(f"echo \"{server} $(cut -d' ' -f1,2 {fleet.key('server')}.pub)\" >> peers")
    fleet.distribute()
    fleet.reload("client", "server")
    fleet.connects()
    fleet.start("server")
    fleet.connects()
    old = next(line for line in before.splitlines() if line.startswith(server))
    lines = (fleet.directory / "peers").read_text().replace(f"{old}\n", "")
    (fleet.directory / "peers").write_text(lines)
    fleet.distribute()
    fleet.reload("client", "server")
    fleet.connects()
    assert fleet.outcomes("client") == {server: server}
    # Lost: its connections end, and it gets no new ones.
    with dialogue(fleet.network, echo_server) as open_connection:
        assert exchange(open_connection, MARKER) == MARKER
        fleet.administer(documented('echo "@revoked', lost_host_ed25519_key=str(fleet.key("server"))))
        fleet.distribute()
        fleet.reload("client")
        open_connection.settimeout(60)
        with pytest.raises(ConnectionResetError):
            assert open_connection.recv(1)
    fleet.fails()
    assert fleet.outcomes("client") == {server: "(revoked)"}
    refused = [row for row in fleet.network.client.report("--all") if (row["reason"] or "").startswith("refused: ")]
    assert [row["state"] for row in refused] == ["closed"] * len(refused) != []


def test_with_an_authority(fleet: Fleet) -> None:
    create = documented("ssh-keygen -t ed25519 -f fleet_ca")
    fleet.administer(f"{create} -q -N ''")
    sign = "ssh-keygen -s fleet_ca"
    for name, host in fleet.hosts.items():
        replacements = {"10.1.0.11": host.ipv4, "web1": name, " ssh_host_ed25519_key.pub": f" {fleet.key(name)}.pub"}
        fleet.administer(f"{documented(sign, **replacements)} 2>&1")
    fleet.administer(documented('echo "@cert-authority'))
    fleet.distribute()
    fleet.start("client", "server")
    fleet.require()
    fleet.connects()
    assert fleet.outcomes("client") == {fleet.hosts["server"].ipv4: "server"}
    assert fleet.outcomes("server") == {fleet.hosts["client"].ipv4: "client"}
    # A key of its own without a certificate is nobody's here.
    fleet.make_key("server")
    fleet.start("server")
    fleet.fails()
    assert fleet.outcomes("client") == {fleet.hosts["server"].ipv4: "(unknown)"}
