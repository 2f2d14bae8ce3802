"""Whether a peer is the right host: what the list says of the key that it has proved."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from tcpcryptd.core.protocol import Outcome
from tcpcryptd.identity.certificate import objection
from tcpcryptd.identity.claim import Claim
from tcpcryptd.identity.host_pattern import spelled
from tcpcryptd.identity.known_hosts import KnownHosts, Line, Marker
from tcpcryptd.identity.public_key import fingerprint

_NAME: Final = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9._-]{1,253}")
"""A name that can be shown, and cannot be taken for an address."""


@dataclass(frozen=True)
class Decision:
    """What follows for a connection."""

    outcome: Outcome
    name: str = ""
    """What people call the peer, when it is authenticated."""
    reason: str = ""
    """For people; empty when it is authenticated."""
    is_settled: bool = False
    """It follows from the list and the key alone."""


class Learned(Protocol):
    """Keys that were trusted at first sight."""

    def key_of(self, address: str) -> bytes | None:
        """The key that an address had then; None: it has not been seen."""

    def learn(self, address: str, key: bytes) -> bool:
        """Remembers a key; False when there is no room for more."""


class Trust:
    """Decides by a list, and for unlisted hosts by learned keys, if keys are learned."""

    def __init__(self, listed: KnownHosts, learned: Learned | None = None) -> None:
        self._listed = listed
        self._learned = learned

    def decide(self, address: str, port: int | None, claim: Claim, now: float, *, may_learn: bool = True) -> Decision:
        """What is known of the peer at an address.

        As ssh looks a server up: first with its port, and by the address alone when that says nothing.

        Args:
            address: As the kernel spells it.
            port: That this host connected to; None: the peer opened the connection, and has any.
            claim: What it has proved.
            now: Seconds of the wall clock.
            may_learn: A key may be remembered at its first use.
        """
        spellings = [address] if port is None else [spelled(address, port), address]
        found = [self._listed.find(each) for each in spellings]
        if any(_revokes(line, claim) for lines in found for line in lines):
            return Decision(Outcome.REVOKED, "", f"the peer's key {fingerprint(claim.key)} is revoked")
        for lines in found:
            decision = _decide(address, lines, claim, now)
            if decision is not None:
                return decision
        if any(line.marker is Marker.AUTHORITY for lines in found for line in lines):
            # Its certificate may have been taken away: what an authority vouches for is not believed at first use.
            reason = f"the peer's key is {fingerprint(claim.key)}, and {address} must have a certificate"
            return Decision(Outcome.UNKNOWN, "", reason)
        return self._decide_learned(address, claim, may_learn)

    def _decide_learned(self, address: str, claim: Claim, may_learn: bool) -> Decision:
        shown = fingerprint(claim.key)
        unknown = Decision(Outcome.UNKNOWN, "", f"the peer's key {shown} is not known for {address}")
        if self._learned is None:
            return unknown
        before = self._learned.key_of(address)
        if before == claim.key:
            return Decision(Outcome.AUTHENTICATED, address)
        if before is not None:
            reason = f"the peer's key is {shown}; when it was first seen, {address} had {fingerprint(before)}"
            return Decision(Outcome.CHANGED, "", reason)
        if not may_learn or not self._learned.learn(address, claim.key):
            return unknown
        return Decision(Outcome.FIRST_USE, "", f"the peer's key {shown} has been seen for the first time")


def _revokes(line: Line, claim: Claim) -> bool:
    keys = [claim.key] if claim.certificate is None else [claim.key, claim.certificate.authority]
    return line.marker is Marker.REVOKED and line.key in keys


def _decide(address: str, lines: Sequence[Line], claim: Claim, now: float) -> Decision | None:
    """What these lines say; None: nothing."""
    keys = [line for line in lines if line.marker is Marker.KEY]
    for line in keys:
        if line.key == claim.key:
            name = _name(address, line.names.shown)
            return Decision(Outcome.AUTHENTICATED, name, is_settled=claim.certificate is None)
    certificate = claim.certificate
    authorities = [line.key for line in lines if line.marker is Marker.AUTHORITY]
    if certificate is not None and certificate.authority in authorities:
        wrong = objection(certificate, address, now)
        if wrong is not None:
            return Decision(Outcome.INVALID, "", wrong)
        return Decision(Outcome.AUTHENTICATED, _name(address, certificate.principals))
    if not keys:
        return None
    known = ", ".join(dict.fromkeys(fingerprint(line.key) for line in keys[:4]))
    return Decision(
        Outcome.CHANGED, "", f"the peer's key is {fingerprint(claim.key)}, but {address} is known to have {known}"
    )


def _name(address: str, names: Sequence[str]) -> str:
    """The first of the names that is no address, as the one that people know."""
    return next((name for name in names if _NAME.fullmatch(name)), address)
