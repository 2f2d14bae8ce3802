"""Notices from the kernel that somebody changed rules of our tables.

nft and iptables-nft: the multicast group of nf_tables (linux/netfilter/nf_tables.h). iptables-legacy sends none: the
number and the size of its entries are read, which is cheap (linux/netfilter_ipv4/ip_tables.h).
"""

import ctypes
import socket
import struct

from tcpcryptd.netio.firewall.iptables.rules import TABLE
from tcpcryptd.netio.kernel import netlink

_NETLINK_NETFILTER = 12
_SOL_NETLINK = 270
_NETLINK_ADD_MEMBERSHIP = 1
_GROUP_NFTABLES = 7
_SUBSYSTEM_NFTABLES = 10
_NEW_TABLE, _DELETE_TABLE, _NEW_CHAIN, _DELETE_CHAIN, _NEW_RULE, _DELETE_RULE = 0, 2, 3, 5, 6, 8
"""A new table or chain may also be one whose flags or policy were changed."""
_CHANGES = frozenset(
    _SUBSYSTEM_NFTABLES << 8 | each
    for each in (_NEW_TABLE, _DELETE_TABLE, _NEW_CHAIN, _DELETE_CHAIN, _NEW_RULE, _DELETE_RULE)
)
_FAMILY_HEADER_SIZE = 4
_TABLE_NAME = 1
"""The same number for tables, chains and rules."""
_RECEIVE_BUFFER = 1 << 20
_RECEIVE_SIZE = 64 << 10
_MAX_MESSAGES = 256

_GET_INFO = 64
"""IPT_SO_GET_INFO and IP6T_SO_GET_INFO."""
_INFO = struct.Struct("=32sI5I5III")
"""struct ipt_getinfo: name, valid hooks, entry points, underflows, number of entries, size."""

Tables = frozenset[tuple[int, str]]
"""Families and names."""

_libc = ctypes.CDLL(None, use_errno=True)


class RuleEvents:
    """The multicast group. Raises OSError where the kernel has no nf_tables; needs CAP_NET_ADMIN."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            self._socket.bind((0, 0))
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, _GROUP_NFTABLES)
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """The netlink socket's descriptor."""
        return self._socket.fileno()

    def read(self) -> bool:
        """Whether anything of the tables was changed, or may have been: messages were lost (ENOBUFS)."""
        changed = False
        for _ in range(_MAX_MESSAGES):
            try:
                data = self._socket.recv(_RECEIVE_SIZE)
            except BlockingIOError:
                break
            except OSError:
                return True
            changed = changed or is_change(data, self._tables)
        return changed

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()


def is_change(data: bytes, tables: Tables) -> bool:
    """Whether a message says that something of such a table is gone or switched off, or that a rule is new."""
    return any(kind in _CHANGES and body[:1] and _table(body) in tables for kind, _, body in netlink.messages(data))


def _table(body: bytes) -> tuple[int, str]:
    name = netlink.attributes(body[_FAMILY_HEADER_SIZE:]).get(_TABLE_NAME, b"")
    return body[0], name.rstrip(b"\0").decode(errors="replace")


class LegacyTable:
    """What the kernel says of a table of iptables-legacy, IP version 4 or 6. Needs CAP_NET_ADMIN; raises OSError.

    Asking makes the kernel create the table: only for hosts that use it.
    """

    def __init__(self, version: int) -> None:
        self._level = socket.IPPROTO_IP if version == 4 else socket.IPPROTO_IPV6
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        self._socket = socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW)

    def size(self) -> tuple[int, int]:
        """The number of entries, and their bytes."""
        buffer = ctypes.create_string_buffer(TABLE.encode(), _INFO.size)
        length = ctypes.c_uint32(_INFO.size)
        arguments = self._socket.fileno(), int(self._level), _GET_INFO, buffer, ctypes.byref(length)
        if _libc.getsockopt(*arguments) != 0:
            raise OSError(ctypes.get_errno(), "the table cannot be read")
        *_, entries, size = _INFO.unpack(buffer.raw)
        return entries, size

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()
