"""Whether a connection is encrypted, how, and why not."""

import asyncio
import base64
import errno
import hashlib
import time
from dataclasses import dataclass

from tcpcryptd.control.client import ControlClient
from tcpcryptd.control.errors import ControlError, RequestRefused
from tcpcryptd.records.connection_info import ConnectionInfo
from tcpcryptd.sockopt.descriptor import SocketLike, descriptor_of

TIMEOUT = 5.0
"""Seconds to wait for the end of a handshake."""
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.001, 0.05
"""Seconds from one question to the next; the handshake ends about one round trip after connect returns."""
_FINGERPRINT_CONTEXT = b"tcpcryptd fingerprint 1"
_GROUPS, _GROUP_LENGTH = 5, 4
"""100 bits, 5 for each character."""


class NotEncrypted(Exception):
    """The connection is not known to be encrypted; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the connection is not encrypted: {reason}")
        self.reason = reason


class NotAuthenticated(NotEncrypted):
    """The connection is encrypted, but the host at the other end is not known to be the right one."""

    def __init__(self, reason: str) -> None:
        Exception.__init__(self, f"the other host is not authenticated: {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Info:
    """One connection at one moment."""

    encrypted: bool
    session_id: bytes | None
    """The other end has the same, unless there is a man in the middle. None unless encrypted."""
    suite: str | None
    role: str | None
    """client or server of the key exchange, which need not be the one of the connection; with TCP-ENO A or B."""
    resumed: bool
    """Keys came from an earlier session."""
    peer_aware: bool
    """The application on the other side said that it knows of tcpcrypt; it says so unauthenticated."""
    reason: str | None
    """Why it is not encrypted."""
    post_quantum: bool = False
    """The key agreement behind the keys, an earlier one if resumed, resists a quantum computer."""
    peer_identity: str | None = None
    """The name of the other host, which it has proved to be; None: it is not authenticated, or not yet."""
    peer_key: str | None = None
    """The fingerprint of its key, as ssh shows it, also of one that is not known."""
    peer_reason: str | None = None
    """Why it is not authenticated; None also when identities are not in use, or nothing is known yet."""

    def fingerprint(self) -> str:
        """A short form of the session ID for people to compare; raises NotEncrypted."""
        if self.session_id is None:
            raise NotEncrypted(self.reason or "unknown")
        return fingerprint(self.session_id)


def fingerprint(session_id: bytes) -> str:
    """Five groups of four of the characters a to z and 2 to 7, such as `mzxw-6ytb-oi5t-qmjs-gu3d`.

    They are base32 (RFC 4648) of the first 100 bits of SHA-256 over `tcpcryptd fingerprint 1` and the session ID. The
    format does not change.
    """
    text = base64.b32encode(hashlib.sha256(_FINGERPRINT_CONTEXT + session_id).digest()).decode().lower()
    return "-".join(text[at : at + _GROUP_LENGTH] for at in range(0, _GROUPS * _GROUP_LENGTH, _GROUP_LENGTH))


def info(sock: SocketLike, timeout: float = TIMEOUT) -> Info:
    """What is known of a connected socket, after the handshake is over or `timeout` seconds have passed.

    There are three answers: encrypted; not encrypted, and why; DaemonNotRunning is raised. Also raises other subclasses
    of ControlError, and OSError: EBADF, ENOTCONN, EOPNOTSUPP (not TCP), EACCES (another network namespace).
    """
    descriptor = descriptor_of(sock)
    deadline = time.monotonic() + timeout
    pause = _SHORTEST_PAUSE
    with ControlClient() as client:
        while True:
            record = _ask(client, descriptor)
            if record is None:
                return _plain(
                    "tcpcryptd does not know the connection: it is older than tcpcryptd, or not diverted to it"
                )
            left = deadline - time.monotonic()
            if record.state != "handshake" or left <= 0:
                return _of(record)
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)


def require(sock: SocketLike, timeout: float = TIMEOUT, *, identity: str | None = None) -> Info:
    """`info` of an encrypted connection; raises NotEncrypted for any other, also when the daemon does not answer.

    With `identity`, a name as in the list of peers or a fingerprint such as SHA256:..., the other host must have proved
    to be that one: else NotAuthenticated is raised, which is a NotEncrypted. A host that has not shown yet that it has
    the keys is waited for until the end of `timeout`. Raises OSError as `info` does.
    """
    deadline = time.monotonic() + timeout
    try:
        known = info(sock, timeout)
        while identity is not None and _is_open(known) and time.monotonic() < deadline:
            time.sleep(_LONGEST_PAUSE)
            known = info(sock, max(0.0, deadline - time.monotonic()))
    except ControlError as error:
        raise NotEncrypted(str(error)) from error
    if not known.encrypted or known.session_id is None:
        raise NotEncrypted(known.reason or "unknown")
    if identity is not None and (known.peer_identity is None or identity not in (known.peer_identity, known.peer_key)):
        found = (
            known.peer_reason or "tcpcryptd uses no identities, or the other host has not shown that it has the keys"
        )
        raise NotAuthenticated(found if known.peer_identity is None else f"it is {known.peer_identity}, not {identity}")
    return known


def _is_open(known: Info) -> bool:
    """The connection is encrypted, and it may still become clear who the other host is."""
    return known.encrypted and known.peer_identity is None and known.peer_reason is None


async def async_info(sock: SocketLike, timeout: float = TIMEOUT) -> Info:
    """`info` in a thread, so that the event loop goes on."""
    return await asyncio.to_thread(info, sock, timeout)


async def async_require(sock: SocketLike, timeout: float = TIMEOUT, *, identity: str | None = None) -> Info:
    """`require` in a thread, so that the event loop goes on."""
    return await asyncio.to_thread(require, sock, timeout, identity=identity)


def _ask(client: ControlClient, descriptor: int) -> ConnectionInfo | None:
    """None when the daemon does not know the connection."""
    try:
        return client.socket(descriptor)
    except RequestRefused as refused:
        if refused.errno == errno.ENOENT:
            return None
        raise OSError(refused.errno, str(refused)) from refused


def _of(record: ConnectionInfo) -> Info:
    # What can still be read from a connection that both ends have closed came encrypted, too.
    encrypted = record.state in ("encrypted", "closed") and record.session_id is not None
    return Info(
        encrypted=encrypted,
        session_id=record.session_id if encrypted else None,
        suite=record.suite,
        role=record.role,
        resumed=record.resumed,
        peer_aware=record.peer_aware,
        reason=None if encrypted else record.reason or "the session has no ID",
        post_quantum=encrypted and record.post_quantum,
        peer_identity=record.peer.name if encrypted and record.peer is not None else None,
        peer_key=record.peer.key if encrypted and record.peer is not None else None,
        peer_reason=record.peer.reason if encrypted and record.peer is not None else None,
    )


def _plain(reason: str) -> Info:
    return Info(False, None, None, None, False, False, reason)
