"""Signatures in OpenSSH's SSHSIG format (its PROTOCOL.sshsig), with Ed25519 and SHA-512.

What is signed begins with a namespace, so that no signature made for another purpose counts for this one. On the wire
a signature is the 64 bytes alone; `armor` makes of it what `ssh-keygen -Y verify` takes.
"""

import hashlib
import re
from base64 import b64encode
from textwrap import wrap
from typing import Final

from tcpcryptd.crypto import identity
from tcpcryptd.crypto.ssh_keys import SshKeyError
from tcpcryptd.identity.public_key import KEY_TYPE, decode_key, encode_key, from_base64, ssh_string, take_string
from tcpcryptd.wire.reader import Reader, ReadError

NAMESPACE: Final = b"host-identity@tcpcryptd"
"""Ours. SSH itself signs nothing that begins so, and nobody else should."""
MAX_ARMOR: Final = 4096
"""Bytes of an armored signature that is read."""

_MAGIC: Final = b"SSHSIG"
_VERSION: Final = 1
_HASH: Final = "sha512"
_ARMOR = re.compile(rb"\s*-----BEGIN SSH SIGNATURE-----\s(.*)\s-----END SSH SIGNATURE-----\s*", re.DOTALL)
_LINE_LENGTH: Final = 70


def signed_data(message: bytes, namespace: bytes = NAMESPACE, hash_name: str = _HASH) -> bytes:
    """What the key signs for a message."""
    digest = hashlib.new(hash_name, message).digest()
    return _MAGIC + b"".join(map(ssh_string, (namespace, b"", hash_name.encode(), digest)))


def sign(private_key: bytes, message: bytes, namespace: bytes = NAMESPACE) -> bytes:
    """The signature, 64 bytes."""
    return identity.sign(private_key, signed_data(message, namespace))


def is_signed(key: bytes, message: bytes, signature: bytes, namespace: bytes = NAMESPACE) -> bool:
    """Whether a signature over a message is that of a public key's owner."""
    return identity.is_signed(key, signed_data(message, namespace), signature)


def armor(key: bytes, signature: bytes, namespace: bytes = NAMESPACE) -> bytes:
    """A signature of ours as a file of OpenSSH's."""
    fields = (encode_key(key), namespace, b"", _HASH.encode(), ssh_string(KEY_TYPE) + ssh_string(signature))
    blob = _MAGIC + _VERSION.to_bytes(4, "big") + b"".join(map(ssh_string, fields))
    lines = wrap(b64encode(blob).decode(), _LINE_LENGTH)
    return "\n".join(("-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", "")).encode()


def is_armored(text: bytes, message: bytes, namespace: bytes = NAMESPACE) -> bytes | None:
    """The public key that a file of OpenSSH's shows a message to be signed with; None: the signature is wrong.

    Raises SshKeyError for what is not such a file, and for other keys than Ed25519.
    """
    key, found, hash_name, signature = _read(text)
    if found != namespace or not identity.is_signed(key, signed_data(message, namespace, hash_name), signature):
        return None
    return key


def _read(text: bytes) -> tuple[bytes, bytes, str, bytes]:
    """Public key, namespace, name of the hash function, and signature."""
    match = _ARMOR.fullmatch(text) if len(text) <= MAX_ARMOR else None
    if match is None:
        raise SshKeyError("no signature of OpenSSH's")
    blob = from_base64(b"".join(match[1].split()).decode("latin-1"))
    try:
        with Reader(blob) as reader:
            if reader.take(len(_MAGIC)) != _MAGIC or reader.uint(4) != _VERSION:
                raise SshKeyError("no signature of OpenSSH's, or of another version")
            key, namespace, _, hash_name, signature = (take_string(reader) for _ in range(5))
        with Reader(signature) as reader:
            kind, raw = take_string(reader), take_string(reader)
    except ReadError as error:
        raise SshKeyError("a signature that ends early or late") from error
    if kind != KEY_TYPE or hash_name not in (b"sha256", b"sha512"):
        raise SshKeyError("a signature with another algorithm than Ed25519 and SHA-2")
    return decode_key(key), namespace, hash_name.decode(), raw
