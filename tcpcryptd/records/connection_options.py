"""What an application may ask for its connections."""

import enum
from dataclasses import dataclass, replace
from typing import Any, Final


class Support(enum.IntEnum):
    """What the application says of itself."""

    UNAWARE = 0
    AWARE = 1
    """It knows of tcpcrypt; the peer's application is told."""
    MANDATORY = 2
    """The same, and it allows encryption only with a peer whose application is aware, too."""


class ClientMode(enum.IntEnum):
    """Whether this host plays the client of the key exchange, for which some mechanisms cost more."""

    DEFAULT = 0
    """The host that opens the connection does."""
    NEVER = 1
    ALWAYS = 2


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """The options for one connection."""

    enabled: bool = True
    support: Support = Support.UNAWARE
    client_mode: ClientMode = ClientMode.DEFAULT
    resumption_decides_role: bool = False
    """A resumed session may give this host another role than `client_mode` (the _NK modes)."""
    secure_reset: bool = False
    """An RST counts only when it is authentic (SECURST)."""
    cache: bool = True
    """Sessions may be resumed, and kept for that."""
    public_key_specs: tuple[bytes, ...] | None = None
    """Public-key mechanisms to use, best first; None: as configured. A protocol uses identifiers of its own length."""
    client_ciphers: tuple[bytes, ...] | None = None
    """Symmetric suites to use as the client of the exchange; the same."""
    server_ciphers: tuple[bytes, ...] | None = None
    passive_role: bool = False
    """Of two hosts that open a connection at once, this one plays TCP-ENO's role B (RFC 8547 section 4.2, bit b)."""

    def changed(self, **changes: Any) -> "ConnectionOptions":
        """A copy with other values; raises TypeError for a name that is not an option."""
        return replace(self, **changes)


DEFAULT_OPTIONS: Final = ConnectionOptions()
