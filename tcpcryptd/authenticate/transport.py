"""Runs the exchange over a socket or asyncio streams."""

import asyncio
import contextlib
import os
import socket
import time

from tcpcryptd.authenticate.credentials import Credentials
from tcpcryptd.authenticate.exchange import (
    NONCE_SIZE,
    Authenticated,
    AuthenticationFailed,
    Exchange,
    Receive,
    Role,
    Send,
    exchange,
)
from tcpcryptd.sockopt import async_require, require

TIMEOUT = 10.0
"""Seconds for all of it."""
_HUNG_UP = "the peer hung up"


def authenticate(sock: socket.socket, credentials: Credentials, role: Role, timeout: float = TIMEOUT) -> Authenticated:
    """Authenticates both ends of a connection, before anything else is sent over it.

    Of what follows nothing is read. Afterwards the socket has the timeout that it had. Raises NotEncrypted,
    AuthenticationFailed, TimeoutError and other OSErrors; after any of them the connection must be closed.
    """
    deadline = time.monotonic() + timeout
    steps = exchange(role, credentials, _session_id(require(sock, timeout).session_id), os.urandom(NONCE_SIZE))
    before = sock.gettimeout()
    try:
        return _run(sock, steps, deadline)
    finally:
        with contextlib.suppress(OSError):
            sock.settimeout(before)


async def async_authenticate(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    credentials: Credentials,
    role: Role,
    timeout: float = TIMEOUT,
) -> Authenticated:
    """`authenticate` for asyncio streams."""
    async with asyncio.timeout(timeout):
        known = await async_require(writer, timeout)
        steps = exchange(role, credentials, _session_id(known.session_id), os.urandom(NONCE_SIZE))
        return await _async_run(reader, writer, steps)


def _session_id(known: bytes | None) -> bytes:
    if not known:
        raise AuthenticationFailed("the session has no ID")
    return known


def _run(sock: socket.socket, steps: Exchange, deadline: float) -> Authenticated:
    received = b""
    with contextlib.closing(steps):
        step = next(steps)
        while True:
            if isinstance(step, Send):
                sock.settimeout(_left(deadline))
                sock.sendall(step.data)
            else:
                received = _read(sock, step.size, deadline)
            try:
                step = steps.send(received)
            except StopIteration as done:
                return _result(done)


async def _async_run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, steps: Exchange) -> Authenticated:
    received = b""
    with contextlib.closing(steps):
        step = next(steps)
        while True:
            if isinstance(step, Send):
                writer.write(step.data)
                await writer.drain()
            else:
                received = await _async_read(reader, step)
            try:
                step = steps.send(received)
            except StopIteration as done:
                return _result(done)


async def _async_read(reader: asyncio.StreamReader, step: Receive) -> bytes:
    try:
        return await reader.readexactly(step.size)
    except asyncio.IncompleteReadError as error:
        raise AuthenticationFailed(_HUNG_UP) from error


def _result(done: StopIteration) -> Authenticated:
    if not isinstance(done.value, Authenticated):
        raise AuthenticationFailed("the exchange ended early")
    return done.value


def _read(sock: socket.socket, size: int, deadline: float) -> bytes:
    data = b""
    while len(data) < size:
        sock.settimeout(_left(deadline))
        piece = sock.recv(size - len(data))
        if not piece:
            raise AuthenticationFailed(_HUNG_UP)
        data += piece
    return data


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the peer was not authenticated in time")
    return left
