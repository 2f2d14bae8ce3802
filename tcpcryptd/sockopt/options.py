"""getsockopt and setsockopt for the options of tcpcrypt."""

import asyncio
import contextlib
import errno
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tcpcryptd.control.client import ControlClient
from tcpcryptd.control.commands import OptionValue
from tcpcryptd.control.errors import ControlError, ControlTimeout, DaemonNotRunning, RequestRefused
from tcpcryptd.control.socket_option import MAX_SPECS, OPTIONS, SocketOption, Specs
from tcpcryptd.records.address import Address
from tcpcryptd.sockopt.descriptor import SocketLike, bind_if_unbound, descriptor_of

_O = SocketOption
_MAX_NUMBER = 0x7FFFFFFF


class PublicKey(NamedTuple):
    """TCP_CRYPT_PUBKEY: K_C of the key exchange, in the encoding of the mechanism."""

    mine: bool
    """Whether it is this host's, which was the client of the exchange."""
    key: bytes


class Configuration(NamedTuple):
    """TCP_CRYPT_CONF: what the connection uses (docs/crypt-option.md section 2, docs/suites.md; RFC 8548 section 7)."""

    public_key_spec: bytes | None
    """3 bytes, None when the session was resumed; with TCP-ENO the TEP identifier, 1 byte."""
    symmetric_spec: bytes
    """4 bytes; with TCP-ENO sym_cipher, 2 bytes."""


class Netstat(NamedTuple):
    """TCP_CRYPT_NETSTAT: one encrypted connection."""

    local: Address
    remote: Address
    session_id: bytes


def getsockopt(sock: SocketLike, option: SocketOption | int) -> Any:
    """The value of an option: an int, bytes, a tuple of specs, PublicKey, Configuration, or a list of Netstat.

    Raises OSError with the errno that docs/sockopt.md lists for the option.
    """
    option, descriptor = _option(option), descriptor_of(sock)
    with _errors(), ControlClient() as client:
        if option is _O.TCP_CRYPT_NETSTAT:
            return [
                Netstat(record.local, record.remote, record.session_id)
                for record in client.sessions()
                if record.session_id is not None
            ]
        return _read(option, client.get_option(descriptor, option))


def setsockopt(sock: SocketLike, option: SocketOption | int, value: int | Sequence[bytes]) -> None:
    """Changes an option, of a socket that has no port yet after giving it one.

    `value` is an int, or for TCP_CRYPT_PKCONF, CCONF and SCONF a list or tuple of specs, best first, empty for those
    that the daemon is configured for. Raises OSError with the errno that docs/sockopt.md lists for the option.
    """
    option, descriptor = _option(option), descriptor_of(sock)
    entry = OPTIONS[option]
    if entry.value is None:
        raise OSError(errno.ENOPROTOOPT, f"{option.name} can only be read")
    checked = _written(option, value)
    with _errors(), ControlClient() as client:
        if entry.fields:
            bind_if_unbound(descriptor)
        client.set_option(descriptor, option, checked)


async def async_getsockopt(sock: SocketLike, option: SocketOption | int) -> Any:
    """`getsockopt` in a thread, so that the event loop goes on."""
    return await asyncio.to_thread(getsockopt, sock, option)


async def async_setsockopt(sock: SocketLike, option: SocketOption | int, value: int | Sequence[bytes]) -> None:
    """`setsockopt` in a thread, so that the event loop goes on."""
    await asyncio.to_thread(setsockopt, sock, option, value)


def _option(option: SocketOption | int) -> SocketOption:
    try:
        return SocketOption(option)
    except ValueError as error:
        raise OSError(errno.ENOPROTOOPT, f"{option} is not an option of tcpcrypt") from error


def _written(option: SocketOption, value: int | Sequence[bytes]) -> OptionValue:
    kind = OPTIONS[option].value
    if not isinstance(kind, Specs):
        if isinstance(value, int) and 0 <= value <= _MAX_NUMBER:
            return int(value)
        raise OSError(errno.EINVAL, f"{option.name}: expected a whole number")
    if (
        isinstance(value, list | tuple)
        and len(value) <= MAX_SPECS
        and all(_is_spec(spec, kind.sizes) for spec in value)
    ):
        return tuple(value)
    raise OSError(errno.EINVAL, f"{option.name}: expected up to {MAX_SPECS} specs of {_listed(kind.sizes)} bytes")


def _listed(sizes: tuple[int, ...]) -> str:
    return " or ".join(map(str, sizes))


def _is_spec(spec: object, sizes: tuple[int, ...]) -> bool:
    return isinstance(spec, bytes) and len(spec) in sizes


def _read(option: SocketOption, value: object) -> Any:
    """The value as applications get it; raises OSError (EPROTO) when the daemon's answer makes no sense."""
    try:
        if option is _O.TCP_CRYPT_SESSID:
            return _octets(value)
        if isinstance(OPTIONS[option].value, Specs) and isinstance(value, list):
            return tuple(map(_octets, value))
        if option is _O.TCP_CRYPT_PUBKEY and isinstance(value, Mapping):
            return PublicKey(bool(value["mine"]), _octets(value["key"]))
        if option is _O.TCP_CRYPT_CONF and isinstance(value, Mapping):
            public_key = value["public_key"]
            return Configuration(None if public_key is None else _octets(public_key), _octets(value["symmetric"]))
        if isinstance(value, int):
            return value
    except (KeyError, ValueError):
        pass
    raise OSError(errno.EPROTO, f"{option.name}: tcpcryptd's answer makes no sense")


def _octets(value: object) -> bytes:
    if not isinstance(value, str):
        raise ValueError("not a string")
    return bytes.fromhex(value)


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """Errors of the control protocol as OSError; the original is the cause."""
    try:
        yield
    except ControlError as error:
        number = errno.EPROTO
        if isinstance(error, RequestRefused):
            number = error.errno
        elif isinstance(error, DaemonNotRunning):
            # What a kernel without tcpcrypt says.
            number = errno.ENOPROTOOPT
        elif isinstance(error, ControlTimeout):
            number = errno.ETIMEDOUT
        raise OSError(number, str(error)) from error
