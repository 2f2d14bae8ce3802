"""The extension field of key-exchange messages, and the proof of identity in it (docs/identity.md)."""

import base64
import hashlib
from typing import Protocol

LENGTH_SIZE = 2

_ITEM_HEAD = 4
_IDENTITY = 0x0001
"""Extension with the proof of who the sender is."""
_SIGNATURE_SIZE = 64


def is_field(data: bytes) -> bool:
    """Whether these bytes are a field with its length, whatever is in it."""
    return len(data) >= LENGTH_SIZE and int.from_bytes(data[:LENGTH_SIZE], "big") == len(data) - LENGTH_SIZE


class _Extended(Protocol):
    @property
    def items(self) -> bytes: ...


def proof_of(message: _Extended) -> bytes | None:
    """The proof of who the sender of a message is; None: there is none."""
    items = message.items
    while len(items) >= _ITEM_HEAD:
        end = _ITEM_HEAD + int.from_bytes(items[2:_ITEM_HEAD], "big")
        if int.from_bytes(items[:2], "big") == _IDENTITY:
            return items[_ITEM_HEAD:end]
        items = items[end:]
    return None


def shown(proof: bytes | None) -> str:
    """The fingerprint of the key that a proof shows, as ssh shows it; of a certificate only that it is one."""
    if proof is None:
        return ""
    key = proof[1 + _SIGNATURE_SIZE :]
    if proof[:1] != b"\1":
        return f" identity by a certificate of {len(key)} bytes"
    encoded = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + key
    return f" identity SHA256:{base64.b64encode(hashlib.sha256(encoded).digest()).decode().rstrip('=')}"
