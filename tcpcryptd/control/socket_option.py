"""The socket options of tcpcrypt, as they stand in messages (by name) and in `tcpcryptd.sockopt`."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PUBLIC_KEY_SPEC_SIZE = 3
SYMMETRIC_SPEC_SIZE = 4
"""Bytes (docs/crypt-option.md section 2)."""
TEP_SIZE = 1
EXPERIMENT_SIZE = 2
CIPHER_SIZE = 2
"""Bytes of the same specs in TCP-ENO: a TEP identifier (RFC 8548 section 7, Table 4), TEP 0x20 with its key agreement
(docs/eno.md), and sym_cipher (Table 5)."""
MAX_SPECS = 16
"""Specs in one list that an application sets, at most."""


class SocketOption(enum.IntEnum):
    """The options and their numbers: the original library's if it has the option, else ours."""

    TCP_CRYPT_ENABLE = 0
    TCP_CRYPT_SESSID = 2
    TCP_CRYPT_SUPPORT = 15
    """TCP_CRYPT_APP_SUPPORT in the original library."""
    TCP_CRYPT_PUBKEY = 16
    TCP_CRYPT_CONF = 17
    TCP_CRYPT_CACHE_FLUSH = 18
    TCP_CRYPT_SECURST = 19
    TCP_CRYPT_CMODE_DEFAULT = 20
    TCP_CRYPT_CMODE_DEFAULT_NK = 21
    TCP_CRYPT_CMODE_NEVER = 22
    TCP_CRYPT_CMODE_NEVER_NK = 23
    TCP_CRYPT_CMODE_ALWAYS = 24
    TCP_CRYPT_CMODE_ALWAYS_NK = 25
    TCP_CRYPT_PKCONF = 26
    TCP_CRYPT_CCONF = 27
    TCP_CRYPT_SCONF = 28
    TCP_CRYPT_RESET = 100
    TCP_CRYPT_NOCACHE = 101
    TCP_CRYPT_NETSTAT = 102
    TCP_CRYPT_REKEY = 103
    """Not in the original documents: new keys at once."""
    TCP_ENO_PASSIVE_ROLE = 104
    """Bit b of TCP-ENO's global suboption (RFC 8547 section 4.2)."""


class When(enum.StrEnum):
    """When an option can be read or set, in the words of docs/sockopt.md."""

    NEVER = ""
    ANY_TIME = "any time"
    BEFORE = "before"
    """Before the connection is opened."""
    DECIDED = "decided"
    """When the handshake is over."""
    ENCRYPTED = "encrypted"
    ANY_SOCKET = "any socket"


@dataclass(frozen=True, slots=True)
class Flag:
    """A value of 0 or 1, for a field that is true or false."""

    inverted: bool = False
    """1 makes the field false."""

    def parse(self, value: object) -> tuple[object, ...]:
        """The values of the entry's fields; raises ValueError."""
        if value not in (0, 1):
            raise ValueError("expected 0 or 1")
        return (bool(value) is not self.inverted,)

    def show(self, *fields: object) -> object:
        """The option's value, as it stands in messages."""
        return int(bool(fields[0]) is not self.inverted)


@dataclass(frozen=True, slots=True)
class Level:
    """A value from 0 up to a limit, for a field that is a number."""

    highest: int

    def parse(self, value: object) -> tuple[object, ...]:
        """See Flag."""
        if not isinstance(value, int) or not 0 <= value <= self.highest:
            raise ValueError(f"expected a number from 0 to {self.highest}")
        return (value,)

    def show(self, *fields: object) -> object:
        """See Flag."""
        return fields[0]


@dataclass(frozen=True, slots=True)
class Choice:
    """The value 1, which gives the fields certain values."""

    fields: tuple[object, ...] = ()

    def parse(self, value: object) -> tuple[object, ...]:
        """See Flag."""
        if value != 1:
            raise ValueError("expected 1")
        return self.fields

    def show(self, *fields: object) -> object:
        """See Flag."""
        return int(fields == self.fields)


