"""The messages of authentication, without I/O: hello and proof from each side, and an end (docs/authentication.md)."""

import enum
import struct
from collections.abc import Generator
from dataclasses import dataclass

from tcpcryptd.authenticate.credentials import Credentials

VERSION = 1
NONCE_SIZE = 32
MAX_BODY = 256
"""No message is longer, whatever its header says."""

_HEADER = struct.Struct(">BH")
"""Type and length of what follows."""
_CONTEXT = b"tcpcryptd authenticate 1"


class Role(enum.Enum):
    """The two sides; the client speaks first. Usually the opener of the connection is the client."""

    CLIENT = b"client"
    SERVER = b"server"

    @property
    def other(self) -> "Role":
        """The peer's role."""
        return Role.SERVER if self is Role.CLIENT else Role.CLIENT


class _Kind(enum.IntEnum):
    CLIENT_HELLO = 1
    SERVER_HELLO = 2
    CLIENT_PROOF = 3
    SERVER_PROOF = 4
    CLIENT_DONE = 5
    """The client believes the server: without it the server would take a refusal for the application's data."""
    REFUSAL = 6


_HELLO = {Role.CLIENT: _Kind.CLIENT_HELLO, Role.SERVER: _Kind.SERVER_HELLO}
_PROOF = {Role.CLIENT: _Kind.CLIENT_PROOF, Role.SERVER: _Kind.SERVER_PROOF}


class AuthenticationFailed(Exception):
    """The peer is not who it should be, or did not prove it: the connection must be closed."""


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The peer has proved who it is."""

    session_id: bytes
    peer: bytes
    """Its Ed25519 public key; empty with a pre-shared key."""


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes that the caller is to send."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Receive:
    """The caller is to answer with exactly so many bytes from the peer."""

    size: int


Exchange = Generator[Send | Receive, bytes, Authenticated]
"""What is sent into it after a `Send` is ignored."""


def exchange(role: Role, credentials: Credentials, session_id: bytes, nonce: bytes) -> Exchange:
    """Proves who we are and checks who the peer is; raises AuthenticationFailed.

    `nonce` is 32 random bytes.
    """
    ours = bytes((VERSION, credentials.method)) + nonce + credentials.claim
    if role is Role.CLIENT:
        yield _message(_HELLO[role], ours)
        theirs = yield from _hello(role.other, credentials, ours)
        yield _message(_PROOF[role], credentials.prove(_statement(role, credentials, session_id, ours, theirs)))
        yield from _check(role.other, credentials, session_id, ours, theirs)
        yield _message(_Kind.CLIENT_DONE, b"")
    else:
        theirs = yield from _hello(role.other, credentials, ours)
        yield _message(_HELLO[role], ours)
        # Nothing is proved to a peer that has not proved itself.
        yield from _check(role.other, credentials, session_id, theirs, ours)
        yield _message(_PROOF[role], credentials.prove(_statement(role, credentials, session_id, theirs, ours)))
        if (yield from _receive(_Kind.CLIENT_DONE)):
            yield from _refuse("the peer's last message is malformed")
    return Authenticated(session_id, theirs[2 + NONCE_SIZE :])


def _statement(role: Role, credentials: Credentials, session_id: bytes, client: bytes, server: bytes) -> bytes:
    """What a role proves: no two of different roles, methods, sessions or hellos are the same."""
    label = b" ".join((_CONTEXT, credentials.label, role.value)) + b"\0"
    return label + struct.pack(">H", len(session_id)) + session_id + client + server


def _hello(sender: Role, credentials: Credentials, ours: bytes) -> Generator[Send | Receive, bytes, bytes]:
    theirs = yield from _receive(_HELLO[sender])
    if theirs[:2] != ours[:2]:
        yield from _refuse("the peer uses another authentication method")
    if len(theirs) != 2 + NONCE_SIZE + credentials.claim_size or theirs == ours:
        yield from _refuse("the peer's hello is malformed")
    return theirs


def _check(
    sender: Role, credentials: Credentials, session_id: bytes, client: bytes, server: bytes
) -> Generator[Send | Receive, bytes, None]:
    proof = yield from _receive(_PROOF[sender])
    theirs = client if sender is Role.CLIENT else server
    statement = _statement(sender, credentials, session_id, client, server)
    if len(proof) != credentials.proof_size or not credentials.accepts(theirs[2 + NONCE_SIZE :], statement, proof):
        yield from _refuse(
            "the peer has not proved who it is, or sees another session: there may be a man in the middle"
        )


def _receive(wanted: _Kind) -> Generator[Send | Receive, bytes, bytes]:
    kind, length = _HEADER.unpack((yield Receive(_HEADER.size)))
    if kind == _Kind.REFUSAL:
        raise AuthenticationFailed("the peer refused our proof")
    if kind != wanted or length > MAX_BODY:
        yield from _refuse("the peer does not speak this protocol, or plays the same role")
    return (yield Receive(length)) if length else b""


def _refuse(reason: str) -> Generator[Send | Receive, bytes, None]:
    yield _message(_Kind.REFUSAL, b"")
    raise AuthenticationFailed(reason)


def _message(kind: _Kind, body: bytes) -> Send:
    return Send(_HEADER.pack(kind, len(body)) + body)
