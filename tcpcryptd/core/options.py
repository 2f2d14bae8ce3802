"""The options that applications set, and where they are kept until a connection opens."""

import enum
import struct
from collections import OrderedDict
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any, Final

from tcpcryptd.core.endpoint import Endpoint


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


class OptionRegistry:
    """Options of connections that do not exist yet, by the local end that they will have; bounded."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[bytes, ConnectionOptions] = OrderedDict()

    def get(self, local: Endpoint) -> ConnectionOptions:
        """The options of exactly this local end."""
        return self._entries.get(_key(local), DEFAULT_OPTIONS)

    def set(self, local: Endpoint, options: ConnectionOptions) -> None:
        """Keeps options for a local end; the oldest make room. The defaults need no room."""
        key = _key(local)
        self._entries.pop(key, None)
        if options != DEFAULT_OPTIONS:
            self._entries[key] = options
            if len(self._entries) > self._limit:
                self._entries.popitem(last=False)

    def endpoints(self) -> list[Endpoint]:
        """The local ends that options are kept for."""
        return [Endpoint(str(ip_address(key[:-2])), struct.unpack(">H", key[-2:])[0]) for key in self._entries]

    def for_connection(self, flow_key: bytes) -> ConnectionOptions:
        """The options for a connection with this outgoing flow key: its local end's, or its port's on all addresses."""
        if not self._entries:
            return DEFAULT_OPTIONS
        half = (len(flow_key) - 4) // 2
        address, port = flow_key[:half], flow_key[-4:-2]
        # A socket on the IPv6 wildcard takes IPv4 connections as well.
        for candidate in (address, bytes(half), bytes(16)):
            options = self._entries.get(candidate + port)
            if options is not None:
                return options
        return DEFAULT_OPTIONS


def _key(local: Endpoint) -> bytes:
    return ip_address(local.address).packed + struct.pack(">H", local.port)