@dataclass(frozen=True, slots=True)
class Specs:
    """A list of specs. An empty one stands for the daemon's configuration; the field is None then."""

    sizes: tuple[int, ...]
    """Bytes of one: in the CRYPT protocol, in TCP-ENO."""

    def parse(self, value: object) -> tuple[object, ...]:
        """See Flag."""
        if not isinstance(value, tuple) or any(len(spec) not in self.sizes for spec in value):
            raise ValueError(f"expected a list of specs of {' or '.join(map(str, self.sizes))} bytes")
        return (value or None,)

    def show(self, *fields: Any) -> object:
        """See Flag."""
        return [spec.hex() for spec in fields[0] or ()]


@dataclass(frozen=True, slots=True)
class Entry:
    """One option: when it can be read and set, its values, and the fields of core.options.ConnectionOptions it sets.

    An option that can be set and has no fields is an action.
    """

    get: When
    set: When
    value: Flag | Level | Choice | Specs | None = None
    """None: the option can only be read, and its value has a special form."""
    fields: tuple[str, ...] = ()


_O, _MODE = SocketOption, ("client_mode", "resumption_decides_role")
_CIPHERS = Specs((SYMMETRIC_SPEC_SIZE, CIPHER_SIZE))
OPTIONS: Mapping[SocketOption, Entry] = {
    _O.TCP_CRYPT_ENABLE: Entry(When.ANY_TIME, When.BEFORE, Flag(), ("enabled",)),
    _O.TCP_CRYPT_SESSID: Entry(When.ENCRYPTED, When.NEVER),
    _O.TCP_CRYPT_SUPPORT: Entry(When.DECIDED, When.BEFORE, Level(2), ("support",)),
    _O.TCP_CRYPT_PUBKEY: Entry(When.ENCRYPTED, When.NEVER),
    _O.TCP_CRYPT_CONF: Entry(When.ENCRYPTED, When.NEVER),
    _O.TCP_CRYPT_CACHE_FLUSH: Entry(When.NEVER, When.ANY_TIME, Choice()),
    _O.TCP_CRYPT_SECURST: Entry(When.ANY_TIME, When.ANY_TIME, Flag(), ("secure_reset",)),
    _O.TCP_CRYPT_CMODE_DEFAULT: Entry(When.ANY_TIME, When.BEFORE, Choice((0, False)), _MODE),
    _O.TCP_CRYPT_CMODE_DEFAULT_NK: Entry(When.ANY_TIME, When.BEFORE, Choice((0, True)), _MODE),
    _O.TCP_CRYPT_CMODE_NEVER: Entry(When.ANY_TIME, When.BEFORE, Choice((1, False)), _MODE),
    _O.TCP_CRYPT_CMODE_NEVER_NK: Entry(When.ANY_TIME, When.BEFORE, Choice((1, True)), _MODE),
    _O.TCP_CRYPT_CMODE_ALWAYS: Entry(When.ANY_TIME, When.BEFORE, Choice((2, False)), _MODE),
    _O.TCP_CRYPT_CMODE_ALWAYS_NK: Entry(When.ANY_TIME, When.BEFORE, Choice((2, True)), _MODE),
    _O.TCP_CRYPT_PKCONF: Entry(
        When.ANY_TIME,
        When.BEFORE,
        Specs((PUBLIC_KEY_SPEC_SIZE, TEP_SIZE, EXPERIMENT_SIZE)),
        ("public_key_specs",),
    ),
    _O.TCP_CRYPT_CCONF: Entry(When.ANY_TIME, When.BEFORE, _CIPHERS, ("client_ciphers",)),
    _O.TCP_CRYPT_SCONF: Entry(When.ANY_TIME, When.BEFORE, _CIPHERS, ("server_ciphers",)),
    _O.TCP_CRYPT_RESET: Entry(When.NEVER, When.ENCRYPTED, Choice()),
    _O.TCP_CRYPT_NOCACHE: Entry(When.ANY_TIME, When.ANY_TIME, Flag(inverted=True), ("cache",)),
    _O.TCP_CRYPT_NETSTAT: Entry(When.ANY_SOCKET, When.NEVER),
    _O.TCP_CRYPT_REKEY: Entry(When.NEVER, When.ENCRYPTED, Choice()),
    _O.TCP_ENO_PASSIVE_ROLE: Entry(When.ANY_TIME, When.BEFORE, Flag(), ("passive_role",)),
}
"""Everything about each option, for the library, the daemon, the original library's port and docs/sockopt.md's test."""
