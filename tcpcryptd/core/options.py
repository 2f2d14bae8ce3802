"""The options that applications set, and where they are kept until a connection opens."""

import struct
from collections import OrderedDict
from ipaddress import ip_address

from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.records.connection_options import DEFAULT_OPTIONS, ClientMode, ConnectionOptions, Support

__all__ = ["DEFAULT_OPTIONS", "ClientMode", "ConnectionOptions", "OptionRegistry", "Support"]


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
