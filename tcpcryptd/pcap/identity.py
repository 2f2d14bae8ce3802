"""Whether the proofs in a captured key exchange are right (docs/identity.md)."""

from tcpcryptd.dissect import TcpcryptInit1, TcpcryptInit2, init_message, proof_of
from tcpcryptd.dissect.names import CRYPT
from tcpcryptd.identity.proof import Part, Proof, ProofError, Role
from tcpcryptd.identity.public_key import fingerprint
from tcpcryptd.wire.segment import Segment

_MAX_SHOWN = 100


class IdentityCheck:
    """Follows the SYNs and Init messages of one connection."""

    def __init__(self) -> None:
        self._options = {True: b"", False: b""}
        """ENO options of the SYNs, by whether the opener sent it."""
        self._init1 = b""

    def saw_syn(self, segment: Segment, from_opener: bool) -> None:
        """A segment with SYN."""
        value = segment.option(CRYPT)
        if value is not None:
            self._options[from_opener] = bytes((CRYPT, 2 + len(value))) + value

    def saw_message(self, message: bytes, from_opener: bool) -> str | None:
        """What is to be said of the proof in a whole Init message; None: there is none, or it is no such message."""
        layer = init_message(message)
        if isinstance(layer, TcpcryptInit1):
            self._init1 = message
            return self._said(layer, message, Role.INITIATOR, self._transcript(from_opener))
        if isinstance(layer, TcpcryptInit2):
            return self._said(layer, message, Role.RESPONDER, self._transcript(not from_opener), self._init1)
        return None

    def _transcript(self, a_is_opener: bool) -> bytes:
        return self._options[a_is_opener] + self._options[not a_is_opener]

    def _said(
        self, layer: TcpcryptInit1 | TcpcryptInit2, message: bytes, role: Role, transcript: bytes, other: bytes = b""
    ) -> str | None:
        encoded = proof_of(layer)
        if encoded is None:
            return None
        try:
            proof = Proof(encoded)
            proof.verify(Part(b"eno", role, transcript, message, other))
        except ProofError as error:
            return f"THE PROOF OF IDENTITY IS WRONG: {error}"
        certificate = proof.claim.certificate
        names = "" if certificate is None else f", certificate for {', '.join(certificate.principals) or 'all hosts'}"
        return f"identity proved: {fingerprint(proof.claim.key)}{names[:_MAX_SHOWN]}"
