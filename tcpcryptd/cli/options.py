"""The options of tcpcryptd, each in one place for the command line, the configuration file and `--help`."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Final

from tcpcryptd import crypt, eno
from tcpcryptd.eno.constants import MAX_RESUMPTION_NONCE
from tcpcryptd.netio import busy_polling
from tcpcryptd.netio.firewall import choice
from tcpcryptd.netio.firewall.selection import SELF_ENCRYPTED_PORTS, Selection
from tcpcryptd.netio.marks import DEFAULT_MASK, MarkScheme
from tcpcryptd.netio.process.runtime_directory import DEFAULT_RUNTIME_DIRECTORY
from tcpcryptd.netio.process.state_file import DEFAULT_STATE_DIRECTORY
from tcpcryptd.netio.queue_numbers import DEFAULT_QUEUE, LAST_FIRST_QUEUE, MAX_WORKERS, QueueNumbers


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value: `read` takes text or a TOML value and raises ValueError; `expected` says what is allowed."""

    read: Callable[[object], Any]
    expected: str
    metavar: str


@dataclass(frozen=True, slots=True)
class Option:
    """One option; `kind` None is a switch. `repeated` options have a tuple of values.

    With `switched` ones, true and false are values too: the option alone, and --no-NAME.
    `reloadable` ones can be changed in the configuration file of a daemon that runs (SIGHUP).
    """

    name: str
    group: str
    help: str
    kind: Kind | None = None
    repeated: bool = False
    reloadable: bool = False
    switched: bool = False

    @property
    def key(self) -> str:
        """The name as a Python identifier."""
        return self.name.replace("-", "_")


def _integer(value: object) -> int:
    if isinstance(value, str) and value.isascii():
        return int(value, 0) if value.lower().startswith("0x") else int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("not a whole number")
    return value


def _port(value: object) -> int:
    port = _integer(value)
    if not 1 <= port <= 0xFFFF:
        raise ValueError("out of range")
    return port


def _queue(value: object) -> int:
    return QueueNumbers.starting_at(_integer(value)).undecided


def _workers(value: object) -> int:
    return QueueNumbers.starting_at(0, _integer(value)).workers


def _mask(value: object) -> int:
    return MarkScheme(_integer(value)).mask


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("not a text")
    return value


def _interface(value: object) -> str:
    return Selection(interfaces=(_text(value),)).interfaces[0]


def _choice(names: Collection[str]) -> Kind:
    def read(value: object) -> str:
        name = _text(value)
        if name not in names:
            raise ValueError("not one of them")
        return name

    return Kind(read, f"one of {', '.join(names)}", "NAME")


def _firewall(value: object) -> str:
    if isinstance(value, bool):
        return FIREWALLS[0] if value else NO_FIREWALL
    return str(_choice(FIREWALLS).read(value))


