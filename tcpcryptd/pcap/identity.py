"""Whether the proofs in a captured key exchange are right (docs/identity.md)."""

from tcpcryptd.dissect import Init1, Init2, TcpcryptInit1, TcpcryptInit2, init_message, proof_of
from tcpcryptd.dissect.names import CRYPT
from tcpcryptd.identity.proof import Part, Proof, ProofError, Role
from tcpcryptd.identity.public_key import fingerprint
from tcpcryptd.wire.segment import SYN, Segment

_PKCONF = (0x41, 0x42)
_MAX_SHOWN = 100


class IdentityCheck:
    """Follows the SYNs and the messages of one connection's key exchange."""

    def __init__(self) -> None:
        self._options = {True: b"", False: b""}
        """Options of the SYNs, by whether the opener sent it."""
        self._late = b""
        """Of the segment with PKCONF, where that is no SYN."""
        self._first = b""
        """The message that the other one answers."""

    def saw_options(self, segment: Segment, from_opener: bool) -> None:
        """Any segment."""
        value = segment.option(CRYPT)
        if value is None:
            return
        option = bytes((CRYPT, 2 + len(value))) + value
        if segment.flags & SYN:
            self._options[from_opener] = option
        elif value[:1] and value[0] in _PKCONF:
            self._late = option

    def saw_crypt(self, layer: Init1 | Init2, message: bytes) -> str | None:
        """What is to be said of the proof in INIT1 or INIT2; None: there is none."""
        return self._said(layer, b"crypt", message, self._transcript(a_is_opener=True) + self._late)

    def saw_message(self, message: bytes, from_opener: bool) -> str | None:
        """What is to be said of the proof in a whole Init message; None: there is none, or it is no such message."""
        layer = init_message(message)
        if isinstance(layer, TcpcryptInit1):
            return self._said(layer, b"eno", message, self._transcript(a_is_opener=from_opener))
        if isinstance(layer, TcpcryptInit2):
            return self._said(layer, b"eno", message, self._transcript(a_is_opener=not from_opener))
        return None

    def _transcript(self, *, a_is_opener: bool) -> bytes:
        return self._options[a_is_opener] + self._options[not a_is_opener]

    def _said(
        self, layer: Init1 | Init2 | TcpcryptInit1 | TcpcryptInit2, protocol: bytes, message: bytes, transcript: bytes
    ) -> str | None:
        if isinstance(layer, Init1 | TcpcryptInit1):
            self._first = message
            part = Part(protocol, Role.INITIATOR, transcript, message)
        else:
            part = Part(protocol, Role.RESPONDER, transcript, message, self._first)
        encoded = proof_of(layer)
        if encoded is None:
            return None
        try:
            proof = Proof(encoded)
            proof.verify(part)
        except ProofError as error:
            return f"THE PROOF OF IDENTITY IS WRONG: {error}"
        certificate = proof.claim.certificate
        names = "" if certificate is None else f", certificate for {', '.join(certificate.principals) or 'all hosts'}"
        return f"identity proved: {fingerprint(proof.claim.key)}{names[:_MAX_SHOWN]}"
