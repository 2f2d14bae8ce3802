"""Settings that are allowed but cannot do what was probably meant; each is a warning at the start."""

from collections.abc import Collection, Iterator

from tcpcryptd import crypt, eno
from tcpcryptd.cli import post_quantum
from tcpcryptd.cli.config import Settings
from tcpcryptd.cli.options import ANSWERS, OFFERS

_ALGORITHMS = {"crypt": crypt.algorithm_names(), "eno": eno.algorithm_names()}


def doubts(settings: Settings, interfaces: Collection[str]) -> Iterator[str]:
    """A line for each; `interfaces` are those of this host."""
    for port in sorted({*settings.port} & {*settings.exclude_port}):
        yield f"port {port} is both chosen and excluded: it is excluded"
    for option, names in (("interface", settings.interface), ("forward", settings.forward)):
        for name in names:
            if not _is_there(name, interfaces):
                yield f"{option} {name}: this host has no such interface now"
    yield from _identity_doubts(settings)
    offers, answers = OFFERS[settings.protocol], ANSWERS[settings.answer] or tuple(_ALGORITHMS)
    for protocol, known in _ALGORITHMS.items():
        named = [name for name in settings.suites if name in known]
        if named and protocol not in offers + answers:
            yield f"suites: {', '.join(named)}: of {protocol}, which this host neither offers nor answers"
        elif settings.suites and not named and protocol in offers:
            yield f"suites: none of {protocol}, which this host offers, so all of its suites are used"
    yield from _post_quantum(settings)


def _post_quantum(settings: Settings) -> Iterator[str]:
    if not post_quantum.is_available():
        yield post_quantum.LACKING
    elif settings.require_post_quantum and "crypt" in OFFERS[settings.protocol]:
        mechanisms = {*settings.suites} & {*crypt.public_key_names()}
        if mechanisms and not mechanisms & {*crypt.post_quantum_names()}:
            yield "require-post-quantum: suites excludes every such key agreement of crypt: with it connections fail"


def _identity_doubts(settings: Settings) -> Iterator[str]:
    """RSA has no place for proofs."""
    if settings.require_identity and "crypt" in OFFERS[settings.protocol]:
        mechanisms = {*settings.suites} & {*crypt.public_key_names()}
        if mechanisms and not mechanisms & {*crypt.provable_names()}:
            yield "require-identity: suites leave crypt no mechanism with proofs: those connections fail with it"
    if settings.require_identity and settings.peers is None and not settings.first_use:
        yield "require-identity: without peers no host is authenticated, so all connections with these hosts fail"


def _is_there(name: str, interfaces: Collection[str]) -> bool:
    # iptables takes a + at the end for any name that begins so.
    return any(each.startswith(name[:-1]) for each in interfaces) if name.endswith("+") else name in interfaces
