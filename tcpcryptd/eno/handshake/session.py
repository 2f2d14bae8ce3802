"""The secret that both ends share, and what follows from it (RFC 8548 sections 3.3 to 3.5)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from tcpcryptd.crypto import tcpcrypt_schedule as schedule
from tcpcryptd.crypto.frame_aead import FrameAead
from tcpcryptd.crypto.key_scheme import KeyScheme
from tcpcryptd.crypto.prf import Prf
from tcpcryptd.eno.handshake.offer import Resumption
from tcpcryptd.eno.role import EnoRole


@dataclass(slots=True)
class SessionSecret:
    """ss[i], which no connection has used, and what it was negotiated with; used once (section 3.5)."""

    secret: bytes = field(repr=False)
    """32 bytes."""
    scheme: KeyScheme
    aead: FrameAead
    original_role: EnoRole
    """What this host was when ss[0] was made: it decides which keys it seals with."""
    token: bytes = b""
    """Stands for what the peer has proved then, see `PeerIdentity`."""
    _prf: Prf | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def prf(self) -> Prf:
        """Of the secret."""
        if self._prf is None:
            self._prf = schedule.keyed(self.secret)
        return self._prf

    @property
    def following(self) -> "SessionSecret":
        """ss[i+1]."""
        return replace(self, secret=schedule.next_secret(self.prf))

    def encode(self) -> bytes:
        """As it is kept: scheme (2 bytes), original role (1: A), AEAD algorithm (2, big endian), secret, token."""
        head = self.scheme.code.to_bytes(2, "big") + bytes((self.original_role is EnoRole.A,))
        return head + self.aead.identifier.to_bytes(2, "big") + self.secret + self.token

    @classmethod
    def decode(
        cls, encoded: bytes, schemes: Sequence[KeyScheme], aeads: Callable[[EnoRole], Sequence[FrameAead]]
    ) -> "SessionSecret | None":
        """The inverse of `encode`; None for other algorithms than these, of which `aeads` gives those of a role."""
        role = EnoRole.A if encoded[2] else EnoRole.B
        code, identifier = int.from_bytes(encoded[:2], "big"), int.from_bytes(encoded[3:5], "big")
        scheme = next((each for each in schemes if each.code == code), None)
        aead = next((each for each in aeads(role) if each.identifier == identifier), None)
        if scheme is None or aead is None:
            return None
        return cls(encoded[5 : 5 + schedule.K_LEN], scheme, aead, role, encoded[5 + schedule.K_LEN :])

    def resumption(self, nonce: bytes) -> Resumption:
        """What names this secret in a SYN, with this host's nonce."""
        identifier = schedule.resumption_identifier(self.prf)
        return Resumption(self.scheme.code, self.original_role, identifier, nonce)
