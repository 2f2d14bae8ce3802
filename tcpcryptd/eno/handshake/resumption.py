"""Session secrets that wait for the next connection with a peer (RFC 8548 section 3.5).

All secrets that come from one key exchange serve the same kind of open at this host, active or passive, which the RFC
suggests: so no two connections can take the same secret at once.
"""

from typing import Final

from tcpcryptd.core.protocol import Connection, PeerIdentity
from tcpcryptd.eno.handshake.context import Handshake
from tcpcryptd.eno.handshake.identification import recall
from tcpcryptd.eno.handshake.offer import Resumption
from tcpcryptd.eno.handshake.session import SessionSecret

_ACTIVE: Final = b"eno active "
_PASSIVE: Final = b"eno passive "


def remember(connection: Connection, following: SessionSecret, now: float) -> None:
    """Keeps the secret for the next connection of the same kind, if the application lets us."""
    if connection.opening.active:
        key = _ACTIVE + connection.peer_address
    else:
        key = _PASSIVE + following.resumption(b"").remote_half
    connection.keep_session(key, following.encode(), now)


def take_to_open(handshake: Handshake, now: float) -> SessionSecret | None:
    """A secret to propose to the peer. It is not used again, whatever the peer answers."""
    return _take(handshake, _ACTIVE + handshake.connection.peer_address, now)


def take_to_answer(handshake: Handshake, code: int, half: bytes, now: float) -> SessionSecret | None:
    """The secret of a scheme that the peer names by what it sent of its half of the identifier."""
    secret = _take(handshake, _PASSIVE + half, now)
    return secret if secret is not None and secret.scheme.code == code else None


def name(handshake: Handshake, secret: SessionSecret) -> Resumption:
    """What names a secret in this host's SYN."""
    return secret.resumption(handshake.connection.random(handshake.config.resumption_nonce_length))


def _take(handshake: Handshake, key: bytes, now: float) -> SessionSecret | None:
    connection = handshake.connection
    if not connection.options.cache:
        return None
    # It could come from a key exchange under the wishes and the configuration of today, with a peer that is believed.
    encoded = connection.sessions.take(key, now, lambda encoded: _decoded(handshake, encoded) is not None)
    found = _decoded(handshake, encoded) if encoded is not None else None
    if found is None:
        return None
    secret, identity = found
    if handshake.config.authenticator is not None:
        connection.identity = identity
    return secret


def _decoded(handshake: Handshake, encoded: bytes) -> tuple[SessionSecret, PeerIdentity] | None:
    secret = SessionSecret.decode(encoded, handshake.schemes, handshake.aeads)
    identity = recall(handshake, secret.token) if secret is not None else None
    return (secret, identity) if secret is not None and identity is not None else None
