"""Who the hosts of a connection are: the proofs in the two messages of its key exchange (docs/identity.md)."""

from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Final, Protocol, TypeVar

from tcpcryptd.core.protocol import ABSENT, ConnectionHandle, PeerIdentity
from tcpcryptd.identity.authenticator import Authenticator
from tcpcryptd.identity.proof import Part

IDENTITY: Final = 0x0001
"""Type of the extension that has the proof of who the sender is."""


class _Remembered(Protocol):
    """A session of an earlier connection; `token`: see PeerIdentity."""

    token: bytes


_Session = TypeVar("_Session", bound=_Remembered)


def with_proof(
    authenticator: Authenticator | None, part: Part, encode: Callable[[Mapping[int, bytes]], bytes]
) -> bytes:
    """A message of this host's with its proof, if it has an identity.

    Args:
        authenticator: None: it has none.
        part: This host's, without the message.
        encode: Makes the message with extensions.
    """
    key = authenticator.host_key if authenticator is not None else None
    if key is None:
        return encode({})
    return encode({IDENTITY: key.prove(part.with_message(encode({IDENTITY: key.unsigned})))})


def identify(
    connection: ConnectionHandle, authenticator: Authenticator | None, part: Part, extensions: Mapping[int, bytes]
) -> bool:
    """Judges the sender of a message by the proof in it; False: it is refused, and the connection was reset."""
    return accept(connection, _judged(connection, authenticator, part, extensions))


def judge(
    connection: ConnectionHandle, authenticator: Authenticator | None, part: Part, extensions: Mapping[int, bytes]
) -> Callable[[], PeerIdentity] | None:
    """The same while the answer travels: what does it then, for `KeysDue`. None: it was refused at once.

    Only a signature can wait, of a key that may connect: no other gets an answer, and with it this host's proof.
    """
    connection.identity = None
    encoded = extensions.get(IDENTITY)
    if authenticator is not None and encoded is not None:
        required = connection.must_authenticate
        if authenticator.admits(_address(connection), connection.peer_port, encoded, must_authenticate=required):
            return lambda: _judged(connection, authenticator, part, extensions)
    identity = _judged(connection, authenticator, part, extensions)
    return (lambda: identity) if accept(connection, identity) else None


def _judged(
    connection: ConnectionHandle, authenticator: Authenticator | None, part: Part, extensions: Mapping[int, bytes]
) -> PeerIdentity:
    if authenticator is None:
        return ABSENT
    connection.identity = identity = authenticator.identify(
        _address(connection),
        connection.peer_port,
        extensions.get(IDENTITY),
        part,
        may_learn=not connection.must_authenticate,
    )
    return identity


def accept(connection: ConnectionHandle, identity: PeerIdentity) -> bool:
    """The same, when the sender's identity is known."""
    if identity.suits(must_authenticate=connection.must_authenticate):
        return True
    connection.refuse(identity.reason)
    return False


def recall(connection: ConnectionHandle, authenticator: Authenticator | None, token: bytes) -> PeerIdentity | None:
    """The identity of a peer by the token of an earlier proof; None: no session may be resumed with it."""
    identity: PeerIdentity | None = ABSENT
    if authenticator is not None:
        identity = authenticator.recall(_address(connection), connection.peer_port, token)
    suits = identity is not None and identity.suits(must_authenticate=connection.must_authenticate)
    return identity if suits else None


def take_session(
    connection: ConnectionHandle,
    authenticator: Authenticator | None,
    key: bytes,
    now: float,
    decode: Callable[[bytes], _Session | None],
) -> _Session | None:
    """Takes the newest session under a key that suits and whose peer is believed; the connection has its identity then.

    `decode`: reads what was kept; None: the session does not suit.
    """
    if not connection.options.cache:
        return None
    found: tuple[_Session, PeerIdentity] | None = None

    def accept(encoded: bytes) -> bool:
        nonlocal found
        session = decode(encoded)
        identity = None if session is None else recall(connection, authenticator, session.token)
        if session is None or identity is None:
            return False
        found = session, identity
        return True

    if connection.sessions.take(key, now, accept) is None or found is None:
        return None
    if authenticator is not None:
        connection.identity = found[1]
    return found[0]


def token_of(connection: ConnectionHandle) -> bytes:
    """The token of the identified peer; empty: it was not identified."""
    return connection.identity.token if connection.identity is not None else b""


def _address(connection: ConnectionHandle) -> str:
    """The peer's, as the kernel spells it."""
    return str(ip_address(connection.peer_address))
