"""The pseudorandom functions: HMAC-SHA1 of the CRYPT-option protocol, and HMAC-SHA256 of tcpcrypt."""

from typing import Final

from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.hmac import HMAC

_SHA1: Final = SHA1()  # noqa: S303  (HMAC asks nothing of it that it has lost)
_SHA256: Final = SHA256()


class Prf:
    """HMAC (RFC 2104) with one key, for several values: a copy costs a third of what a key costs."""

    def __init__(self, key: bytes, *, is_sha256: bool = False) -> None:
        """With SHA-1, or with SHA-256."""
        self._keyed = HMAC(key, _SHA256 if is_sha256 else _SHA1)

    def of(self, data: bytes) -> bytes:
        """Return 20 bytes, or 32."""
        copy = self._keyed.copy()
        copy.update(data)
        return copy.finalize()


def hmac_sha1(key: bytes, *parts: bytes) -> bytes:
    """Return the 20 bytes of HMAC-SHA1 (RFC 2104) over the concatenation of parts (docs/crypt-option.md, Notation)."""
    mac = HMAC(key, _SHA1)
    mac.update(b"".join(parts))
    return mac.finalize()
