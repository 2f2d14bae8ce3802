"""What tcpcrypt needs from a key agreement (RFC 8548 sections 3.3 and 5)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

EXPERIMENTAL_TEP: Final = 0x20
"""TEP identifier for experiments (RFC 8547 section 11)."""


class InvalidPublicKey(ValueError):
    """A peer's Pub fails validation; the connection must be aborted (RFC 8548 section 3.3)."""


class KeyPair(Protocol):
    """Host A's ephemeral key pair."""

    @property
    def public(self) -> bytes:
        """Pub_A as it stands in Init1."""
        ...

    def exchange(self, peer_public: bytes) -> bytes:
        """Return the ephemeral secret ES for Pub_B, as it stands in Init2.

        Raises:
            InvalidPublicKey: Pub_B has another length or format, is not a point of the curve, or makes the secret zero.
        """
        ...


@dataclass(frozen=True, slots=True)
class KeyScheme:
    """A key-agreement scheme.

    Attributes:
        tep: TEP identifier, 7 bits (RFC 8548 section 7), or EXPERIMENTAL_TEP.
        name: As shown to people.
        public_length: Bytes of Pub_A, the same for every key.
        answer_length: The same of Pub_B.
        generate: Makes host A's key pair.
        answer: Host B's part: Pub_B and ES for Pub_A; raises InvalidPublicKey.
        agreement: Identifier of the scheme within the experiment, 7 bits (docs/eno.md); 0 with a TEP of its own.
        post_quantum: Whether ES holds against a quantum computer.
    """

    tep: int
    name: str
    public_length: int
    answer_length: int
    generate: Callable[[], KeyPair]
    answer: Callable[[bytes], tuple[bytes, bytes]]
    agreement: int = 0
    post_quantum: bool = False

    @property
    def code(self) -> int:
        """One number for both identifiers: the TEP's, or 16 bits of which the lower eight are `agreement`."""
        return self.tep << 8 | self.agreement if self.agreement else self.tep

    @property
    def spec(self) -> bytes:
        """The same as bytes, one or two."""
        return bytes((self.tep, self.agreement)) if self.agreement else bytes((self.tep,))

    @property
    def is_extensible(self) -> bool:
        """Whether an extension field follows Pub in the Init messages, as in the experiment's (docs/eno.md)."""
        return self.tep == EXPERIMENTAL_TEP
