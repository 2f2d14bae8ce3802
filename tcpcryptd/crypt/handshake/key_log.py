"""The lines of one connection in a key log (docs/keylog.md)."""

from tcpcryptd.core.protocol import Origin
from tcpcryptd.crypt.protection.session import Keys, Session
from tcpcryptd.crypt.roles import Role
from tcpcryptd.crypto.key_log import CRYPT, KeyLog, KeyLogEntry


class ConnectionKeyLog:
    """Makes an entry for each generation of keys."""

    def __init__(self, key_log: KeyLog, session: Session, local_isn: int, remote_isn: int, origin: Origin) -> None:
        self._key_log = key_log
        self._session = session
        self._numbers = (local_isn, remote_isn) if origin.active else (remote_isn, local_isn)
        opener_is_client = (session.role is Role.CLIENT) == origin.active
        self._opener_role = Role.CLIENT if opener_is_client else Role.SERVER

    def add(self, keys: Keys) -> None:
        """A generation has been made."""
        session = self._session
        self._key_log(
            KeyLogEntry(
                CRYPT,
                *self._numbers,
                keys.generation,
                session.session_id,
                session.suite.spec,
                self._opener_role.value,
                keys.master,
            )
        )
