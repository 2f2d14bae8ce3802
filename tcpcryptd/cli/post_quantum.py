"""Whether this host can have post-quantum key agreements, as text."""

from collections.abc import Iterator
from typing import Final

from tcpcryptd import crypt
from tcpcryptd.netio.doctor import Finding

LACKING: Final = "no post-quantum key agreement: Python's cryptography, or its OpenSSL, has no ML-KEM"
_ADVICE: Final = "install cryptography 48 or newer, built with OpenSSL 3.5 or newer, as its own wheels are"


def is_available() -> bool:
    """Whether the library has ML-KEM."""
    return bool(crypt.post_quantum_names())


def description() -> str:
    """For `--version`."""
    return "post-quantum key agreement" if is_available() else LACKING


def check() -> Iterator[Finding]:
    """For the doctor."""
    if is_available():
        yield Finding.ok("post-quantum", "key agreements with hosts that can do so are post-quantum")
    else:
        yield Finding.warning("post-quantum", LACKING, _ADVICE)
