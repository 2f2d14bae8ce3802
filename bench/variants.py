"""What is compared: one line of `VARIANTS` each."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from bench.peers import nfqueue, ssh, stunnel, wireguard
from bench.revision import commands_of
from bench.route import Route, Unavailable
from tcpcryptd.netio.errors import ExitCode
from tests.e2e.harness import Daemon, HarnessError, Network, dialogue, echo_server, same_session

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

    def __call__(self, network: Network) -> Route:
        """Starts them; raises Unavailable when they refuse the options."""
        with commands_of(self.package):
            for host in network.hosts():
                wait_ready(host.launch_daemon(*self.options), self.options)
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


def tcpcryptd(name: str, *options: str) -> Variant:
    return Variant(name, Daemons(options), Daemons((*options, "--no-cache")))


def with_earlier(variants: Iterable[Variant], revision: str, package: Path) -> list[Variant]:
    """The variants, and behind each that is a tcpcryptd the same of another revision."""
    both = []
    for variant in variants:
        both.append(variant)
        if isinstance(variant.start, Daemons) and isinstance(variant.start_fresh, Daemons):
            start, fresh = replace(variant.start, package=package), replace(variant.start_fresh, package=package)
            both.append(Variant(earlier(variant.name, revision), start, fresh))
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
    Variant("nfqueue-accept", nfqueue.start),
    Variant("stunnel", stunnel.start, stunnel.start_fresh),
    Variant("stunnel-rsa", stunnel.start_rsa, stunnel.start_rsa),
    Variant("ssh", ssh.start),
    Variant("wireguard-go", wireguard.start),
)
