"""The host names of a line in known_hosts, and what is looked up among them.

A peer is looked up as ssh would with its address on the command line: `192.0.2.1`, or `[192.0.2.1]:2222` for a port
other than 22.
"""

import hashlib
import hmac
import re
from base64 import b64decode
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Final

MAX_PATTERN: Final = 1023
"""Bytes of a pattern; longer ones never match, as in OpenSSH."""

_HASHED = re.compile(r"\|1\|([A-Za-z0-9+/]{27}=)\|([A-Za-z0-9+/]{27}=)")
_BRACKETED = re.compile(r"\[([^\]]*)\]:(\d{1,5})")
_PLAIN = re.compile(r"[a-z0-9._:%\[\]-]+", re.ASCII)


class PatternError(ValueError):
    """Host names that cannot be read, and match nothing."""


def spelled(address: str, port: int | None) -> str:
    """An address as known_hosts has it; None: without a port."""
    return address if port is None else f"[{address}]:{port}"


def canonical(name: str) -> str:
    """A name in lower case, an address in it spelled as the kernel does, so that equal ones are equal texts."""
    name = name.lower()
    bracketed = _BRACKETED.fullmatch(name)
    address, port = (bracketed[1], int(bracketed[2])) if bracketed else (name, None)
    try:
        return spelled(str(ip_address(address)), port)
    except ValueError:
        return name


Matcher = Callable[[str], bool]
"""Whether a canonical name is meant."""


class HostNames:
    """The first field of a line. Raises PatternError for what OpenSSH cannot read, and for impossible networks."""

    def __init__(self, field: str) -> None:
        self.exact: tuple[str, ...] | None = None
        """All that it matches, canonical, when these are names without wildcards; None: ask `match`."""
        self.shown: tuple[str, ...] = ()
        """The names among them that name one host, as they stand there."""
        self._wanted: list[Matcher] = []
        self._unwanted: list[Matcher] = []
        if field.startswith("|"):
            self._wanted.append(_hashed(field))
            return
        patterns = field.split(",")
        self.shown = tuple(each for each in patterns if _PLAIN.fullmatch(each.lower()))
        if len(self.shown) == len(patterns):
            self.exact = tuple(map(canonical, patterns))
            return
        for pattern in patterns:
            is_negated = pattern.startswith("!")
            matcher = _matcher(pattern[is_negated:].lower())
            (self._unwanted if is_negated else self._wanted).append(matcher)

    def match(self, name: str) -> bool:
        """Whether a canonical name is meant: by one pattern, and by no negated one."""
        if self.exact is not None:
            return name in self.exact
        return any(one(name) for one in self._wanted) and not any(one(name) for one in self._unwanted)


def _hashed(field: str) -> Matcher:
    """`|1|salt|HMAC-SHA1(salt, name)`, as `ssh-keygen -H` makes it."""
    found = _HASHED.fullmatch(field)
    if found is None:
        raise PatternError("a hashed name that cannot be read")
    salt, digest = b64decode(found[1]), b64decode(found[2])
    return lambda name: hmac.digest(salt, name.encode(), hashlib.sha1) == digest


def _matcher(pattern: str) -> Matcher:
    if len(pattern) > MAX_PATTERN:
        return lambda _name: False
    if "/" in pattern:
        return _network(pattern)
    if "*" in pattern or "?" in pattern:
        return lambda name: matches(pattern, name)
    exact = canonical(pattern)
    return lambda name: name == exact


def _network(pattern: str) -> Matcher:
    """`192.0.2.0/24` or `[192.0.2.0/24]:2222`: ours, ssh matches nothing with it."""
    bracketed = _BRACKETED.fullmatch(pattern)
    text, port = (bracketed[1], int(bracketed[2])) if bracketed else (pattern, None)
    try:
        network = ip_network(text)
    except ValueError as error:
        raise PatternError(f"{text[:50]!r} is not a network") from error

    def match(name: str) -> bool:
        found = _BRACKETED.fullmatch(name)
        address, of_name = (found[1], int(found[2])) if found else (name, None)
        try:
            return of_name == port and ip_address(address) in network
        except ValueError:
            return False

    return match


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern with `*` and `?` matches all of a name, in a time of their lengths' product at most."""
    at, in_name = 0, 0
    star, retry = -1, 0
    while in_name < len(name):
        if at < len(pattern) and pattern[at] == "*":
            star, retry = at, in_name
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", name[in_name]):
            at += 1
            in_name += 1
        elif star >= 0:
            retry += 1
            at, in_name = star + 1, retry
        else:
            return False
    return not pattern[at:].strip("*")
