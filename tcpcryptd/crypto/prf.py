"""The pseudorandom function of the CRYPT-option protocol."""

import hmac


def hmac_sha1(key: bytes, *parts: bytes) -> bytes:
    """Return the 20 bytes of HMAC-SHA1 (RFC 2104) over the concatenation of parts (spec, notation)."""
    return hmac.digest(key, b"".join(parts), "sha1")
