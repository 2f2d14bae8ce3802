"""RSA-2048, public exponent 3, with RSAES-OAEP (RFC 8017 section 7.1; docs/crypt-option.md section 2)."""

from typing import Final, Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tcpcryptd.crypto.key_agreement import NONCE_LENGTH, KeyAgreementError

MODULUS_BITS: Final = 2048
MODULUS_LENGTH: Final = MODULUS_BITS // 8
PUBLIC_EXPONENT: Final = 3

# The protocol fixes SHA-1; OAEP does not rest on its collision resistance.
_OAEP: Final = padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)  # noqa: S303


class RsaPrivateKey:
    """An RSA-2048 key pair; K_C is the modulus, 256 bytes, unsigned big endian."""

    __slots__ = ("_key", "_public_bytes")

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self._key = key
        self._public_bytes = key.public_key().public_numbers().n.to_bytes(MODULUS_LENGTH, "big")

    @classmethod
    def from_primes(cls, p: int, q: int) -> Self:
        """Return the key pair with the modulus p * q.

        Raises:
            KeyAgreementError: p and q are not the primes of an RSA-2048 key with public exponent 3.
        """
        try:
            d = pow(PUBLIC_EXPONENT, -1, (p - 1) * (q - 1))
            numbers = rsa.RSAPrivateNumbers(
                p=p,
                q=q,
                d=d,
                dmp1=rsa.rsa_crt_dmp1(d, p),
                dmq1=rsa.rsa_crt_dmq1(d, q),
                iqmp=rsa.rsa_crt_iqmp(p, q),
                public_numbers=rsa.RSAPublicNumbers(PUBLIC_EXPONENT, p * q),
            )
            key = numbers.private_key()
        except ValueError:
            # The cause would show the primes to whoever prints the traceback's locals.
            raise KeyAgreementError("not the primes of an RSA key with public exponent 3") from None
        if key.key_size != MODULUS_BITS:
            raise KeyAgreementError(f"RSA modulus of {key.key_size} bits, not {MODULUS_BITS}")
        return cls(key)

    @property
    def public_bytes(self) -> bytes:
        """K_C: the modulus."""
        return self._public_bytes

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """Return N_S (16 bytes) from ENC(K_C, N_S) (256 bytes).

        Raises:
            KeyAgreementError: The ciphertext is wrong in any way.
        """
        try:
            nonce = self._key.decrypt(ciphertext, _OAEP)
        except ValueError:
            nonce = b""
        if len(nonce) != NONCE_LENGTH:
            # One error for every cause: telling them apart would help a chosen-ciphertext attack (RFC 8017 7.1.2).
            raise KeyAgreementError("RSA ciphertext cannot be deciphered")
        return nonce


class RsaOaep:
    """The mechanism with public-key algorithm 0x02."""

    name = "RSA-2048"
    ephemeral = False
    post_quantum = False

    def generate(self) -> RsaPrivateKey:
        """Make a new key pair, which takes 0.1 s and more."""
        return RsaPrivateKey(rsa.generate_private_key(public_exponent=PUBLIC_EXPONENT, key_size=MODULUS_BITS))

    def encapsulate(self, public_key: bytes, nonce: bytes) -> bytes:
        """Return ENC(K_C, N_S), 256 bytes.

        Raises:
            KeyAgreementError: The modulus is not acceptable, or the nonce is not of 16 bytes.
        """
        if len(nonce) != NONCE_LENGTH:
            raise KeyAgreementError(f"nonce of {len(nonce)} bytes, not {NONCE_LENGTH}")
        modulus = _modulus(public_key)
        try:
            return rsa.RSAPublicNumbers(PUBLIC_EXPONENT, modulus).public_key().encrypt(nonce, _OAEP)
        except ValueError as error:
            raise KeyAgreementError("RSA modulus cannot be used") from error


def _modulus(public_key: bytes) -> int:
    """An odd number of exactly 2048 bits in 256 bytes; raises KeyAgreementError for anything else."""
    if len(public_key) != MODULUS_LENGTH:
        raise KeyAgreementError(f"RSA modulus of {len(public_key)} bytes, not {MODULUS_LENGTH}")
    if not public_key[0] & 0x80:
        raise KeyAgreementError(f"RSA modulus shorter than {MODULUS_BITS} bits")
    if not public_key[-1] & 1:
        raise KeyAgreementError("RSA modulus is even")
    return int.from_bytes(public_key, "big")
