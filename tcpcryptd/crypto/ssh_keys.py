"""Keys and host certificates as OpenSSH keeps them (its PROTOCOL.key and PROTOCOL.certkeys), Ed25519 alone.

A public key is 32 raw bytes, a private key the seed of 32 bytes (`crypto.identity`).
"""

from base64 import b64encode
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    SSHCertificate,
    SSHCertificateType,
    load_ssh_private_key,
    load_ssh_public_identity,
)

MAX_CERTIFICATE: Final = 3072
"""Bytes of a certificate that is accepted, a limit of ours; one with few names has some 350."""
CERTIFICATE_TYPE: Final = b"ssh-ed25519-cert-v01@openssh.com"


class SshKeyError(ValueError):
    """What is not such a key or certificate, and in which respect."""


@dataclass(frozen=True)
class Certificate:
    """A certificate whose signature is right; what it says is not believed yet."""

    encoded: bytes
    """As it was read, the binary form."""
    key: bytes
    """The public key that it is for."""
    authority: bytes
    """The public key that has signed it."""
    is_for_host: bool
    key_id: str
    principals: tuple[str, ...]
    """Names that it is for; none: for every host."""
    valid_from: int
    """Seconds of the wall clock, the first one in which it is valid."""
    valid_until: int
    """The first one in which it is not any more."""
    has_critical_options: bool
    """None is defined for hosts, so that whoever meets one must refuse it."""


def read_private_key(text: bytes) -> bytes:
    """The private key of a file; raises SshKeyError."""
    try:
        key = load_ssh_private_key(text, password=None)
    except TypeError:
        raise SshKeyError("it has a passphrase, which nobody could type when the daemon starts") from None
    except (ValueError, UnsupportedAlgorithm):
        raise SshKeyError("no private key in OpenSSH's format") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SshKeyError("not an Ed25519 key")
    return key.private_bytes_raw()


def write_private_key(key: bytes) -> bytes:
    """A private key as the content of a file, without passphrase; raises ValueError when it is not 32 bytes."""
    private = Ed25519PrivateKey.from_private_bytes(key)
    return private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def read_certificate(encoded: bytes) -> Certificate:
    """A certificate in its binary form, whose signature is verified; raises SshKeyError."""
    if len(encoded) > MAX_CERTIFICATE:
        raise SshKeyError(f"a certificate of more than {MAX_CERTIFICATE} bytes")
    try:
        read = load_ssh_public_identity(CERTIFICATE_TYPE + b" " + b64encode(encoded))
        if not isinstance(read, SSHCertificate):
            raise SshKeyError("not a certificate")
        key, authority = read.public_key(), read.signature_key()
        if not isinstance(key, Ed25519PublicKey) or not isinstance(authority, Ed25519PublicKey):
            raise SshKeyError("not a certificate of Ed25519 keys alone")
        read.verify_cert_signature()
    except SshKeyError:
        raise
    except InvalidSignature:
        raise SshKeyError("a certificate with a wrong signature") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SshKeyError("no certificate of OpenSSH's") from None
    return Certificate(
        encoded,
        key.public_bytes_raw(),
        authority.public_bytes_raw(),
        read.type is SSHCertificateType.HOST,
        _text(read.key_id),
        tuple(map(_text, read.valid_principals)),
        read.valid_after,
        read.valid_before,
        bool(read.critical_options),
    )


def _text(name: bytes) -> str:
    """With escapes for what a terminal could obey."""
    return "".join(chr(each) if 0x20 <= each < 0x7F else f"\\x{each:02x}" for each in name)
