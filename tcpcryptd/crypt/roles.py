"""Who is the client of the key exchange, when each host has its setting (docs/crypt-option.md section 7)."""

import enum
from typing import Final

from tcpcryptd.core.protocol import ClientMode


class Role(enum.Enum):
    """Who a host is in the key exchange; the active opener is the client unless roles are switched."""

    CLIENT = "client"
    SERVER = "server"


_DEFAULT, _NEVER, _ALWAYS = ClientMode.DEFAULT, ClientMode.NEVER, ClientMode.ALWAYS

ACTIVE_ROLE: Final[dict[tuple[ClientMode, ClientMode], Role | None]] = {
    # Of the active opener, the passive opener: what the active one becomes. None: the connection is not encrypted.
    (_DEFAULT, _DEFAULT): Role.CLIENT,
    (_DEFAULT, _NEVER): Role.CLIENT,
    (_DEFAULT, _ALWAYS): Role.SERVER,
    (_ALWAYS, _DEFAULT): Role.CLIENT,
    (_ALWAYS, _NEVER): Role.CLIENT,
    (_ALWAYS, _ALWAYS): None,
    (_NEVER, _DEFAULT): None,
    (_NEVER, _NEVER): None,
    (_NEVER, _ALWAYS): Role.SERVER,
}
"""The wire tells the active opener one thing: whether the passive one answers HELLO (ALWAYS) or PKCONF (any other)."""


def switches(passive: ClientMode) -> bool:
    """Whether a passive opener with this setting answers HELLO with HELLO."""
    return passive is ClientMode.ALWAYS


def active_accepts(active: ClientMode, *, switched: bool) -> bool:
    """Whether an active opener with this setting goes on when the passive one has switched roles, or has not."""
    passive = ClientMode.ALWAYS if switched else ClientMode.DEFAULT
    return ACTIVE_ROLE[active, passive] is not None


def fits(mode: ClientMode, role: Role, *, active: bool) -> bool:
    """Whether a resumed session's role is what this host wants."""
    if mode is ClientMode.DEFAULT:
        return role is (Role.CLIENT if active else Role.SERVER)
    return (role is Role.CLIENT) == (mode is ClientMode.ALWAYS)
