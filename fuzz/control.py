"""The control socket's lines, against the handlers and the engine that the daemon has."""

import json
from collections.abc import Callable

from fuzz.choices import Choices
from tcpcryptd.control.codec import Refusal, Result, decode_request, encode_reply
from tcpcryptd.control.commands import COMMANDS
from tcpcryptd.control.errors import BadMessage, MessageTooLong
from tcpcryptd.control.line_buffer import LineBuffer
from tcpcryptd.control.socket_option import SocketOption
from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.engine import Engine
from tcpcryptd.netio.clients.control_handlers import Caller, ControlHandlers
from tcpcryptd.netio.clients.refusal import Refused
from tcpcryptd.netio.clients.socket_identity import SocketIdentity
from tcpcryptd.netio.clients.socket_options import SocketOptions

_VALUES: tuple[object, ...] = (0, 1, 2, -1, 2**40, True, None, "x", [], ["020404"], ["f10000"], ["zz"], {}, 1.5)
_JUNK = (b"", b"{}", b"[]", b"nul", b"\xff\xfe", b"[" * 2000, b'{"version":1,"id":1,"command":[]}', b'"' * 70_000)
_ROOT, _SOMEBODY = 0, 1000


class _Owners:
    """Every second port belongs to the user."""

    def owner(self, local: tuple[str, int], remote: tuple[str, int]) -> int | None:
        return (_SOMEBODY, _ROOT, None)[(local[1] + remote[1]) % 3]


class ControlClient:
    """Sends lines and takes the replies; raises what the handlers must not raise."""

    def __init__(self, engine: Callable[[], Engine | None]) -> None:
        self._engine = engine

    def send(self, choices: Choices, ends: tuple[Endpoint, Endpoint], now: float) -> None:
        """One line, perhaps no request at all, from root or from a user."""
        engine = self._engine()
        if engine is None:
            return
        line = _line(choices, ends)
        lines = LineBuffer()
        lines.feed(line + b"\n")
        caller = Caller(choices.one_of((_ROOT, _SOMEBODY)), now, SocketIdentity(*ends, None))
        options = SocketOptions(engine, lambda local, cookie: None)
        handlers = ControlHandlers(engine, _Owners(), options, engine.counters)
        try:
            complete = lines.next_line()
            request = decode_request(complete or b"")
            for page in handlers.handle(request, caller):
                encode_reply(Result(request.id, page, more=True))
        except (BadMessage, MessageTooLong) as error:
            encode_reply(Refusal(error.request_id, error.errno_name, str(error)))
        except Refused as refused:
            encode_reply(Refusal(1, refused.errno, str(refused)))


def _line(choices: Choices, ends: tuple[Endpoint, Endpoint]) -> bytes:
    kind = choices.below(8)
    if kind == 0:
        return choices.take(choices.number())
    if kind == 1:
        return choices.one_of(_JUNK)
    message: dict[str, object] = {"version": 1, "id": 1, "command": choices.one_of(tuple(COMMANDS))}
    if kind > 4:
        message["command"] = "set_option"
    for name in COMMANDS[str(message["command"])]:
        present = choices.below(8)
        if present:
            message[name] = _argument(choices, name, ends)
    if choices.below(8) == 1:
        message[choices.one_of(("version", "id", "command", "value", "more"))] = choices.one_of(_VALUES)
    return json.dumps(message).encode()


def _argument(choices: Choices, name: str, ends: tuple[Endpoint, Endpoint]) -> object:
    if choices.below(16) == 1:
        return choices.one_of(_VALUES)
    if name == "option":
        return choices.one_of(tuple(SocketOption)).name
    if name in ("local", "remote"):
        address, port = ends[name == "remote"]
        address = choices.one_of((address, address, address, "0.0.0.0", "::", "fd00::1", "x"))  # noqa: S104
        return {"address": address, "port": port if choices.below(8) else 0}
    if name == "value":
        return choices.one_of(_VALUES)
    return bool(choices.below(2))