def _up_to(most: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        number = _integer(value)
        if not 0 <= number <= most:
            raise ValueError("out of range")
        return number

    return read


def _network(value: object) -> IPv4Network | IPv6Network:
    return ip_network(_text(value))


OFFERS: Final = {"crypt": ("crypt",), "eno": ("eno",), "auto": ("eno", "crypt")}
"""The protocols that each value of --protocol offers, in this order until one is answered."""
ANSWERS: Final[dict[str, tuple[str, ...] | None]] = {"crypt": ("crypt",), "eno": ("eno",), "both": None}
FIREWALLS: Final = (choice.AUTO, *choice.NAMES)
NO_FIREWALL: Final = "none"
"""The value of --no-firewall."""
ALGORITHMS: Final = (*crypt.algorithm_names(), *eno.algorithm_names())

PORT: Final = Kind(_port, "a port from 1 to 65535", "PORT")
INTERFACE: Final = Kind(_interface, "the name of a network interface", "NAME")
NETWORK: Final = Kind(_network, "an address, or a network such as 192.0.2.0/24 or 2001:db8::/32", "NETWORK")
QUEUE: Final = Kind(_queue, f"a number from 0 to {LAST_FIRST_QUEUE}", "NUMBER")
WORKERS: Final = Kind(_workers, f"a number from 1 to {MAX_WORKERS}", "NUMBER")
BUSY_POLL: Final = Kind(_up_to(busy_polling.MAX), f"a number from 0 to {busy_polling.MAX}", "MICROSECONDS")
MASK: Final = Kind(_mask, "three or more adjacent bits of 32, such as 0x70000000", "MASK")
OFFER: Final = _choice(OFFERS)
ANSWER: Final = _choice(ANSWERS)
FIREWALL: Final = Kind(_firewall, f"one of {', '.join(FIREWALLS)}, or true or false", "NAME")
NONCE_LENGTH: Final = Kind(_up_to(MAX_RESUMPTION_NONCE), "a number from 0 to 8", "BYTES")
ALGORITHM: Final = _choice(ALGORITHMS)
USER: Final = Kind(_text, "the name of a user", "USER")
PATH: Final = Kind(_text, "a path", "PATH")

WHAT = "what to encrypt"
PROTOCOL = "protocol"
IDENTITY = "identity"
RUNNING = "running"
DIAGNOSIS = "diagnosis"

GROUPS: Final = {
    WHAT: "By default all TCP connections with other hosts, both ways, except to ports with their own encryption.\n"
    "Options of several kinds narrow this down together. A connection's port is the one that its opener connected to.",
    PROTOCOL: "What happens on the chosen connections.",
    IDENTITY: "Who the hosts at both ends are (docs/identity.md). Without these options nobody is checked.",
    RUNNING: "How the daemon fits in with the rest of this host.",
    DIAGNOSIS: "",
}

_OWN_ENCRYPTION = ", ".join(map(str, SELF_ENCRYPTED_PORTS))

OPTIONS: Final = (
    Option("port", WHAT, "only this port", PORT, repeated=True),
    Option("exclude-port", WHAT, "not this port", PORT, repeated=True),
    Option("all-ports", WHAT, f"also ports that carry their own encryption: {_OWN_ENCRYPTION}"),
    Option("interface", WHAT, "only connections through this network interface", INTERFACE, repeated=True),
    Option(
        "loopback",
        WHAT,
        "also connections within this host, through its loopback interface, to any address (default: --no-loopback)",
    ),
    Option(
        "forward",
        WHAT,
        "on a router, also connections between hosts behind this interface and hosts behind other interfaces "
        "(docs/gateway.md)",
        INTERFACE,
        repeated=True,
    ),
    Option("address", WHAT, "only connections with these hosts", NETWORK, repeated=True),
    Option(
        "protocol",
        PROTOCOL,
        "the protocol that this host offers: crypt, the original's protocol (default); eno, TCP-ENO with tcpcrypt (RFC "
        "8547 and 8548); auto, eno first, then crypt to a host that did not answer eno",
        OFFER,
    ),
    Option("answer", PROTOCOL, "the protocols that this host answers: crypt, eno or both (default)", ANSWER),
    Option(
        "require",
        PROTOCOL,
        "connections that this host opens to these hosts fail if they cannot be encrypted; those to all others are "
        "plain TCP then",
        NETWORK,
        repeated=True,
        reloadable=True,
    ),
    Option(
        "require-post-quantum",
        PROTOCOL,
        "connections that this host opens to these hosts fail unless they are encrypted with keys from a post-quantum "
        "key agreement (docs/suites.md)",
        NETWORK,
        repeated=True,
        reloadable=True,
    ),
    Option(
        "identity",
        IDENTITY,
        "prove who this host is with this Ed25519 key, in OpenSSH's format and without passphrase, such as "
        "/etc/ssh/ssh_host_ed25519_key; a certificate beside it, FILE-cert.pub, is sent as well",
        PATH,
    ),
    Option(
        "peers",
        IDENTITY,
        "the keys of other hosts, by address, in the format of OpenSSH's known_hosts, such as "
        "/etc/ssh/ssh_known_hosts; connections with a host that has another key are refused; SIGHUP reads it again",
        PATH,
    ),
    Option(
        "require-identity",
        IDENTITY,
        "connections with these hosts, in either direction, fail unless they are encrypted and the other host has "
        "proved to be the one that --peers names",
        NETWORK,
        repeated=True,
        reloadable=True,
    ),
    Option(
        "first-use",
        IDENTITY,
        "trust the first key of a host for which none is known, and remember it by the host's address; connections "
        "with a host that has another key later are refused (default: --no-first-use)",
    ),
    Option(
        "state-directory",
        IDENTITY,
        f"directory for tcpcryptd alone, with the keys that --first-use has seen (default {DEFAULT_STATE_DIRECTORY})",
        PATH,
    ),
    Option(
        "suites",
        PROTOCOL,
        "use only this public-key mechanism or symmetric suite; with crypt "
        f"{', '.join(crypt.algorithm_names())}, with eno {', '.join(eno.algorithm_names())}; if none of a kind is "
        "named, all of that kind are used",
        ALGORITHM,
        repeated=True,
        reloadable=True,
    ),
    Option(
        "resumption-nonce",
        PROTOCOL,
        "length of the random number with which eno resumes a session (default 8); use less only on a host whose "
        "memory is never copied or restored, as it is with snapshots of virtual machines",
        NONCE_LENGTH,
    ),
    Option("cache", PROTOCOL, "resume earlier sessions without public-key work (default); --no-cache: never"),
    Option(
        "whole-packets",
        PROTOCOL,
        "take outgoing packets of crypt connections before the kernel cuts them into segments, and send the segments "
        "through a raw socket: less work for the sender, but rules that shape or filter by socket do not see the "
        "connection's (default: --no-whole-packets)",
    ),
    Option(
        "workers",
        RUNNING,
        "processes that share the packets by pairs of hosts (default: one for each core that the daemon may use)",
        WORKERS,
    ),
    Option(
        "busy-poll",
        RUNNING,
        "how long a process looks for the next packet before it sleeps, while packets come that often (default "
        f"{busy_polling.DEFAULT}): round trips take half the time, and such packets a whole core; 0: never",
        BUSY_POLL,
    ),
    Option(
        "queue",
        RUNNING,
        f"first of the netfilter queues to use, three for each worker (default {DEFAULT_QUEUE})",
        QUEUE,
    ),
    Option("mark-mask", RUNNING, f"bits of the packet mark to use (default {DEFAULT_MASK:#x})", MASK),
    Option(
        "firewall",
        RUNNING,
        "the firewall in which the daemon installs its rules, and removes them at the end: nft, iptables, or auto "
        "(default), which is nft if this host can use it; with --no-firewall you install them: see "
        "scripts/launch_iptables.sh",
        FIREWALL,
        switched=True,
    ),
    Option("user", RUNNING, "user to run as once started (default: tcpcryptd if it exists, else nobody)", USER),
    Option(
        "runtime-directory",
        RUNNING,
        "directory for tcpcryptd alone, with its control socket and the state that --cleanup needs; each network "
        f"namespace needs its own (default {DEFAULT_RUNTIME_DIRECTORY})",
        PATH,
    ),
    Option("control-socket", RUNNING, "where tcnetstat finds the daemon (default control.sock there)", PATH),
    Option(
        "libtcpcrypt-port",
        RUNNING,
        "answer programs that use the original library on this UDP port of 127.0.0.1, where it expects 666; any local "
        "process can send there (docs/control-protocol.md)",
        PORT,
    ),
    Option(
        "keylog",
        DIAGNOSIS,
        "write the keys of all connections to this file, for tcpcrypt-pcap (docs/keylog.md): whoever has the file can "
        "read the connections",
        PATH,
    ),
    Option("verbose", DIAGNOSIS, "also log connections that stay plain TCP, and why", reloadable=True),
)
