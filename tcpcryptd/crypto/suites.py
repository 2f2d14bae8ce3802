"""The registry of suites: which identifiers on the wire stand for which algorithms.

To add a cipher: write a module with a `SegmentProtection` in it, give it a `SymmetricSuite` here with identifiers from
the private range (0xf0 to 0xff), put that into `SYMMETRIC_SUITES` where it ranks, and argue for it in docs/suites.md.
To add a public-key mechanism: the same with `KeyAgreement`, `PublicKeyAlgorithm` and `PUBLIC_KEY_ALGORITHMS`.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm

from tcpcryptd.crypto import aes_gcm_siv, aes_siv, segment_mac
from tcpcryptd.crypto.ctr_hmac import CtrHmacProtection
from tcpcryptd.crypto.key_agreement import KeyAgreement
from tcpcryptd.crypto.mlkem768_x25519 import is_available
from tcpcryptd.crypto.mlkem768_x25519_hpke import MlKemHpke
from tcpcryptd.crypto.rsa_oaep import RsaOaep
from tcpcryptd.crypto.segment import SegmentProtection
from tcpcryptd.crypto.x25519_hpke import X25519Hpke

PUBLIC_KEY_SPEC_LENGTH: Final = 3
FIRST_PRIVATE: Final = 0xF0
"""From here identifiers of algorithms are ours: a peer that offers one is not an original daemon."""


@dataclass(frozen=True, slots=True)
class SymmetricSuite:
    """A cipher and a MAC.

    Attributes:
        name: As shown to people.
        cipher: Identifier of the cipher in a symmetric spec.
        mac: Identifier of the MAC in a symmetric spec.
        protection: Makes the protection of one direction from its encryption key and MAC key, 40 bytes each.
        has_mac_key: Whether it uses the MAC key.
        tag_length: Bytes in the body of the MAC option.
        rekey_bytes: Sequence space in one direction after which the keys are replaced (docs/crypt-option.md section 9).
        extended_sequence: Whether M, A and the nonce carry the high halves of 64-bit sequence numbers.
        quiet_rekeying: Whether a peer follows a change of keys without announcing one, as the original does.
    """

    name: str
    cipher: int
    mac: int
    protection: Callable[[bytes, bytes], SegmentProtection]
    has_mac_key: bool
    tag_length: int
    rekey_bytes: int
    extended_sequence: bool
    quiet_rekeying: bool = False

    @property
    def spec(self) -> bytes:
        """The symmetric spec, 4 bytes: 0, cipher, 0, MAC (docs/crypt-option.md section 2)."""
        return bytes((0, self.cipher, 0, self.mac))

    @property
    def offer(self) -> bytes:
        """The symmetric specs that offer this suite in INIT1; the original offers its cipher and its MAC apart."""
        if self.extended_sequence:
            return self.spec
        return bytes((0, self.cipher, 0, 0, 0, 0, 0, self.mac))

    def offered_by(self, specs: Collection[bytes]) -> bool:
        """Whether a list of symmetric specs has this suite, in one spec or with a wildcard for each half."""
        if self.spec in specs:
            return True
        return bytes((0, self.cipher, 0, 0)) in specs and bytes((0, 0, 0, self.mac)) in specs


@dataclass(frozen=True, slots=True)
class PublicKeyAlgorithm:
    """A public-key mechanism with the one key size that we use.

    Attributes:
        algorithm: Identifier in a public-key spec.
        key_size: In units of 512 bits, rounded up.
        public_key_length: Bytes of K_C.
        ciphertext_length: Bytes of ENC(K_C, N_S).
        agreement: The mechanism.
    """

    algorithm: int
    key_size: int
    public_key_length: int
    ciphertext_length: int
    agreement: KeyAgreement

    @property
    def spec(self) -> bytes:
        """The spec that we send, 3 bytes: algorithm, smallest and largest key size (docs/crypt-option.md section 2)."""
        return bytes((self.algorithm, self.key_size, self.key_size))

    @property
    def is_private(self) -> bool:
        """Whether it is one of ours, so that INIT1 and INIT2 can have extensions."""
        return self.algorithm >= FIRST_PRIVATE

    def accepts(self, spec: bytes) -> bool:
        """Whether a public-key spec names this mechanism and allows its key size."""
        return len(spec) == PUBLIC_KEY_SPEC_LENGTH and spec[0] == self.algorithm and spec[1] <= self.key_size <= spec[2]


AES_SIV_CMAC_256: Final = SymmetricSuite(
    name="AES-SIV-CMAC-256",
    cipher=0xF2,
    mac=0xF2,
    protection=aes_siv.SivProtection,
    has_mac_key=False,
    tag_length=aes_siv.TAG_LENGTH,
    # All segments of a key share one birthday bound: 2^-56 even for a segment per byte (docs/suites.md).
    rekey_bytes=2**32,
    extended_sequence=True,
)
AES_256_GCM_SIV: Final = SymmetricSuite(
    name="AES-256-GCM-SIV",
    cipher=0xF1,
    mac=0xF1,
    protection=aes_gcm_siv.GcmSivProtection,
    has_mac_key=False,
    tag_length=aes_gcm_siv.TAG_LENGTH,
    # Keeps the birthday bound of acknowledgments that share a nonce below 2^-54 (docs/suites.md).
    rekey_bytes=2**36,
    extended_sequence=True,
)
AES128_CTR_SEQIV_HMAC_SHA1: Final = SymmetricSuite(
    name="AES128-CTR-SEQIV/HMAC-SHA1",
    cipher=0x01,
    mac=0x01,
    protection=CtrHmacProtection,
    has_mac_key=True,
    tag_length=segment_mac.TAG_LENGTH,
    # The keystream repeats after 2^24 bytes (docs/crypt-option.md section 5).
    rekey_bytes=2**23,
    extended_sequence=False,
    quiet_rekeying=True,
)


def works_here(suite: SymmetricSuite) -> bool:
    """Whether the library can seal with it, a segment without payload too: with an older OpenSSL it cannot with all."""
    try:
        suite.protection(bytes(40), bytes(40)).seal(0, bytes(16), bytes(8), b"", b"")
    except (UnsupportedAlgorithm, ValueError):
        return False
    return True


SYMMETRIC_SUITES: Final = tuple(filter(works_here, (AES_SIV_CMAC_256, AES_256_GCM_SIV, AES128_CTR_SEQIV_HMAC_SHA1)))
"""Best first."""

MLKEM768_X25519_HPKE: Final = PublicKeyAlgorithm(0xF1, 19, 1216, 1152, MlKemHpke())
X25519_HPKE: Final = PublicKeyAlgorithm(0xF0, 1, 32, 64, X25519Hpke())
RSA_2048: Final = PublicKeyAlgorithm(0x02, 4, 256, 256, RsaOaep())
PUBLIC_KEY_ALGORITHMS: Final = (*((MLKEM768_X25519_HPKE,) if is_available() else ()), X25519_HPKE, RSA_2048)
"""Best first; only what this host's OpenSSL has."""
