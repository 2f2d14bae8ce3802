"""The lines of one connection in a key log (docs/keylog.md)."""

from tcpcryptd.crypto import tcpcrypt_schedule as schedule
from tcpcryptd.crypto.key_log import ENO, KeyLog, KeyLogEntry
from tcpcryptd.eno.handshake.context import HandshakeContext
from tcpcryptd.eno.handshake.negotiation import Negotiated
from tcpcryptd.eno.handshake.session import SessionSecret
from tcpcryptd.eno.role import EnoRole


class ConnectionKeyLog:
    """Makes an entry for each generation of keys, which both directions make for themselves."""

    def __init__(
        self, key_log: KeyLog, context: HandshakeContext, secret: SessionSecret, negotiated: Negotiated
    ) -> None:
        ends, active = context.ends, context.connection.origin.active
        local, remote = ends.local.isn, ends.remote.isn
        nonce = negotiated.resumed.session_nonce if negotiated.resumed is not None else b""
        self._key_log = key_log
        self._numbers = (local, remote) if active else (remote, local)
        self._session_id = schedule.session_id(negotiated.tep_byte, secret.prf, nonce)
        self._suite = secret.aead.identifier.to_bytes(2, "big")
        # Which keys seal is decided by the role when ss[0] was made (RFC 8548 section 3.5).
        self._opener_role = "a" if (secret.original_role is EnoRole.A) == active else "b"
        self._next = 0

    def add(self, generation: int, master: bytes) -> None:
        """A direction has made the keys of a generation."""
        if generation >= self._next:
            self._next = generation + 1
            self._key_log(
                KeyLogEntry(ENO, *self._numbers, generation, self._session_id, self._suite, self._opener_role, master)
            )
