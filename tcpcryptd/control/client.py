"""A blocking client of the daemon's control socket."""

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from tcpcryptd.control.codec import Refusal, Request, decode_reply, encode_request
from tcpcryptd.control.commands import Argument, OptionValue
from tcpcryptd.control.errors import (
    BadMessage,
    ControlError,
    ControlPermissionDenied,
    ControlProtocolError,
    ControlTimeout,
    DaemonNotRunning,
    RequestRefused,
)
from tcpcryptd.control.line_buffer import LineBuffer
from tcpcryptd.control.socket_option import SocketOption
from tcpcryptd.records.address import Address
from tcpcryptd.records.connection_info import ConnectionInfo
from tcpcryptd.records.host_info import HostInfo

DEFAULT_SOCKET: Final = Path("/run/tcpcryptd/control.sock")
SOCKET_VARIABLE: Final = "TCPCRYPTD_SOCKET"
"""Environment variable with another path."""
TIMEOUT: Final = 5.0
"""Seconds that the daemon may be silent."""

_RECEIVE_BYTES = 65_536
_Record = TypeVar("_Record", ConnectionInfo, HostInfo)


def socket_path() -> Path:
    """The path of the control socket: from the environment, else the default."""
    return Path(os.environ.get(SOCKET_VARIABLE) or DEFAULT_SOCKET)


class ControlClient:
    """One connection to the daemon, for one thread; a context manager.

    All methods raise a subclass of ControlError: DaemonNotRunning when nobody answers, ControlPermissionDenied,
    ControlTimeout, RequestRefused with an errno when the daemon says no, ControlProtocolError when it hangs up or its
    answer makes no sense. After any but RequestRefused the connection is of no more use. The daemon closes connections
    that are idle for a minute.
    """

    def __init__(self, path: Path | str | None = None, timeout: float = TIMEOUT) -> None:
        """Connects; `timeout` is in seconds."""
        self._path = Path(path) if path is not None else socket_path()
        self._lines = LineBuffer()
        self._last_id = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        try:
            self._connect()
        except ControlError:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hangs up."""
        self._socket.close()

    def sessions(self, *, include_plain: bool = False) -> list[ConnectionInfo]:
        """The connections that this user may see: the encrypted ones, or all that the daemon knows of."""
        found: list[ConnectionInfo] = []
        for page in self.request("sessions", {"all": include_plain}):
            rows = page.get("sessions")
            if not isinstance(rows, list):
                raise ControlProtocolError("the list of sessions is missing")
            found += (_read(ConnectionInfo.from_message, row) for row in rows)
        return found

    def session(self, local: Address, remote: Address) -> ConnectionInfo:
        """One connection by its two ends; RequestRefused with ENOENT when the daemon does not know it."""
        arguments: dict[str, Argument] = {"local": local, "remote": remote}
        return _read(ConnectionInfo.from_message, self._single("session", arguments).get("session"))

    def peers(self) -> list[HostInfo]:
        """The hosts whose identity was checked: for root all that are remembered, else those of own connections."""
        found: list[HostInfo] = []
        for page in self.request("peers"):
            rows = page.get("peers")
            if not isinstance(rows, list):
                raise ControlProtocolError("the list of peers is missing")
            found += (_read(HostInfo.from_message, row) for row in rows)
        return found

    def counters(self) -> dict[str, int]:
        """The daemon's counters by name."""
        counters = self._single("counters").get("counters")
        if not isinstance(counters, dict) or not all(type(count) is int for count in counters.values()):
            raise ControlProtocolError("the counters are missing")
        return counters

    def socket(self, descriptor: int) -> ConnectionInfo:
        """The connection of a connected TCP socket, by its descriptor."""
        return _read(ConnectionInfo.from_message, self._single("socket", descriptor=descriptor).get("session"))

    def get_option(self, descriptor: int, option: SocketOption) -> object:
        """An option's value as it stands in the message (docs/control-protocol.md)."""
        result = self._single("get_option", {"option": option}, descriptor)
        if "value" not in result:
            raise ControlProtocolError("the value is missing")
        return result["value"]

    def set_option(self, descriptor: int, option: SocketOption, value: OptionValue) -> None:
        """Changes an option of a TCP socket."""
        self._single("set_option", {"option": option, "value": value}, descriptor)

    def flush_cache(self) -> int:
        """Forgets all sessions that could be resumed; returns their number. Root only."""
        flushed = self._single("flush_cache").get("flushed")
        if type(flushed) is not int:
            raise ControlProtocolError("the number of sessions is missing")
        return flushed

    def rekey(self, local: Address, remote: Address) -> None:
        """Replaces the keys of a connection."""
        option = SocketOption.TCP_CRYPT_REKEY
        self._single("set_option", {"option": option, "value": 1, "local": local, "remote": remote})

    def request(
        self, command: str, arguments: Mapping[str, Argument] | None = None, descriptor: int | None = None
    ) -> list[Mapping[str, object]]:
        """Sends a request of `COMMANDS`, with the descriptor of a socket; the parts of its result, at least one."""
        self._last_id += 1
        try:
            line = encode_request(Request(self._last_id, command, arguments or {}))
        except BadMessage as error:
            raise RequestRefused(error.errno_name, str(error)) from error
        try:
            self._send(line, descriptor)
            return list(self._results(self._last_id))
        except TimeoutError as error:
            raise ControlTimeout(f"tcpcryptd does not answer on {self._path}") from error
        except OSError as error:
            raise ControlProtocolError(f"the connection to tcpcryptd broke: {error.strerror}") from error

    def _send(self, line: bytes, descriptor: int | None) -> None:
        if descriptor is not None:
            line = line[socket.send_fds(self._socket, [line], [descriptor]) :]
        self._socket.sendall(line)

    def _single(
        self, command: str, arguments: Mapping[str, Argument] | None = None, descriptor: int | None = None
    ) -> Mapping[str, object]:
        pages = self.request(command, arguments, descriptor)
        if len(pages) != 1:
            raise ControlProtocolError("an answer in parts that should be whole")
        return pages[0]

    def _connect(self) -> None:
        try:
            self._socket.connect(str(self._path))
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise DaemonNotRunning(f"tcpcryptd is not running (nobody answers on {self._path})") from error
        except PermissionError as error:
            raise ControlPermissionDenied(f"{self._path}: permission denied") from error
        except (BlockingIOError, TimeoutError) as error:
            raise ControlTimeout(f"tcpcryptd does not answer on {self._path}") from error
        except OSError as error:
            raise ControlError(f"{self._path}: {error.strerror or error}") from error

    def _results(self, request_id: int) -> Iterator[Mapping[str, object]]:
        more = True
        while more:
            reply = decode_reply(self._receive_line())
            if isinstance(reply, Refusal):
                raise RequestRefused(reply.errno, reply.message)
            if reply.id != request_id:
                raise ControlProtocolError("an answer to another request")
            more = reply.more
            yield reply.result

    def _receive_line(self) -> bytes:
        try:
            while (line := self._lines.next_line()) is None:
                data = self._socket.recv(_RECEIVE_BYTES)
                if not data:
                    raise ControlProtocolError("tcpcryptd hung up")
                self._lines.feed(data)
        except BadMessage as error:
            raise ControlProtocolError(str(error)) from error
        return line


def _read(read: Callable[[object], _Record], value: object) -> _Record:
    try:
        return read(value)
    except ValueError as error:
        raise ControlProtocolError(str(error)) from error
