"""Whether a host certificate is valid for a host, as ssh decides it (its PROTOCOL.certkeys)."""

from datetime import UTC, datetime
from typing import Final

from tcpcryptd.crypto.ssh_keys import Certificate
from tcpcryptd.identity.host_pattern import canonical, matches

_FOREVER: Final = 2**64 - 1
_MAX_SHOWN: Final = 253378368000
"""The year 9999, the last one that can be shown."""


def objection(certificate: Certificate, address: str, now: float) -> str | None:
    """Why a certificate is not valid for an address, whatever its authority; None: it is valid.

    Args:
        certificate: Its signature is right.
        address: The peer's. Principals are compared with it as patterns; without any the certificate is for all hosts.
        now: Seconds of the wall clock.
    """
    if not certificate.is_for_host:
        return "the peer's certificate is one for users"
    if now < certificate.valid_from:
        return f"the peer's certificate is not valid before {_shown(certificate.valid_from)}"
    if certificate.valid_until != _FOREVER and now >= certificate.valid_until:
        return f"the peer's certificate expired at {_shown(certificate.valid_until)}"
    if certificate.has_critical_options:
        return "the peer's certificate has critical options, which no host's certificate can have"
    name = canonical(address)
    if certificate.principals and not any(matches(canonical(each), name) for each in certificate.principals):
        return f"the peer's certificate is not for {address}"
    return None


def period(certificate: Certificate) -> str:
    """When it is valid, for people."""
    start = _shown(certificate.valid_from) if certificate.valid_from else "ever"
    return f"from {start} to {_shown(certificate.valid_until) if certificate.valid_until != _FOREVER else 'ever'}"


def _shown(seconds: int) -> str:
    return datetime.fromtimestamp(min(seconds, _MAX_SHOWN), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
