"""The pseudorandom function of the CRYPT-option protocol."""

from typing import Final

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.hmac import HMAC

_SHA1: Final = SHA1()  # noqa: S303  (HMAC asks nothing of it that it has lost)


class Prf:
    """HMAC-SHA1 (RFC 2104) with one key, for several values: a copy costs half of what a key costs."""

    def __init__(self, key: bytes) -> None:
        self._keyed = HMAC(key, _SHA1)

    def of(self, data: bytes) -> bytes:
        """Return 20 bytes."""
        copy = self._keyed.copy()
        copy.update(data)
        return copy.finalize()


def hmac_sha1(key: bytes, *parts: bytes) -> bytes:
    """Return the 20 bytes of HMAC-SHA1 (RFC 2104) over the concatenation of parts (docs/crypt-option.md, Notation)."""
    mac = HMAC(key, _SHA1)
    mac.update(b"".join(parts))
    return mac.finalize()
