"""The options of the original library, for a connection or for a socket that is not connected yet.

Values are C integers in the host's byte order, except the session ID, and APP_SUPPORT of a connection. The latter is a
byte whose first bit is this application's support and whose second bit is the peer's, then the session ID.
"""

import struct
from collections.abc import Callable
from typing import Final

from tcpcryptd.control.libtcpcrypt import LibraryMessage, LibraryOption
from tcpcryptd.control.socket_option import OPTIONS, SocketOption
from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.event import ConnectionInfo, ConnectionState
from tcpcryptd.core.options import Support
from tcpcryptd.netio.clients.control_handlers import ROOT, ConnectionSource, Owners
from tcpcryptd.netio.clients.refusal import Refused
from tcpcryptd.netio.clients.socket_identity import SocketIdentity
from tcpcryptd.netio.clients.socket_options import SocketOptions
from tcpcryptd.netio.kernel.sock_diag import BoundSocket, bound_sockets

Ends = tuple[Endpoint, Endpoint]

_INTEGER: Final = struct.Struct("=i")


class LibraryOptions:
    """Gets and sets for whoever owns the socket."""

    def __init__(
        self,
        engine: ConnectionSource,
        owners: Owners,
        options: SocketOptions,
        list_bound: Callable[[str, int], list[BoundSocket]] = bound_sockets,
    ) -> None:
        self._engine = engine
        self._owners = owners
        self._options = options
        self._list_bound = list_bound

    @staticmethod
    def ends(message: LibraryMessage) -> Ends | None:
        """The ends of the connection; None: the socket is not connected."""
        return (Endpoint(*message.source), Endpoint(*message.destination)) if message.destination.port else None

    def is_undecided(self, ends: Ends) -> bool:
        """Whether the handshake of a connection is under way."""
        info = self._engine.connection(*ends)
        return info is not None and info.state is ConnectionState.HANDSHAKE

    def answer(self, message: LibraryMessage, user_id: int) -> bytes:
        """Does what a request asks; returns the data. Raises Refused, with EAGAIN while the handshake goes on."""
        try:
            option = LibraryOption(message.option)
        except ValueError:
            raise Refused("ENOPROTOOPT", "there is no such option") from None
        target = self._target(message, user_id)
        if message.sets:
            self._set(target, option, message.data)
            return b""
        return self._get(target, option, len(message.data))

    def _target(self, message: LibraryMessage, user_id: int) -> SocketIdentity:
        local, ends = Endpoint(*message.source), self.ends(message)
        if not local.port:
            raise Refused("EINVAL", "the socket is not bound to a port")
        try:
            if ends is not None:
                owner = ROOT if user_id == ROOT else self._owners.owner(*ends)
                owners, cookie = {owner} - {None}, None
            else:
                bound = self._list_bound(*local)
                owners, cookie = {each.user_id for each in bound}, bound[0].cookie if len(bound) == 1 else None
        except OSError as error:
            raise Refused("EBUSY", "the kernel does not say who owns the socket") from error
        if not owners:
            raise Refused("ENOENT", "there is no such socket")
        if user_id != ROOT and owners != {user_id}:
            raise Refused("EACCES", "the socket belongs to another user")
        return SocketIdentity(local, ends[1] if ends is not None else None, cookie)

    def _set(self, target: SocketIdentity, option: LibraryOption, data: bytes) -> None:
        value = _integer(data)
        if option is LibraryOption.RESET:
            self._options.set(target, SocketOption.TCP_CRYPT_RESET, 1)
        elif option is LibraryOption.CMODE:
            mode = SocketOption.TCP_CRYPT_CMODE_ALWAYS if value else SocketOption.TCP_CRYPT_CMODE_DEFAULT
            self._options.set(target, mode, 1)
        elif OPTIONS[SocketOption(option)].fields:
            self._options.set(target, SocketOption(option), value)
        else:
            raise Refused("EINVAL", "the option can only be read")

    def _get(self, target: SocketIdentity, option: LibraryOption, room: int) -> bytes:
        if option in (LibraryOption.RESET, LibraryOption.NETSTAT):
            raise Refused("EINVAL", "the option cannot be read from a socket")
        if option is LibraryOption.SESSID:
            return self._session(target)[0][:room]
        if option is LibraryOption.APP_SUPPORT:
            session_id, info = self._session(target)
            ours = info.options.support is not Support.UNAWARE
            data = bytes((ours | info.peer_aware << 1,)) + session_id
            if len(data) > room:
                raise Refused("EINVAL", f"the value has {len(data)} bytes")
            return data
        return _INTEGER.pack(self._number(target, option))[:room]

    def _number(self, target: SocketIdentity, option: LibraryOption) -> int:
        if option is LibraryOption.CMODE:
            always = (SocketOption.TCP_CRYPT_CMODE_ALWAYS, SocketOption.TCP_CRYPT_CMODE_ALWAYS_NK)
            return int(any(self._options.get(target, mode) for mode in always))
        if option is LibraryOption.ENABLE and target.remote is not None:
            return int(self._decided(target).session_id is not None)
        return int(bool(self._options.get(target, SocketOption(option))))

    def _session(self, target: SocketIdentity) -> tuple[bytes, ConnectionInfo]:
        info = self._decided(target)
        if info.session_id is None:
            raise Refused("ENODATA", f"not encrypted: {info.reason}")
        return info.session_id, info

    def _decided(self, target: SocketIdentity) -> ConnectionInfo:
        if target.remote is None:
            raise Refused("ENOTCONN", "the socket is not connected")
        info = self._engine.connection(target.local, target.remote)
        if info is None:
            raise Refused("ENOENT", "tcpcryptd does not know this connection")
        if info.state is ConnectionState.HANDSHAKE:
            raise Refused("EAGAIN", "the handshake is not over")
        return info


def _integer(data: bytes) -> int:
    """The value to set; the library's callers pass an int, or a char where one is enough. Raises Refused."""
    if len(data) == _INTEGER.size:
        return int(_INTEGER.unpack(data)[0])
    if len(data) <= 1:
        return data[0] if data else 0
    raise Refused("EINVAL", "expected an integer of 4 bytes")
