"""Resumption of an earlier session, without public-key work (docs/crypt-option.md section 8)."""

from typing import Final

from tcpcryptd.core.protocol import ConnectionHandle
from tcpcryptd.crypt.constants import SESSION_PREFIX_SIZE
from tcpcryptd.crypt.handshake.context import HandshakeContext
from tcpcryptd.crypt.protection.session import Resumable
from tcpcryptd.crypt.roles import Role, fits
from tcpcryptd.identity.identification import take_session

_ACTIVE: Final = b"crypt active "
_PASSIVE: Final = b"crypt passive "


def remember(connection: ConnectionHandle, following: Resumable, now: float) -> None:
    """Keeps the session for the next connection in the same direction, if the application lets us."""
    if connection.origin.active:
        key = _ACTIVE + connection.peer_address
    else:
        key = _PASSIVE + following.session_id[:SESSION_PREFIX_SIZE]
    connection.keep_session(key, following.encode(), now)


def take_to_open(context: HandshakeContext, now: float) -> Resumable | None:
    """A session with the peer that suits the application. It is not used again, whatever the peer answers."""
    return _take(context, _ACTIVE + context.connection.peer_address, now)


def take_to_answer(context: HandshakeContext, prefix: bytes, now: float) -> Resumable | None:
    """The session whose ID begins with these 9 bytes, if it suits the application."""
    return _take(context, _PASSIVE + prefix, now)


def _take(context: HandshakeContext, key: bytes, now: float) -> Resumable | None:
    def suitable(encoded: bytes) -> Resumable | None:
        """The session, if it could have come from a key exchange of today."""
        state = Resumable.decode(encoded, {Role.CLIENT: context.client_suites, Role.SERVER: context.server_suites})
        mechanisms = [each.agreement.name for each in context.public_key_algorithms]
        if state is None or state.public_key_name not in mechanisms:
            return None
        options, active = context.connection.options, context.connection.origin.active
        keeps_role = options.resumption_decides_role or fits(options.client_mode, state.role, active=active)
        return state if keeps_role else None

    return take_session(context.connection, context.config.authenticator, key, now, suitable)
