"""What a key exchange needs from a public-key mechanism.

The client of the exchange sends its public key K_C in INIT1. The server answers with ENC(K_C, N_S) in INIT2
(docs/crypt-option.md section 2). Each mechanism is a module of its own and is registered in `suites`.
"""

from typing import Final, Protocol

NONCE_LENGTH: Final = 16
"""Bytes of N_C and of N_S (docs/crypt-option.md section 2)."""


class KeyAgreementError(ValueError):
    """A public key, a ciphertext or a nonce is not acceptable."""


class PrivateKey(Protocol):
    """A key pair of the client."""

    @property
    def public_bytes(self) -> bytes:
        """K_C, as INIT1 carries it."""
        ...

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """Return N_S (16 bytes) from ENC(K_C, N_S).

        Raises:
            KeyAgreementError: The ciphertext is wrong in any way; the error does not say in which.
        """
        ...


class KeyAgreement(Protocol):
    """A public-key mechanism."""

    @property
    def name(self) -> str:
        """The name shown to people."""
        ...

    @property
    def ephemeral(self) -> bool:
        """True: generating is cheap, make a key per connection. False: make keys ahead of need, in a `KeyRing`."""
        ...

    @property
    def post_quantum(self) -> bool:
        """Whether it resists a quantum computer. Then `key_pool` has key pairs, and the messages are large."""
        ...

    def generate(self) -> PrivateKey:
        """Make a new key pair."""
        ...

    def encapsulate(self, public_key: bytes, nonce: bytes) -> bytes:
        """Return ENC(K_C, N_S) for a nonce of 16 bytes.

        Raises:
            KeyAgreementError: The public key is not acceptable, or the nonce has another length.
        """
        ...
