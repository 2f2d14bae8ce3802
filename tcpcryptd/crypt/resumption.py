"""Connections that go on from an earlier session, without public-key work (spec section 8)."""

from tcpcryptd.core.protocol import Connection
from tcpcryptd.crypt.constants import SESSION_PREFIX_SIZE
from tcpcryptd.crypt.roles import fits
from tcpcryptd.crypt.session import Resumable

_ACTIVE = b"crypt active "
_PASSIVE = b"crypt passive "


def remember(connection: Connection, following: Resumable | None, now: float) -> None:
    """Keeps what the next connection in the same direction can go on from, if the application lets us."""
    if following is None or not connection.options.cache:
        return
    if connection.opening.active:
        key = _ACTIVE + connection.peer_address
    else:
        key = _PASSIVE + following.session_id[:SESSION_PREFIX_SIZE]
    connection.sessions.put(key, following, now)


def take_to_open(connection: Connection, now: float) -> Resumable | None:
    """A session with the peer whose role suits the application. It is not used again, whatever the peer answers."""
    return _take(connection, _ACTIVE + connection.peer_address, now)


def take_to_answer(connection: Connection, prefix: bytes, now: float) -> Resumable | None:
    """The session whose ID begins with these 9 bytes."""
    return _take(connection, _PASSIVE + prefix, now)


def _take(connection: Connection, key: bytes, now: float) -> Resumable | None:
    if not connection.options.cache:
        return None
    state = connection.sessions.take(key, now)
    if not isinstance(state, Resumable):
        return None
    options = connection.options
    if options.resumption_decides_role or fits(options.client_mode, state.role, active=connection.opening.active):
        return state
    connection.sessions.put(key, state, now)
    return None
