"""The options of one socket, as the control protocol shows and sets them.

Values are those of the messages (docs/control-protocol.md): whole numbers, hexadecimal strings, lists of them.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from tcpcryptd.control.commands import OptionValue
from tcpcryptd.control.socket_option import OPTIONS, SocketOption, When
from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.event import ConnectionInfo, ConnectionState
from tcpcryptd.core.options import ClientMode, ConnectionOptions, Support
from tcpcryptd.netio.clients.refusal import Refused
from tcpcryptd.netio.clients.socket_identity import SocketIdentity

_O = SocketOption

_ENUMS: Mapping[str, Callable[[Any], object]] = {"client_mode": ClientMode, "support": Support}
"""What the numbers of some fields stand for."""


class OptionEngine(Protocol):
    """What is needed of the engine; see `core.engine.Engine`."""

    def connection(self, local: Endpoint, remote: Endpoint) -> ConnectionInfo | None:
        """What is known of one connection."""

    def options(self, local: Endpoint, remote: Endpoint | None = None) -> ConnectionOptions | None:
        """The options for a connection, or for a local end's next ones."""

    def set_options(self, options: ConnectionOptions, local: Endpoint, remote: Endpoint | None = None) -> bool:
        """Replaces them."""

    def rekey(self, local: Endpoint, remote: Endpoint) -> bool:
        """Replaces the keys."""

    def reset(self, local: Endpoint, remote: Endpoint) -> bool:
        """Ends a connection."""

    def flush_session(self, local: Endpoint, remote: Endpoint) -> bool:
        """Forgets what one connection has left to be resumed."""

    def flush_sessions(self) -> int:
        """Forgets all sessions."""


class SocketOptions:
    """Gets and sets. The caller has made sure that the socket is its client's."""

    def __init__(self, engine: OptionEngine, keep: Callable[[Endpoint, int | None], None]) -> None:
        """`keep` is told of each local end whose options will be set, with its socket's cookie; see OptionKeeper."""
        self._engine = engine
        self._keep = keep

    def get(self, target: SocketIdentity, option: SocketOption) -> object:
        """The value of an option; raises Refused."""
        if OPTIONS[option].get in (When.NEVER, When.ANY_SOCKET):
            raise Refused("ENOPROTOOPT", f"{option.name} cannot be read from one socket")
        if option is _O.TCP_CRYPT_SUPPORT:
            info = self._info(target)
            _check_decided(info)
            return int(info.peer_aware)
        if option is _O.TCP_CRYPT_SESSID:
            return _hexadecimal(self._encrypted(target).session_id)
        if option is _O.TCP_CRYPT_CONF:
            info = self._encrypted(target)
            return {
                "public_key": _hexadecimal(info.public_key_spec),
                "symmetric": _hexadecimal(info.symmetric_spec),
            }
        if option is _O.TCP_CRYPT_PUBKEY:
            info = self._encrypted(target)
            if info.public_key is None:
                resumed = "the session was resumed: there was no key exchange"
                raise Refused("ENODATA", resumed if info.resumed else "the keys of this key exchange are not kept")
            return {"mine": info.role == "client", "key": info.public_key.hex()}
        entry, chosen = OPTIONS[option], self._options_of(target)
        if entry.value is None:
            raise Refused("ENOPROTOOPT", f"{option.name} has no value")
        return entry.value.show(*(getattr(chosen, field) for field in entry.fields))

    def set(self, target: SocketIdentity, option: SocketOption, value: OptionValue) -> None:
        """Changes an option; raises Refused."""
        entry = OPTIONS[option]
        if entry.value is None:
            raise Refused("ENOPROTOOPT", f"{option.name} can only be read")
        try:
            parsed = entry.value.parse(value)
        except ValueError as error:
            raise Refused("EINVAL", f"{option.name}: {error}") from error
        if option is _O.TCP_CRYPT_CACHE_FLUSH:
            self._flush(target)
        elif not entry.fields:
            self._act(target, option)
        else:
            self._change(target, option, dict(zip(entry.fields, parsed, strict=True)))

    def _flush(self, target: SocketIdentity) -> None:
        """Of a connection what it has left (RFC 8548 section 3.5), else all of this host's."""
        if target.remote is None and not target.connecting:
            self._engine.flush_sessions()
            return
        local, remote = self._ends(target)
        self._encrypted(target, or_undecided=True)
        if not self._engine.flush_session(local, remote):
            raise Refused("ENOENT", "tcpcryptd does not know this connection")

    def _act(self, target: SocketIdentity, option: SocketOption) -> None:
        local, remote = self._ends(target)
        info = self._encrypted(target)
        done = (self._engine.reset if option is _O.TCP_CRYPT_RESET else self._engine.rekey)(local, remote)
        if not done:
            raise Refused("ENODATA", info.reason or "the connection is closing")

    def _change(self, target: SocketIdentity, option: SocketOption, fields: Mapping[str, object]) -> None:
        is_late = target.remote is not None and OPTIONS[option].set is not When.ANY_TIME
        if target.connecting or is_late:
            raise Refused("EISCONN", f"{option.name} can only be set before the connection is opened")
        if target.remote is not None:
            self._encrypted(target, or_undecided=True)
        elif not target.local.port:
            raise Refused("EINVAL", "the socket is not bound to a port")
        else:
            self._keep(target.local, target.cookie)
        changes = {name: _ENUMS[name](value) if name in _ENUMS else value for name, value in fields.items()}
        options = self._options_of(target).changed(**changes)
        if not self._engine.set_options(options, target.local, target.remote):
            raise Refused("ENOENT", "tcpcryptd does not know this connection")

    def _options_of(self, target: SocketIdentity) -> ConnectionOptions:
        if target.remote is not None:
            return self._info(target).options
        return self._engine.options(target.local) or ConnectionOptions()

    def _ends(self, target: SocketIdentity) -> tuple[Endpoint, Endpoint]:
        if target.remote is None:
            if target.connecting:
                raise Refused("EAGAIN", "the connection is not open yet")
            raise Refused("ENOTCONN", "the socket is not connected")
        return target.local, target.remote

    def _info(self, target: SocketIdentity) -> ConnectionInfo:
        info = self._engine.connection(*self._ends(target))
        if info is None:
            raise Refused("ENOENT", "tcpcryptd does not know this connection")
        return info

    def _encrypted(self, target: SocketIdentity, *, or_undecided: bool = False) -> ConnectionInfo:
        info = self._info(target)
        if not or_undecided:
            _check_decided(info)
        if info.state is not ConnectionState.HANDSHAKE and info.session_id is None:
            raise Refused("ENODATA", f"not encrypted: {info.reason}")
        return info


def _check_decided(info: ConnectionInfo) -> None:
    if info.state is ConnectionState.HANDSHAKE:
        raise Refused("EAGAIN", "the handshake is not over")


def _hexadecimal(value: bytes | None) -> str | None:
    return None if value is None else value.hex()
