"""Lists of host keys in the format of OpenSSH's known_hosts (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").

Lines that OpenSSH ignores as malformed are ignored as well, and named. Keys that are not Ed25519 are of no use here
and say nothing about a host.
"""

import enum
import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tcpcryptd.crypto.ssh_keys import SshKeyError
from tcpcryptd.identity.host_pattern import HostNames, PatternError, canonical
from tcpcryptd.identity.public_key import KEY_TYPE, decode_key, from_base64, take_string
from tcpcryptd.wire.reader import Reader, ReadError

MAX_BYTES: Final = 8 * 1024 * 1024
"""Of a file, a limit of ours: some 80,000 hosts."""
MAX_REMEMBERED: Final = 4096
"""Names whose lines are remembered, so that patterns and hashes are not tried for each connection."""

_OTHER_TYPES: Final = re.compile(
    r"ssh-(rsa|dss|ed448)|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com"
    r"|\S{1,60}-cert-v01@openssh\.com"
)
_SPACE: Final = " \t"


class Marker(enum.Enum):
    """What a line says of its key."""

    KEY = ""
    """It is the host's."""
    AUTHORITY = "@cert-authority"
    """It signs the certificates of such hosts."""
    REVOKED = "@revoked"
    """It must not be trusted."""


@dataclass(frozen=True)
class Line:
    """A line with an Ed25519 key."""

    number: int
    marker: Marker
    names: HostNames
    key: bytes


@dataclass(frozen=True)
class MalformedLine:
    """A line that is ignored, and why."""

    number: int
    reason: str


class KnownHosts:
    """The lines of one list that are of use, and those that are malformed. Raises nothing, whatever the text is."""

    def __init__(self, text: bytes = b"") -> None:
        """`text`: of at most MAX_BYTES; what is behind them is one malformed line."""
        self.malformed: list[MalformedLine] = []
        self.lines: list[Line] = []
        self._exact: dict[str, list[Line]] = {}
        self._patterns: list[Line] = []
        self._remembered: OrderedDict[str, tuple[Line, ...]] = OrderedDict()
        for number, content in enumerate(text[:MAX_BYTES].split(b"\n"), 1):
            try:
                line = _read(number, content.decode("utf-8", "backslashreplace"))
            except (PatternError, SshKeyError) as error:
                self.malformed.append(MalformedLine(number, str(error)))
            else:
                if line is not None:
                    self._add(line)
        if len(text) > MAX_BYTES:
            number = text.count(b"\n", 0, MAX_BYTES) + 1
            self.malformed.append(MalformedLine(number, f"everything from here on: only {MAX_BYTES} bytes are read"))

    def _add(self, line: Line) -> None:
        self.lines.append(line)
        if line.names.exact is None:
            self._patterns.append(line)
        else:
            for name in set(line.names.exact):
                self._exact.setdefault(name, []).append(line)

    def find(self, name: str) -> Sequence[Line]:
        """The lines that are about a host, `spelled` as in the file, in their order."""
        name = canonical(name)
        found = self._remembered.get(name)
        if found is None:
            matching = [*self._exact.get(name, ()), *(line for line in self._patterns if line.names.match(name))]
            found = tuple(sorted(matching, key=lambda line: line.number))
            self._remembered[name] = found
            if len(self._remembered) > MAX_REMEMBERED:
                self._remembered.popitem(last=False)
        else:
            self._remembered.move_to_end(name)
        return found


def _read(number: int, text: str) -> Line | None:
    """A line; None: it says nothing, or nothing of an Ed25519 key. Raises PatternError and SshKeyError."""
    text = text.strip(_SPACE + "\r")
    if not text or text.startswith("#"):
        return None
    if "\0" in text:
        raise PatternError("a NUL byte")
    marker, text = _marker(text)
    hosts, kind, *rest = *_words(text), "", ""
    if not hosts or not kind or kind.startswith("#") or not rest[0]:
        raise PatternError("names, key type or key is missing")
    names = HostNames(hosts)
    key = _key(kind, rest[0])
    return Line(number, marker, names, key) if key is not None else None


def _words(text: str) -> Iterator[str]:
    return (word for word in re.split(f"[{_SPACE}]+", text) if word)


def _marker(text: str) -> tuple[Marker, str]:
    """The marker and what follows it; raises PatternError for another or a second one."""
    if not text.startswith("@"):
        return Marker.KEY, text
    word, *rest = re.split(f"[{_SPACE}]+", text, maxsplit=1)
    known = {marker.value: marker for marker in Marker if marker.value}
    if word not in known or not rest or rest[0].startswith("@"):
        raise PatternError("a marker other than @cert-authority and @revoked, or two markers")
    return known[word], rest[0]


def _key(kind: str, text: str) -> bytes | None:
    """An Ed25519 key; None for a key of another type. Raises SshKeyError."""
    if kind != KEY_TYPE.decode() and not _OTHER_TYPES.fullmatch(kind):
        raise SshKeyError(f"{kind[:40]!r} is not a type of key")
    encoded = from_base64(text)
    if kind == KEY_TYPE.decode():
        return decode_key(encoded)
    try:
        inner = take_string(Reader(encoded))
    except ReadError as error:
        raise SshKeyError("a key that ends early") from error
    if inner != kind.encode():
        raise SshKeyError("a key of another type than the line says")
    return None
