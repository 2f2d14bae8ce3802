"""Key schedule of the CRYPT-option protocol (docs/crypt-option.md section 4).

Every value is bytes: secrets, session IDs and master keys have 20, traffic keys 40. The 4-byte tags are big endian.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Final

from tcpcryptd.crypto.prf import Prf, hmac_sha1

_TAG_SESSION_ID: Final = bytes.fromhex("00000000")
_TAG_NEXT_SECRET: Final = bytes.fromhex("00000001")
_TAG_MASTER_KEY: Final = bytes.fromhex("00000002")
_TAG_CLIENT_ENCRYPTION: Final = bytes.fromhex("00000003")
_TAG_CLIENT_MAC: Final = bytes.fromhex("00000004")
_TAG_SERVER_ENCRYPTION: Final = bytes.fromhex("00000005")
_TAG_SERVER_MAC: Final = bytes.fromhex("00000006")


@dataclass(slots=True)
class TrafficKeys:
    """The keys of one generation, 40 bytes each or none; "client" and "server" are the roles in the key exchange."""

    client_encryption: bytes = field(repr=False)
    client_mac: bytes = field(repr=False)
    server_encryption: bytes = field(repr=False)
    server_mac: bytes = field(repr=False)


def initial_secret(
    *,
    server_nonce: bytes,
    public_key: bytes,
    public_specs: bytes,
    symmetric_specs: bytes,
    chosen_symmetric: bytes,
    client_nonce: bytes,
    messages: bytes = b"",
) -> bytes:
    """Return ss[0], which a key exchange yields.

    Args:
        server_nonce: N_S, as deciphered from INIT2.
        public_key: K_C, as in INIT1.
        public_specs: All public-key specs of PKCONF, 3 bytes each.
        symmetric_specs: All symmetric specs of INIT1, 4 bytes each.
        chosen_symmetric: The symmetric spec of INIT2, 4 bytes.
        client_nonce: N_C, as in INIT1.
        messages: `digest` of INIT1 and INIT2 when they have extensions, else empty.
    """
    return hmac_sha1(server_nonce, public_key, public_specs, symmetric_specs, chosen_symmetric, client_nonce, messages)


def digest(init1: bytes, init2: bytes) -> bytes:
    """32 bytes that stand for both messages as they were sent (docs/identity.md)."""
    return hashlib.sha256(len(init1).to_bytes(4, "big") + init1 + init2).digest()


def session_id(secret: bytes | Prf) -> bytes:
    """Return SID[i], the session ID that belongs to the session secret ss[i]."""
    return _keyed(secret).of(_TAG_SESSION_ID)


def master_key_and_next_secret(secret: bytes | Prf) -> tuple[bytes, bytes]:
    """Return what follows from the session secret ss[i] besides its ID.

    That is the first master key of its session, and ss[i+1], the secret of the session that may resume it.
    """
    prf = _keyed(secret)
    return prf.of(_TAG_MASTER_KEY), prf.of(_TAG_NEXT_SECRET)


def next_master_key(master: bytes) -> bytes:
    """Return the master key of the generation after the one of master (rekeying, docs/crypt-option.md section 9)."""
    return hmac_sha1(master, _TAG_MASTER_KEY)


def traffic_keys(master: bytes, *, mac: bool = True) -> TrafficKeys:
    """Return the four traffic keys of a master key; those for the MAC are empty unless `mac`."""
    prf = Prf(master)
    return TrafficKeys(
        client_encryption=_expand(prf, _TAG_CLIENT_ENCRYPTION),
        client_mac=_expand(prf, _TAG_CLIENT_MAC) if mac else b"",
        server_encryption=_expand(prf, _TAG_SERVER_ENCRYPTION),
        server_mac=_expand(prf, _TAG_SERVER_MAC) if mac else b"",
    )


def _keyed(secret: bytes | Prf) -> Prf:
    return Prf(secret) if isinstance(secret, bytes) else secret


def _expand(prf: Prf, tag: bytes) -> bytes:
    return prf.of(tag + b"\x01") + prf.of(tag + b"\x02")
