"""Key pairs made ahead of need."""

from collections.abc import Callable

from tcpcryptd.crypto.key_agreement import KeyAgreement, PrivateKey


class KeyRing:
    """Holds the key pair that new connections use with one mechanism.

    A thread may generate and replace while another reads: a connection keeps the key pair that it began with.
    """

    __slots__ = ("_generate", "_key", "agreement")

    def __init__(self, agreement: KeyAgreement, generate: Callable[[], PrivateKey] | None = None) -> None:
        """Start without a key pair.

        Args:
            agreement: The mechanism.
            generate: Makes a key pair; `agreement.generate` if None.
        """
        self.agreement = agreement
        self._generate = generate or agreement.generate
        self._key: PrivateKey | None = None

    def generate(self) -> PrivateKey:
        """Make a key pair and return it, without putting it to use; slow, see `KeyAgreement.ephemeral`."""
        return self._generate()

    def current(self) -> PrivateKey | None:
        """Return the key pair for new connections, None before the first `replace`."""
        return self._key

    def replace(self, key: PrivateKey) -> None:
        """Use another key pair from now on."""
        self._key = key
