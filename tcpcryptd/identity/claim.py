"""The claim that a peer makes and proves."""

import hashlib
from dataclasses import dataclass
from typing import Final

from tcpcryptd.crypto.identity import KEY_SIZE
from tcpcryptd.crypto.ssh_keys import Certificate

_KEY: Final = b"\1"
_CERTIFICATE: Final = b"\2"


@dataclass(frozen=True)
class Claim:
    """A public key, and perhaps a certificate for it."""

    key: bytes
    certificate: Certificate | None = None

    @property
    def token(self) -> bytes:
        """Stands for it, 33 bytes; see PeerIdentity."""
        if self.certificate is None:
            return _KEY + self.key
        return _CERTIFICATE + hashlib.sha256(self.certificate.encoded).digest()

    @classmethod
    def of_key(cls, token: bytes) -> "Claim | None":
        """The claim that a token stands for when it has no certificate."""
        return cls(token[1:]) if token[:1] == _KEY and len(token) == 1 + KEY_SIZE else None
