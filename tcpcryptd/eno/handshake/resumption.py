"""Session secrets that wait for the next connection with a peer (RFC 8548 section 3.5).

All secrets that come from one key exchange serve the same kind of open at this host, active or passive, which the RFC
suggests: so no two connections can take the same secret at once.
"""

from typing import Final

from tcpcryptd.core.protocol import ConnectionHandle
from tcpcryptd.eno.handshake.context import HandshakeContext
from tcpcryptd.eno.handshake.offer import Resumption
from tcpcryptd.eno.handshake.session import SessionSecret
from tcpcryptd.identity.identification import take_session

_ACTIVE: Final = b"eno active "
_PASSIVE: Final = b"eno passive "


def remember(connection: ConnectionHandle, following: SessionSecret, now: float) -> None:
    """Keeps the secret for the next connection of the same kind, if the application lets us."""
    if connection.origin.active:
        key = _ACTIVE + connection.peer_address
    else:
        key = _PASSIVE + following.resumption(b"").remote_half
    connection.keep_session(key, following.encode(), now)


def take_to_open(context: HandshakeContext, now: float) -> SessionSecret | None:
    """A secret to propose to the peer. It is not used again, whatever the peer answers."""
    return _take(context, _ACTIVE + context.connection.peer_address, now)


def take_to_answer(context: HandshakeContext, code: int, half: bytes, now: float) -> SessionSecret | None:
    """The secret of a scheme that the peer names by what it sent of its half of the identifier."""
    secret = _take(context, _PASSIVE + half, now)
    return secret if secret is not None and secret.scheme.code == code else None


def name(context: HandshakeContext, secret: SessionSecret) -> Resumption:
    """What names a secret in this host's SYN."""
    return secret.resumption(context.connection.random(context.config.resumption_nonce_length))


def _take(context: HandshakeContext, key: bytes, now: float) -> SessionSecret | None:
    def suitable(encoded: bytes) -> SessionSecret | None:
        """The secret, if it could come from a key exchange under the options and the configuration of today."""
        return SessionSecret.decode(encoded, context.schemes, context.aeads)

    return take_session(context.connection, context.config.authenticator, key, now, suitable)
