"""The proof of a host's identity in a key exchange (docs/identity.md).

    kind (1) | signature (64) | key (32)            kind 1
    kind (1) | signature (64) | certificate         kind 2, in OpenSSH's binary form

The signature is over a statement with all of the sender's message, in which the signature itself is 64 zero bytes.
"""

import enum
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from tcpcryptd.crypto.identity import KEY_SIZE, SIGNATURE_SIZE, public_key, signer
from tcpcryptd.crypto.ssh_keys import MAX_CERTIFICATE, Certificate, SshKeyError, read_certificate
from tcpcryptd.identity import sshsig
from tcpcryptd.identity.claim import Claim
from tcpcryptd.identity.public_key import ssh_string

LABEL: Final = b"tcpcryptd host identity 1"

_KEY: Final = 1
_CERTIFICATE: Final = 2
_NO_SIGNATURE: Final = bytes(SIGNATURE_SIZE)
_CERTIFICATES_REMEMBERED: Final = 256


class ProofError(ValueError):
    """A malformed or wrong proof: the peer is not the host that it claims to be, or its message was changed."""


class Role(enum.Enum):
    """The two sides of a key exchange."""

    INITIATOR = b"initiator"
    """Sends the first message, and its proof before it knows the other's."""
    RESPONDER = b"responder"
    """Answers, and proves that it answers this message."""


@dataclass(frozen=True)
class Part:
    """One side's part of a key exchange, which its proof covers."""

    protocol: bytes
    """Its name."""
    role: Role
    transcript: bytes
    """The protocol's options of both SYNs."""
    message: bytes
    """With the proof in it."""
    other: bytes = b""
    """The message that this one answers, as it came; empty for the initiator."""

    def with_message(self, message: bytes) -> "Part":
        """The same with another message."""
        return Part(self.protocol, self.role, self.transcript, message, self.other)

    @property
    def statement(self) -> bytes:
        """What is signed; no two of different protocols, roles, transcripts or messages are the same."""
        fields = (LABEL, self.protocol, self.role.value, self.transcript, self.message, self.other)
        return b"".join(map(ssh_string, fields))


class HostKey:
    """This host's private key, with its public key or a certificate for it."""

    def __init__(self, private_key: bytes, certificate: bytes | None = None) -> None:
        """Raises ValueError for what is no private key, SshKeyError for a certificate of another key or none at all."""
        self.public = public_key(private_key)
        self._sign = signer(private_key)
        self._shown = bytes((_KEY,)), self.public
        self.certificate = read_certificate(certificate) if certificate is not None else None
        if certificate is not None and self.certificate is not None:
            if self.certificate.key != self.public:
                raise SshKeyError("a certificate for another key")
            self._shown = bytes((_CERTIFICATE,)), certificate
        self.unsigned = _NO_SIGNATURE.join(self._shown)
        """What stands in the place of the proof in the message that is signed."""

    def __repr__(self) -> str:
        return "HostKey()"

    def prove(self, part: Part) -> bytes:
        """The proof, as long as `unsigned`, which stands in the message now and gives its place to it."""
        return self._sign(sshsig.signed_data(part.statement)).join(self._shown)


class Proof:
    """A proof as a peer has sent it; raises ProofError when it is malformed. It is not verified yet."""

    __slots__ = ("_encoded", "_signature", "claim")

    def __init__(self, encoded: bytes) -> None:
        self._encoded = encoded
        self._signature = encoded[1 : 1 + SIGNATURE_SIZE]
        shown = encoded[1 + SIGNATURE_SIZE :]
        if encoded[:1] == bytes((_KEY,)) and len(shown) == KEY_SIZE:
            self.claim = Claim(shown)
        elif encoded[:1] == bytes((_CERTIFICATE,)) and 0 < len(shown) <= MAX_CERTIFICATE:
            try:
                certificate = _certificate(shown)
            except SshKeyError as error:
                raise ProofError(str(error)) from error
            self.claim = Claim(certificate.key, certificate)
        else:
            raise ProofError("a proof of another kind, or truncated")

    def verify(self, part: Part) -> None:
        """Raises ProofError unless the key that is shown has signed this part, whose message has this proof once."""
        if part.message.count(self._encoded) != 1:
            raise ProofError("a message that does not carry its proof")
        shown = self._encoded[:1], self._encoded[1 + SIGNATURE_SIZE :]
        signed = part.with_message(part.message.replace(self._encoded, _NO_SIGNATURE.join(shown)))
        if not sshsig.is_signed(self.claim.key, signed.statement, self._signature):
            raise ProofError("a wrong signature")


@lru_cache(_CERTIFICATES_REMEMBERED)
def _certificate(encoded: bytes) -> Certificate:
    """Its signature is verified once, not for each connection."""
    return read_certificate(encoded)
