"""The messages of both protocols' key exchanges, to somebody who changes the proofs in them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from tcpcryptd.crypt.handshake import messages as crypt
from tcpcryptd.crypto.ecdhe import X25519_EXTENSIBLE
from tcpcryptd.crypto.suites import X25519_HPKE
from tcpcryptd.eno.constants import INIT1_MAGIC, INIT2_MAGIC
from tcpcryptd.eno.handshake import init_messages as eno
from tcpcryptd.identity.identification import IDENTITY
from tcpcryptd.wire import extension
from tcpcryptd.wire.reader import Reader

LENGTH: Final = X25519_EXTENSIBLE.public_length
Message = eno.Init1 | eno.Init2 | crypt.Init1 | crypt.Init2
OTHER_ITEM: Final = 0x0002
"""An extension that is ignored."""


def read(payload: bytes) -> tuple[str, Message] | None:
    """'first' or 'second', and the message that a payload is; None: it is none."""
    if payload[:4] == INIT1_MAGIC.to_bytes(4, "big"):
        init1 = eno.Init1.read(payload, LENGTH, extensible=True)
        return None if init1 is None else ("first", init1[0])
    if payload[:4] == INIT2_MAGIC.to_bytes(4, "big"):
        init2 = eno.Init2.read(payload, LENGTH, extensible=True)
        return None if init2 is None else ("second", init2[0])
    for name, kind in (("first", crypt.Init1), ("second", crypt.Init2)):
        try:
            return name, kind.decode(payload)
        except crypt.MessageError:
            continue
    return None


def carrying(message: Message, items: Mapping[int, bytes]) -> Message:
    if isinstance(message, eno.Init1 | eno.Init2):
        return replace(message, extensions=items)
    return replace(message, extension_field=extension.encode(items))


def proof_of(message: Message) -> bytes:
    if isinstance(message, eno.Init1 | eno.Init2):
        items = message.extensions or {}
    else:
        items = extension.read(Reader(message.extension_field), frozenset((IDENTITY,)))
    return items[IDENTITY]


def with_other_key(message: Message, first: Message | None) -> Message:
    """`first`: the message that this one answers."""
    if isinstance(message, eno.Init1 | eno.Init2):
        return replace(message, public=X25519_EXTENSIBLE.generate().public)
    if isinstance(message, crypt.Init1):
        return replace(message, public_key=X25519_HPKE.agreement.generate().public_bytes)
    assert isinstance(first, crypt.Init1)
    return replace(message, ciphertext=X25519_HPKE.agreement.encapsulate(first.public_key, bytes(16)))


def with_other_nonce(message: Message) -> Message:
    """INIT2 of `crypt` has none but that in the ciphertext."""
    if isinstance(message, eno.Init1 | eno.Init2):
        return replace(message, nonce=bytes(32))
    if isinstance(message, crypt.Init1):
        return replace(message, nonce=bytes(16))
    return replace(message, ciphertext=message.ciphertext[:-1] + bytes((message.ciphertext[-1] ^ 1,)))
