"""The options of one socket: what the engine knows and can change, in the terms of the control protocol.

Values are those of the messages (docs/control-protocol.md): whole numbers, hexadecimal strings, lists of them.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from tcpcryptd.control.commands import OptionValue
from tcpcryptd.control.socket_option import SPEC_SIZES, SocketOption
from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.event import ConnectionInfo, ConnectionState
from tcpcryptd.core.options import ClientMode, ConnectionOptions, Support
from tcpcryptd.netio.clients.refusal import Refused
from tcpcryptd.netio.clients.socket_identity import SocketIdentity

_O = SocketOption

MODES: Mapping[SocketOption, tuple[ClientMode, bool]] = {
    _O.TCP_CRYPT_CMODE_DEFAULT: (ClientMode.DEFAULT, False),
    _O.TCP_CRYPT_CMODE_DEFAULT_NK: (ClientMode.DEFAULT, True),
    _O.TCP_CRYPT_CMODE_NEVER: (ClientMode.NEVER, False),
    _O.TCP_CRYPT_CMODE_NEVER_NK: (ClientMode.NEVER, True),
    _O.TCP_CRYPT_CMODE_ALWAYS: (ClientMode.ALWAYS, False),
    _O.TCP_CRYPT_CMODE_ALWAYS_NK: (ClientMode.ALWAYS, True),
}
"""The client mode, and whether a resumed session may decide the role."""
_SPECS = {
    _O.TCP_CRYPT_PKCONF: "public_key_specs",
    _O.TCP_CRYPT_CCONF: "client_ciphers",
    _O.TCP_CRYPT_SCONF: "server_ciphers",
}
_ANY_TIME = (_O.TCP_CRYPT_SECURST, _O.TCP_CRYPT_NOCACHE)
"""What has an effect on a connection that is open."""
_ACTIONS = (_O.TCP_CRYPT_CACHE_FLUSH, _O.TCP_CRYPT_RESET, _O.TCP_CRYPT_REKEY)
"""What is done when it is set to 1."""


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
        if option in _ACTIONS or option is _O.TCP_CRYPT_NETSTAT:
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
        return _value(self._options_of(target), option)

    def set(self, target: SocketIdentity, option: SocketOption, value: OptionValue) -> None:
        """Changes an option; raises Refused."""
        if option is _O.TCP_CRYPT_CACHE_FLUSH:
            _flag(value, must_be_set=True)
            self._flush(target)
        elif option in (_O.TCP_CRYPT_RESET, _O.TCP_CRYPT_REKEY):
            _flag(value, must_be_set=True)
            self._act(target, option)
        else:
            self._change(target, option, value)

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

    def _change(self, target: SocketIdentity, option: SocketOption, value: OptionValue) -> None:
        changes = _changes(option, value)
        if target.connecting or (target.remote is not None and option not in _ANY_TIME):
            raise Refused("EISCONN", f"{option.name} can only be set before the connection is opened")
        if target.remote is not None:
            self._encrypted(target, or_undecided=True)
        elif not target.local.port:
            raise Refused("EINVAL", "the socket is not bound to a port")
        else:
            self._keep(target.local, target.cookie)
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


def _value(options: ConnectionOptions, option: SocketOption) -> object:
    if option in MODES:
        return int((options.client_mode, options.resumption_decides_role) == MODES[option])
    if option in _SPECS:
        return [spec.hex() for spec in getattr(options, _SPECS[option]) or ()]
    values = {
        _O.TCP_CRYPT_ENABLE: options.enabled,
        _O.TCP_CRYPT_SECURST: options.secure_reset,
        _O.TCP_CRYPT_NOCACHE: not options.cache,
        _O.TCP_ENO_PASSIVE_ROLE: options.passive_role,
    }
    return int(values[option])


def _changes(option: SocketOption, value: OptionValue) -> dict[str, object]:
    """The options that an option sets; raises Refused for a wrong value, and for what can only be read."""
    if option in MODES:
        _flag(value, must_be_set=True)
        mode, resumption_decides_role = MODES[option]
        return {"client_mode": mode, "resumption_decides_role": resumption_decides_role}
    if option in _SPECS:
        return {_SPECS[option]: _specs(option, value)}
    if option is _O.TCP_CRYPT_ENABLE:
        return {"enabled": _flag(value)}
    if option is _O.TCP_CRYPT_SECURST:
        return {"secure_reset": _flag(value)}
    if option is _O.TCP_CRYPT_NOCACHE:
        return {"cache": not _flag(value)}
    if option is _O.TCP_ENO_PASSIVE_ROLE:
        return {"passive_role": _flag(value)}
    if option is _O.TCP_CRYPT_SUPPORT:
        if value not in tuple(Support):
            raise Refused("EINVAL", f"{option.name} is 0, 1 or 2")
        return {"support": Support(value)}
    raise Refused("ENOPROTOOPT", f"{option.name} can only be read")


def _flag(value: OptionValue, *, must_be_set: bool = False) -> bool:
    if value not in (1,) if must_be_set else value not in (0, 1):
        raise Refused("EINVAL", "expected 1" if must_be_set else "expected 0 or 1")
    return bool(value)


def _specs(option: SocketOption, value: OptionValue) -> tuple[bytes, ...] | None:
    sizes = SPEC_SIZES[option]
    if not isinstance(value, tuple) or any(len(spec) not in sizes for spec in value):
        raise Refused("EINVAL", f"{option.name} is a list of specs of {' or '.join(map(str, sizes))} bytes")
    return value or None
