"""What is compared: one line of `VARIANTS` each."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from bench.peers import nfqueue, ssh, stunnel, wireguard
from bench.revision import commands_of
from bench.route import Route, Unavailable
from tcpcryptd.netio.errors import ExitCode
from tests.e2e.harness import Daemon, HarnessError, Host, Network, dialogue, echo_server, same_session
from tests.e2e.harness.daemon import entry_point

Start = Callable[[Network], Route]

ORIGINAL_SUITES = ("--suites", "RSA-2048", "--suites", "AES128-CTR-SEQIV/HMAC-SHA1")


@dataclass(frozen=True)
class Variant:
    """A way to carry connections; the starters raise Unavailable where it cannot run.

    `start` resumes sessions where the variant has any. `start_fresh` does all the work for each connection; None
    where a connection costs no handshake, so that there is nothing to resume.
    """

    name: str
    start: Start
    start_fresh: Start | None = None


def plain(network: Network) -> Route:
    """TCP as it is."""
    return Route(network, network.server.ipv4)


@dataclass(frozen=True)
class Daemons:
    """A tcpcryptd on both hosts, with these options; of this revision, or another package."""

    options: tuple[str, ...]
    package: Path | None = None
    identities: bool = False
    """Both hosts prove who they are, and insist on it."""

    def __call__(self, network: Network) -> Route:
        """Starts them; raises Unavailable when they refuse the options."""
        with commands_of(self.package):
            for host in network.hosts():
                options = (*self.options, *(identify(network, host) if self.identities else ()))
                wait_ready(host.launch_daemon(*options), options)
        route = Route(network, network.server.ipv4, lambda: check_encrypted(network))
        route.verify()
        return route


def wait_ready(daemon: Daemon, options: tuple[str, ...]) -> None:
    try:
        daemon.wait_ready()
    except HarnessError as failure:
        if daemon.running() or daemon.wait() != ExitCode.USAGE:
            raise
        reason = (daemon.log().splitlines() or ["no reason given"])[-1]
        raise Unavailable(f"tcpcryptd refuses {' '.join(options)}: {reason}") from failure


def check_encrypted(network: Network) -> None:
    """Raises unless both daemons list the same session: an encrypted figure must not be a plain one."""
    with dialogue(network, echo_server) as client:
        same_session(network, client)


def identify(network: Network, host: Host) -> tuple[str, ...]:
    """The options of one of the hosts, with keys that are made for the first of them."""
    key = "host.key"
    peers = network.client.directory / "peers"
    if not peers.exists():
        for each in network.hosts():
            each.run([*entry_point("tcpcryptd"), "keygen", str(each.directory / key)])
        lines = (f"{each.ipv4} {(each.directory / f'{key}.pub').read_text()}" for each in network.hosts())
        peers.write_text("".join(lines))
        peers.chmod(0o644)
    everybody = ("--require-identity", "0.0.0.0/0")
    return ("--identity", str(host.directory / key), "--peers", str(peers), *everybody)


def tcpcryptd(name: str, *options: str, identities: bool = False) -> Variant:
    fresh = (*options, "--no-cache")
    return Variant(name, Daemons(options, identities=identities), Daemons(fresh, identities=identities))


def with_earlier(variants: Iterable[Variant], revision: str, package: Path) -> list[Variant]:
    """The variants, and behind each that is a tcpcryptd the same of another revision, but for those with identities."""
    both = []
    for variant in variants:
        both.append(variant)
        ours, fresh = variant.start, variant.start_fresh
        if isinstance(ours, Daemons) and isinstance(fresh, Daemons) and not ours.identities:
            then = replace(ours, package=package), replace(fresh, package=package)
            both.append(Variant(earlier(variant.name, revision), *then))
    return both


def earlier(name: str, revision: str) -> str:
    """The name of such a variant."""
    return f"{name}@{revision}"


PLAIN = Variant("plain", plain)
"""What the others are divided by."""

VARIANTS = (
    PLAIN,
    tcpcryptd("crypt"),
    tcpcryptd("crypt-original", *ORIGINAL_SUITES),
    tcpcryptd("eno", "--protocol", "eno"),
    # What the post-quantum key agreements are compared with.
    tcpcryptd("crypt-x25519", "--suites", "X25519-HPKE"),
    tcpcryptd("eno-x25519", "--protocol", "eno", "--suites", "ECDHE-Curve25519"),
    # What host identities are compared with: the same without.
    tcpcryptd("crypt-identity", identities=True),
    tcpcryptd("eno-identity", "--protocol", "eno", identities=True),
    tcpcryptd("crypt-x25519-identity", "--suites", "X25519-HPKE", identities=True),
    tcpcryptd("eno-x25519-identity", "--protocol", "eno", "--suites", "ECDHE-Curve25519", identities=True),
    Variant("nfqueue-accept", nfqueue.start),
    Variant("stunnel", stunnel.start, stunnel.start_fresh),
    Variant("stunnel-rsa", stunnel.start_rsa, stunnel.start_rsa),
    Variant("ssh", ssh.start),
    Variant("wireguard-go", wireguard.start),
)
