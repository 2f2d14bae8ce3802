"""Hosts that prove who they are."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_network

import pytest

from tcpcryptd.core.config import EngineConfig
from tcpcryptd.core.engine import Engine
from tcpcryptd.core.event import Identified, PeerRefused
from tcpcryptd.core.protocol import Outcome
from tcpcryptd.crypto.ecdhe import X25519
from tcpcryptd.crypto.identity import public_key, sign
from tcpcryptd.eno import EnoConfig
from tcpcryptd.identity.authenticator import Authenticator
from tcpcryptd.identity.known_hosts import KnownHosts
from tcpcryptd.identity.learned import LearnedKeys
from tcpcryptd.identity.proof import HostKey
from tcpcryptd.identity.public_key import encode_key, key_line, ssh_string
from tcpcryptd.identity.trust import Trust
from tests.machine.host import Host
from tests.machine.world import ALL, ENO, Suite, make_engine

CLIENT, SERVER = "10.0.0.1", "10.0.0.2"
SEEDS = {name: bytes((number,)) * 32 for number, name in enumerate(("client", "server", "mallory"), 1)}
KEYS = {name: public_key(seed) for name, seed in SEEDS.items()}
BOTH = f"client,{CLIENT} {key_line(KEYS['client'])}\nserver,{SERVER} {key_line(KEYS['server'])}\n"
NOW = 1_900_000_000.0
PROTOCOLS = pytest.mark.parametrize("suite", [ENO, ALL], ids=["eno", "crypt"])
EVERYBODY = (ip_network("0.0.0.0/0"), ip_network("::/0"))


AUTHORITY = bytes((9,)) * 32


def certificate(name: str, key_id_length: int = 8) -> bytes:
    """A host certificate for all addresses, in OpenSSH's binary form (its PROTOCOL.certkeys)."""
    host = 2
    fields = (
        *(ssh_string(b"ssh-ed25519-cert-v01@openssh.com"), ssh_string(bytes(32)), ssh_string(KEYS[name]), bytes(8)),
        *(host.to_bytes(4, "big"), ssh_string(b"k" * key_id_length), ssh_string(b"")),
        *(bytes(8), b"\xff" * 8, ssh_string(b""), ssh_string(b""), ssh_string(b"")),
        ssh_string(encode_key(public_key(AUTHORITY))),
    )
    signed = b"".join(fields)
    return signed + ssh_string(ssh_string(b"ssh-ed25519") + ssh_string(sign(AUTHORITY, signed)))


def authenticator(
    name: str | None, peers: str = BOTH, learned: LearnedKeys | None = None, certificate: bytes | None = None
) -> Authenticator:
    key = HostKey(SEEDS[name], certificate) if name is not None else None
    return Authenticator(key, trust(peers, learned), lambda: NOW)


def trust(peers: str, learned: LearnedKeys | None = None) -> Trust:
    return Trust(KnownHosts(peers.encode()), learned)


def engine(
    identity: Authenticator | None, seed: object, *, requires: bool = False, suite: Suite = ENO, classical: bool = False
) -> Engine:
    """`requires`: of every peer; `classical`: without post-quantum key agreement."""
    eno = EnoConfig(schemes=(X25519,)) if classical else suite.eno
    mechanisms = tuple(each for each in suite.public_key if not (classical and each.agreement.post_quantum))
    if identity is not None:
        eno = eno.with_identities(identity)
    config = EngineConfig(required_identity=EVERYBODY if requires else ())
    return make_engine(seed, replace(suite, eno=eno, public_key=mechanisms), config)


def outcomes(host: Host) -> list[tuple[Outcome, str]]:
    """Of the connections with keys, and what the peer is called."""
    return [(each.identity.outcome, each.identity.name) for each in host.events if isinstance(each, Identified)]


def refusals(host: Host) -> list[str]:
    return [each.reason for each in host.events if isinstance(each, PeerRefused)]


def counted(host: Host) -> Mapping[str, int]:
    """The counters that begin with identity_, without that."""
    found = host.daemon.counters()
    return {name.removeprefix("identity_"): count for name, count in found.items() if name.startswith("identity_")}


def names(hosts: Sequence[Host]) -> list[str]:
    return [name for host in hosts for _, name in outcomes(host)]
