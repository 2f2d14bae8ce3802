"""Messages of the control protocol: one JSON object on each line (docs/control-protocol.md)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeGuard

from tcpcryptd.control.commands import COMMANDS, Argument
from tcpcryptd.control.errors import (
    BadArgument,
    BadMessage,
    ControlProtocolError,
    MessageTooLong,
    UnknownCommand,
    UnsupportedVersion,
)

VERSION = 1
MAX_LINE = 65_536
"""Bytes of one message, with its newline."""
MAX_ID = 2**53 - 1
"""The largest number that every JSON implementation keeps exactly."""

_ENVELOPE = ("version", "id", "command")


@dataclass(frozen=True, slots=True)
class Request:
    """A request; `arguments` are those of the command's entry in `COMMANDS`, with defaults filled in."""

    id: int
    command: str
    arguments: Mapping[str, Argument] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """An answer. With `more`, another line with the same ID continues it."""

    id: int
    result: Mapping[str, object]
    more: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal; `errno` is a name such as ENOENT. `id` is None when the request's is not known."""

    id: int | None
    errno: str
    message: str


Reply = Result | Refusal


def encode_request(request: Request) -> bytes:
    """The line of a request; raises UnknownCommand, BadArgument and MessageTooLong."""
    parameters = COMMANDS.get(request.command)
    if parameters is None:
        raise UnknownCommand(f"unknown command {request.command!r}", request.id)
    unknown = request.arguments.keys() - parameters.keys()
    if unknown:
        raise BadArgument(f"{request.command}: unknown argument {min(unknown)!r}", request.id)
    arguments = {name: parameters[name].write(value) for name, value in request.arguments.items()}
    line = _encode({"version": VERSION, "id": request.id, "command": request.command} | arguments)
    decode_request(line.rstrip(b"\n"))
    return line


def encode_reply(reply: Reply) -> bytes:
    """The line of a reply; raises MessageTooLong."""
    message: dict[str, object] = {"version": VERSION, "id": reply.id}
    if isinstance(reply, Refusal):
        message["error"] = {"errno": reply.errno, "message": reply.message}
    else:
        message["result"] = reply.result
        if reply.more:
            message["more"] = True
    return _encode(message)


def decode_request(line: bytes) -> Request:
    """Reads a request, without its newline; raises a subclass of BadMessage."""
    message = _decode(line)
    request_id = message.get("id")
    if not _is_id(request_id):
        raise BadMessage(f"id: expected a whole number from 0 to {MAX_ID}")
    _check_version(message, request_id)
    command = message.get("command")
    if not isinstance(command, str) or command not in COMMANDS:
        known = ", ".join(sorted(COMMANDS))
        raise UnknownCommand(f"unknown command; known: {known}", request_id)
    given = {name: value for name, value in message.items() if name not in _ENVELOPE}
    return Request(request_id, command, _read_arguments(command, given, request_id))


def decode_reply(line: bytes) -> Reply:
    """Reads a reply, without its newline; raises ControlProtocolError."""
    try:
        message = _decode(line)
        request_id, error, result = message.get("id"), message.get("error"), message.get("result")
        _check_version(message, request_id if _is_id(request_id) else None)
    except BadMessage as bad:
        raise ControlProtocolError(f"not a reply: {bad}") from bad
    if isinstance(error, dict) and (request_id is None or _is_id(request_id)):
        name, text = error.get("errno"), error.get("message")
        if isinstance(name, str) and isinstance(text, str):
            return Refusal(request_id, name, text)
    elif isinstance(result, dict) and _is_id(request_id) and isinstance(message.get("more", False), bool):
        return Result(request_id, result, bool(message.get("more", False)))
    raise ControlProtocolError("not a reply: neither a result nor an error")


def _read_arguments(command: str, given: Mapping[str, object], request_id: int) -> dict[str, Argument]:
    parameters = COMMANDS[command]
    unknown = given.keys() - parameters.keys()
    if unknown:
        raise BadArgument(f"{command}: unknown argument {min(unknown)[:32]!r}", request_id)
    arguments: dict[str, Argument] = {}
    for name, parameter in parameters.items():
        if name in given:
            try:
                arguments[name] = parameter.read(given[name])
            except ValueError as error:
                raise BadArgument(f"{command}: {name}: {str(error)[:200]}", request_id) from error
        elif parameter.required:
            raise BadArgument(f"{command}: {name} is missing", request_id)
        elif parameter.default is not None:
            arguments[name] = parameter.default
    return arguments


def _is_id(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_ID


def _check_version(message: Mapping[str, object], request_id: int | None) -> None:
    version = message.get("version")
    if version != VERSION or isinstance(version, bool):
        raise UnsupportedVersion(f"version {VERSION} of the control protocol is spoken here", request_id)


def _encode(message: Mapping[str, object]) -> bytes:
    line = json.dumps(message, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    if len(line) > MAX_LINE:
        raise MessageTooLong(f"a message of {len(line)} bytes is longer than {MAX_LINE}")
    return line


def _decode(line: bytes) -> dict[str, object]:
    if len(line) >= MAX_LINE:
        raise MessageTooLong(f"a message is longer than {MAX_LINE} bytes")
    try:
        message = json.loads(line.decode())
    # RecursionError: nested too deeply.
    except (ValueError, RecursionError) as error:
        raise BadMessage("not JSON") from error
    if not isinstance(message, dict):
        raise BadMessage("not a JSON object")
    return message
